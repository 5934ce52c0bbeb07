"""Tables, figures and manifest entries of a bundle whose pictures come from several sources."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_infer.bundle.manifest import Evaluation, Manifest
from edge_infer.rules import Metric
from edge_infer.schema import dump
from trainer.data.ham10000 import MELANOMA
from trainer.report.markdown import markdown_table, to_markdown, words
from trainer.report.source_goals import source_goals_table
from trainer.report.sources import EXTERNAL, BySource, by_source, corrected, sources_markdown
from trainer.report.summary import _GROUPED, Summary, summarise, to_evaluation
from trainer.scoring.ledger import LEDGER, decisions_hash, readings
from trainer.scoring.metrics import lesion_weights, show
from trainer.scoring.plots import Answers, confusion_plot, reliability_plot, roc_curve_plot
from trainer.scoring.predictions import Prediction
from trainer.scoring.scores import scores_of

PROBE = "probe.json"
ROC = "roc.png"
PROTOCOL = "## The papers' protocol, which leaks"
FORMER_NAMES = {"mobile": ("sources",)}
"""Names under which the ledger knows networks that a bundle's own go on from."""


@dataclass(frozen=True)
class Several:
    """What is reported of several sources.

    Attributes:
        test, true_roi, chosen: rows by source on `test`, on its true crops, and on the pictures of the choices.
        summaries: all figures of `test` by source.
        probe: how well the classifier's features tell the source, in words; "" where it was not measured.
        read: when `test` was read and why, in words; "" where no ledger says.
    """

    test: BySource
    true_roi: BySource
    chosen: BySource
    summaries: dict[str, Summary]
    probe: str
    read: str


def several(
    results: Path,
    manifest: Manifest,
    learnt: Sequence[str],
    test: Sequence[Prediction],
    true_roi: Sequence[Prediction],
    chosen: Sequence[Prediction],
) -> Several:
    """Computes everything from the stored predictions.

    Args:
        results: folder of the bundle's results.
        manifest: labels, rules and operating points.
        learnt: sources that it learnt from.
        test, true_roi: predictions on `test`.
        chosen: those that the choices rest on.
    """
    m = manifest

    def rows(found: Sequence[Prediction]) -> BySource:
        return by_source(found, m.labels, m.operating_points, m.calibration.prior, learnt)

    summaries = {
        name: summarise(
            [p for p in test if p.source == name], m.labels, MELANOMA, m.operating_points, m.default_operating_point
        )
        for name in dict.fromkeys(p.source for p in test)
    }
    return Several(
        rows(test), rows(true_roi), rows(chosen), summaries, _probe(results, learnt), readings_words(results, manifest)
    )


def figure_names(sources: Sequence[str]) -> dict[str, str]:
    """File and caption of each figure."""
    found = {ROC: "ROC curve of melanoma, one a source"}
    for name in sources:
        found[f"reliability-{name}.png"] = f"Share of melanoma against its predicted probability, {name}"
        found[f"confusion-{name}.png"] = f"What pictures of each diagnosis were called, {name}"
    return found


def draw(results: Path, manifest: Manifest, test: Sequence[Prediction]) -> None:
    """Draws `figure_names`; answered pictures alone."""
    curves = []
    for name in dict.fromkeys(p.source for p in test):
        own = [p for p in test if p.source == name and not p.reason]
        scores = scores_of(own, manifest.labels, manifest.melanoma_label)
        weights = lesion_weights(scores.lesions, 400)
        curves.append(Answers(name, scores.score, scores.positive, weights))
        lines = [Answers("as it ships", scores.score, scores.positive, weights)]
        prior, share = manifest.calibration.prior, float(scores.positive.mean())
        if prior is not None and 0 < share < 1:
            moved = corrected(scores.score, prior, share)
            lines.append(Answers(f"corrected from {prior:.0%} to {share:.0%} melanoma", moved, scores.positive, None))
        reliability_plot(results / f"reliability-{name}.png", lines, f"Reliability, melanoma, {name}")
        known = scores.named
        counts = np.zeros((len(manifest.labels),) * 2, np.int64)
        np.add.at(counts, (scores.truth[known], scores.probabilities[known].argmax(1)), 1)
        confusion_plot(results / f"confusion-{name}.png", counts, manifest.labels, f"Diagnoses, {name}")
    roc_curve_plot(results / ROC, curves)


def write(
    results: Path, manifest: Manifest, found: Several, refusals: str, figures: dict[str, object], protocol: str = ""
) -> None:
    """Writes `evaluation.json` and `RESULTS.md`.

    Args:
        results: the folder.
        manifest: of the bundle.
        found: all figures.
        refusals: tables of what is refused.
        figures: what else goes into `evaluation.json`.
        protocol: a table of the papers' own protocol; "" for none.
    """
    content = {**dump(found), **figures}
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    (results / "evaluation.json").write_text(text + "\n", encoding="utf-8")
    points, exempt = manifest.operating_points, _exempt(manifest)
    goals = source_goals_table(manifest.name, found.test)
    parts = [
        f"# Results of the bundle `{manifest.name}`\n",
        "Made by `python -m trainer report` from the predictions here.\n",
        *(["## Goals, test split\n", goals] if goals else []),
        *([f"{PROTOCOL}\n", f"{protocol}\n"] if protocol else []),
        sources_markdown(found.test, "Test split", points, exempt=exempt),
        "## Figures, test split\n",
        *(f"![{caption}]({name})\n" for name, caption in figure_names(list(found.test.rows)).items()),
        refusals,
        *(["## Does the classifier know the source?\n", found.probe] if found.probe else []),
        *(["## Readings of test\n", found.read] if found.read else []),
        sources_markdown(
            found.chosen, f"Pictures of the choices ({manifest.calibration.fitted_on})", points, exempt=exempt
        ),
        sources_markdown(found.true_roi, "Test split, crops from the true masks", points, exempt=exempt),
        *(to_markdown(summary, f"Test split, {name}", points) for name, summary in found.summaries.items()),
    ]
    (results / "RESULTS.md").write_text("\n".join(parts), encoding="utf-8")


