"""Summaries as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from edge_infer.rules import OperatingPoint
from trainer.report.summary import _GROUPED, BANDS_NOTE, REFERRAL_NOTE, Summary
from trainer.scoring.metrics import show


def to_markdown(summary: Summary, title: str, points: Sequence[OperatingPoint]) -> str:
    """All tables of one split; `points` are those that `summarise` was given."""
    refused = ", ".join(f"{reason} {count}" for reason, count in sorted(summary.indeterminate.items())) or "none"
    parts = [
        f"## {title}\n",
        f"{summary.images} pictures of {summary.lesions} lesions, {summary.melanomas} pictures of melanoma. "
        f"{summary.answered} pictures got a probability; refused: {refused}. "
        "Intervals: 95 %, bootstrap by lesion, 1000 resamples.\n",
    ]
    if summary.segmentation:
        rows = [
            [words(name), show(summary.segmentation_raw.get(name)), show(metric)]
            for name, metric in summary.segmentation.items()
        ]
        parts += ["### Segmentation\n", markdown_table(["per picture", "before clean-up", "after clean-up"], rows)]
        parts.append(markdown_table(["class", "Dice"], [[name, show(m)] for name, m in summary.dice_by_class.items()]))
    rows = [[words(name), show(metric)] for name, metric in (summary.melanoma | summary.classes).items()]
    parts += ["### Classification\n", markdown_table(["measure", "value"], rows)]
    names = list(next(iter(summary.operating_points.values()), {}))
    rows = [
        [point, *(show(figures.get(name)) for name in names)] for point, figures in summary.operating_points.items()
    ]
    parts += ["### Operating points\n", markdown_table(["operating point", *map(words, names)], rows)]
    names = list(next(iter(next(iter(summary.referral.values()), {}).values()), {}))
    rows = [
        [point, share, *(show(figures.get(name)) for name in names)]
        for point, shares in summary.referral.items()
        for share, figures in shares.items()
    ]
    head = ["operating point", "referred", *map(words, names)]
    parts += ["### When the least certain are referred\n", REFERRAL_NOTE, markdown_table(head, rows)]
    rows = [
        [point.name, f"{band.referred:.0%}", f"{band.low:.3f} to {band.high:.3f}", *map(show, figures.values())]
        for point in points
        for band, figures in zip(point.bands, summary.bands[point.name], strict=True)
    ]
    if rows:
        names = next(list(figures) for found in summary.bands.values() for figures in found)
        head = ["operating point", "meant to refer", "undecided between", *map(words, names)]
        parts += ["### Abstention as it ships\n", BANDS_NOTE, markdown_table(head, rows)]
    rows = [[str(b.pictures), f"{b.predicted:.3f}", f"{b.observed:.3f}"] for b in summary.reliability]
    parts += ["### Reliability\n", markdown_table(["pictures", "mean melanoma probability", "share of melanoma"], rows)]
    if summary.subgroups:
        rows = [
            [attribute, value, str(group.pictures), str(group.melanomas), *map(show, map(group.figures.get, _GROUPED))]
            for attribute, groups in summary.subgroups.items()
            for value, group in groups.items()
        ]
        head = ["attribute", "value", "pictures", "melanomas", *map(words, _GROUPED)]
        parts += ["### Subgroups, at the default operating point\n", markdown_table(head, rows)]
    return "\n".join(parts)


def words(name: str) -> str:
    """A measure's name as a table shows it."""
    return name.replace("_", " ").replace("auc", "AUC").replace("dice", "Dice").replace("jaccard", "Jaccard")


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, with a line break at its end."""
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n"
