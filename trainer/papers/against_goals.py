"""Bundles side by side, and beside the published figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_infer.bundle.store import DEFAULT_BUNDLE
from edge_infer.schema import SchemaError, parse
from trainer.data.ham10000 import SOURCE
from trainer.data.splits import LEAKING
from trainer.errors import DataError
from trainer.papers.measures import HALF
from trainer.papers.rows import Row, folder_of, read_rows
from trainer.papers.words import INTERVALS, LEAK, budget_words
from trainer.report.goals import GOALS, Goal
from trainer.report.markdown import markdown_table
from trainer.report.summary import Figures, Summary
from trainer.scoring.metrics import show

LEAKING_NOTE = (
    "Recipe `{recipe}`, the published second stage, was trained on the papers' own kind of split, a random 80/20 of "
    "HAM10000's pictures, and decides at 0.5: a training apart from the one that ships, and shorter. The crops are "
    "those of the segmenter of this bundle's first version, which was trained on another split: it knows many of these "
    "test pictures, which makes the crops a little better than the papers' could be."
)

PUBLISHED_STAGE = {"reference": "reference-classifier"}
"""Recipe of the published second stage that a bundle stands for."""


PAPER = {"accuracy": 0.9406, "specificity": 0.9651, "sensitivity": 0.7467, "f1": 0.7385}
"""The first paper's second stage on its own split, which leaks."""


MUST_GAP, MOONSHOT_GAP = 0.01, 0.005


COMPARED = ("Dice per picture, after clean-up", "melanoma AUC, predicted ROI")


def papers_table(name: str, rows: Sequence[Row]) -> str:
    """The papers' own protocol; empty where no row on the crops of this bundle's segmenter was made of it.

    Args:
        name: the bundle's.
        rows: of comparisons on splits that leak.
    """
    crops = f"bundle {name}"
    found = next((row for row in rows if row.leaks and row.view == "predicted" and row.roi_from == crops), None)
    if found is None or found.figures.classification is None:
        return ""
    figures = found.figures.classification.decisions[HALF]
    lines = [
        [name if name != "f1" else "F1", f"{value:.4f}", show(figures.get(name)), _against(figures, name, value)]
        for name, value in PAPER.items()
    ]
    head = ["measure, at 0.5", "paper", "measured", "verdict"]
    leak = LEAK.format(all=found.shared, melanoma=found.shared_melanoma)
    note, trained = LEAKING_NOTE.format(recipe=found.name), f"Trained with: {budget_words(found)}."
    return f"{note}\n\n{leak}\n\n{trained}\n\n{markdown_table(head, lines)}"


def _against(figures: Figures, name: str, paper: float) -> str:
    metric = figures.get(name)
    return "-" if metric is None else "matched" if metric.value >= paper else "**missed**"


SEVERAL_NOTE = f"Bundles over several sources are shown by their `test` of {SOURCE}; their own RESULTS.md has all.\n"


def overview(results: Path) -> str:
    """All bundles side by side, and how far each is behind the best, from their `evaluation.json`.

    Args:
        results: folder with one folder of results for each bundle.

    Raises:
        DataError: there is none, or one cannot be read.
    """
    known = {path.parent.name: _read(path) for path in sorted(results.glob("*/evaluation.json"))}
    summaries = {name: summary for name, (summary, _) in known.items() if summary is not None}
    if not summaries:
        raise DataError(f"'{results}' holds no results of a bundle.", "Make them with `python -m trainer export`.")
    rows = [[goal.words, *(show(goal.value(summary)) for summary in summaries.values())] for goal in GOALS]
    parts = [
        "# Bundles side by side\n",
        f"Made by `python -m trainer report` from the results of each bundle. On `test`. {INTERVALS} What each bundle "
        "was meant to reach stands in its RESULTS.md.\n",
        *([SEVERAL_NOTE] if any(several for _, several in known.values()) else []),
        markdown_table(["measure", *summaries], rows),
    ]
    behind = [
        _against_best(goal, summaries) for goal in GOALS if goal.words in COMPARED and DEFAULT_BUNDLE in summaries
    ]
    if any(behind):
        parts += [
            f"`{DEFAULT_BUNDLE}` against the best other bundle; it must not be behind by more than {MUST_GAP:g}, its "
            f"moonshot is {MOONSHOT_GAP:g}:\n",
            markdown_table(["measure", "best other", "behind it by", "verdict"], [row for row in behind if row]),
        ]
    return "\n".join(parts)


def _against_best(goal: Goal, summaries: Mapping[str, Summary]) -> list[str]:
    """One row; empty where no other bundle has the figure."""
    values = {name: metric.value for name, found in summaries.items() if (metric := goal.value(found)) is not None}
    own = values.pop(DEFAULT_BUNDLE, None)
    if own is None or not values:
        return []
    best = max(values, key=values.__getitem__)
    gap = round(values[best] - own, 6)
    verdict = "moonshot" if gap <= MOONSHOT_GAP else "reached" if gap <= MUST_GAP else "**missed**"
    return [goal.words, best, f"{gap:.4f}" if gap > 0 else f"ahead by {-gap:.4f}", verdict]


def _read(path: Path) -> tuple[Summary | None, bool]:
    """Figures on `test`, and whether the bundle has several sources: then those of `SOURCE`, None where it has none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        several = "summaries" in content
        found = content["summaries"].get(SOURCE) if several else content["test"]
        summary: Summary | None = None if found is None else parse(Summary, found)
    except (OSError, ValueError, KeyError, SchemaError) as error:
        raise DataError(f"'{path}' holds no figures: {error}.", "Make them with `python -m trainer report`.") from error
    return summary, several


COMPARISONS = Path(__file__).parents[1] / "results" / "compare"


def leaking_rows(bundle: str, comparisons: Path = COMPARISONS) -> list[Row]:
    """Rows of a bundle's published second stage on splits that leak, as `python -m trainer compare` left them."""
    recipe = PUBLISHED_STAGE.get(bundle)
    homes = [folder_of(comparisons, "classifiers", split) for split in LEAKING]
    return [row for home in homes for row in read_rows(home) if row.name == recipe]