def with_figures(manifest: Manifest, found: Several) -> Manifest:
    """The manifest with an evaluation of the macro row and of each source; operating points get the macro figures."""
    command = f"python -m trainer evaluate --bundle exported/{manifest.name}" + " --data DIR" * 2
    rows = found.test.rows
    macro = Evaluation(
        f"mean of the sources {', '.join(rows)}",
        "test",
        sum(row.pictures for row in rows.values()),
        sum(row.lesions for row in rows.values()),
        command,
        found.test.macro,
    )
    evaluations = [macro]
    for name, summary in found.summaries.items():
        data = f"{name} ({EXTERNAL})" if rows[name].external else name
        own = to_evaluation(summary, data, f"{command} --source {name}")
        evaluations.append(replace(own, metrics=own.metrics | rows[name].figures))
    points = tuple(
        replace(
            point,
            metrics=found.test.macro_points.get(point.name, {}),
            bands=tuple(
                replace(band, metrics=_means([summary.bands[point.name][i] for summary in found.summaries.values()]))
                for i, band in enumerate(point.bands)
            ),
        )
        for point in manifest.operating_points
    )
    return replace(manifest, evaluations=tuple(evaluations), operating_points=points)


def card_sections(found: Several, manifest: Manifest) -> list[str]:
    """The figures of a model card: by source, what operating points hold, subgroups, the probe, the ledger."""
    points, exempt = manifest.operating_points, _exempt(manifest)
    parts = [
        sources_markdown(found.test, "Figures on `test`", points, exempt=exempt),
        "## What the operating points held where they were chosen\n",
        "Sensitivity and specificity on the pictures that the thresholds were chosen on, by source.\n",
        sources_markdown(found.chosen, "Pictures of the choices", points, "###", exempt),
        "## Subgroups, by source\n",
        "At the default operating point. Skin tone is an **estimate** from the colour of the skin around the lesion "
        "(individual typology angle, Chardon 1991), of cameras that nobody calibrated: read differences, not levels.\n",
    ]
    for name, summary in found.summaries.items():
        table = [
            [attribute, value, str(group.pictures), str(group.melanomas), *map(show, map(group.figures.get, _GROUPED))]
            for attribute, groups in summary.subgroups.items()
            for value, group in groups.items()
        ]
        head = ["attribute", "value", "pictures", "melanomas", *map(words, _GROUPED)]
        parts += [f"### {name}\n", markdown_table(head, table)]
    if found.probe:
        parts += ["## Does the classifier know the source?\n", found.probe]
    if found.read:
        parts += ["## Readings of test\n", found.read]
    return parts


def _exempt(manifest: Manifest) -> tuple[str, ...]:
    return tuple(manifest.provenance.bundle_recipe.get("size_exempt", ()))


def _means(figures: Sequence[dict[str, Metric]]) -> dict[str, Metric]:
    shared = [name for name in figures[0] if all(name in one for one in figures)]
    return {name: Metric(round(float(np.mean([one[name].value for one in figures])), 6)) for name in shared}


def _probe(results: Path, learnt: Sequence[str]) -> str:
    path = results / PROBE
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    if not content:
        one = "Not measured: it learnt from one source, and a probe needs unseen pictures of several to tell apart.\n"
        return one if len(learnt) == 1 else ""
    each = ", ".join(f"{name} {share:.2f}" for name, share in content["recognised"].items())
    return (
        "A linear probe of the classifier's pooled features recognises the source of "
        f"{content['balanced_accuracy']:.2f} of unseen validation pictures (mean over the sources: {each}); guessing "
        f"gives {content['chance']:.2f}. What tells the source may also tell its share of melanoma.\n"
    )


def readings_words(results: Path, manifest: Manifest) -> str:
    """The reading of these networks and rules, and those before it of other forms under the same name."""
    identity = decisions_hash(manifest)
    every = readings(results.parent / LEDGER)
    known = [one for one in every if one.hash == identity]
    if not known:
        return ""
    first = known[0]
    pictures = ", ".join(f"{count} of {name}" for name, count in first.pictures.items())
    later = ", entered later from the stored results" if first.entered_later else ""
    text = (
        f"These networks and rules (hash `{identity[:16]}`) read `test` on {first.date[:10]}: {pictures}. Reason: "
        f"{first.reason}{later}. A second look is answered from what was stored then.\n"
    )
    names = (manifest.name, *FORMER_NAMES.get(manifest.name, ()))
    named = [one for one in every if one.what.partition(" ")[0] in names]
    before = [one for one in named if one.hash != identity and one.date < first.date]
    if before:
        when = "; ".join(
            f"{one.what}, {one.date[:16].replace('T', ' ')} UTC (hash `{one.hash[:16]}`)" for one in before
        )
        text += (
            f"\nOther networks or rules under {'these names' if len(names) > 1 else 'this name'} read `test` before: "
            f"{when}. What was chosen after that may have been led by what it showed.\n"
        )
    return text
