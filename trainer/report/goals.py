"""What the bundles are meant to reach on `test`, beside what they do reach."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_infer.bundle.manifest import DEFAULT_BUNDLE, Metric
from edge_infer.schema import SchemaError, parse
from trainer.errors import DataError
from trainer.papers.measures import HALF
from trainer.papers.render import INTERVALS, LEAK, budget_words
from trainer.papers.rows import Row
from trainer.report.summary import Figures, Summary, markdown_table
from trainer.scoring.metrics import show

LEAKING_NOTE = (
    "The second stage was trained again on the papers' own kind of split, a random 80/20 of the pictures, and decides "
    "at 0.5. The crops are those of this bundle's segmenter, which was trained on another split: it knows many of "
    "these test pictures, which makes the crops a little better than the papers' could be."
)


@dataclass(frozen=True)
class Goal:
    """One row of the table.

    Attributes:
        words: the measure's name.
        value: the measured figure; None where the bundle has none.
        must, moonshot: what is asked for, and what would be better than anything known.
        floor: what the paper, or a plain network before this project, reached; in words.
        low: whether a smaller value is better.
    """

    words: str
    value: Callable[[Summary], Metric | None]
    must: float
    moonshot: float
    floor: str = "-"
    low: bool = False

    def verdict(self, value: float) -> str:
        """Which of the two is reached."""
        for name, bound in (("moonshot", self.moonshot), ("reached", self.must)):
            if value <= bound if self.low else value >= bound:
                return name
        return "**missed**"


def _of(part: str, name: str) -> Callable[[Summary], Metric | None]:
    return lambda summary: getattr(summary, part).get(name)


def _several(name: str) -> Callable[[Summary], Metric | None]:
    """A figure over all diagnoses; a bundle that only tells melanoma has none."""
    return lambda summary: summary.classes.get(name) if summary.diagnoses > 2 else None


def _referred(summary: Summary) -> Metric | None:
    return summary.referral.get("specialist", {}).get("20%", {}).get("sensitivity_at_95_specificity")


GOALS = (
    Goal("Dice per picture, after clean-up", _of("segmentation", "dice"), 0.935, 0.945, "paper 0.921, floor 0.926"),
    Goal("thresholded Jaccard", _of("segmentation", "thresholded_jaccard"), 0.86, 0.885, "floor 0.838"),
    Goal("Jaccard below 0.65", _of("segmentation", "jaccard_below_0.65"), 0.05, 0.035, "floor 0.071", low=True),
    Goal("worst class Dice", _of("segmentation", "worst_class_dice"), 0.83, 0.87, "floor 0.781 (BCC)"),
    Goal("melanoma AUC, predicted ROI", _of("melanoma", "auc"), 0.945, 0.965, "floor 0.942 (true box)"),
    Goal(
        "sensitivity at 95 % specificity",
        _of("melanoma", "sensitivity_at_95_specificity"),
        *(0.73, 0.82, "paper 0.747 at 96.5 % (leaks), floor 0.73"),
    ),
    Goal("specificity at 90 % sensitivity", _of("melanoma", "specificity_at_90_sensitivity"), 0.83, 0.90, "floor 0.81"),
    Goal(
        "balanced accuracy, seven diagnoses",
        _several("class_balanced_accuracy"),
        0.78,
        0.86,
        "paper 0.824, floor 0.754",
    ),
    Goal("accuracy, seven diagnoses", _several("class_accuracy"), 0.87, 0.90, "floor 0.867"),
    Goal("calibration error, 15 bins", _of("melanoma", "calibration_error"), 0.03, 0.02, "floor 0.044", low=True),
    Goal("sensitivity at 95 % specificity, least certain 20 % referred", _referred, 0.82, 0.90),
)

PAPER = {"accuracy": 0.9406, "specificity": 0.9651, "sensitivity": 0.7467, "f1": 0.7385}
"""The first paper's second stage on its own split, which leaks."""

MUST_GAP, MOONSHOT_GAP = 0.01, 0.005
COMPARED = ("Dice per picture, after clean-up", "melanoma AUC, predicted ROI")


def goals_table(summary: Summary) -> str:
    """Each goal beside the measured figure and its 95 % interval."""
    rows = []
    for goal in GOALS:
        metric, sign = goal.value(summary), "<=" if goal.low else ">="
        verdict = "-" if metric is None else goal.verdict(metric.value)
        asked = [f"{sign} {bound:g}" for bound in (goal.must, goal.moonshot)]
        rows.append([goal.words, goal.floor, *asked, show(metric), verdict])
    return markdown_table(["measure", "known before", "must", "moonshot", "measured", "verdict"], rows)


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
    return f"{LEAKING_NOTE}\n\n{leak}\n\nTrained with: {budget_words(found)}.\n\n{markdown_table(head, lines)}"


def _against(figures: Figures, name: str, paper: float) -> str:
    metric = figures.get(name)
    return "-" if metric is None else "matched" if metric.value >= paper else "**missed**"


def overview(results: Path) -> str:
    """All bundles side by side, and how far each is behind the best, from their `evaluation.json`.

    Args:
        results: folder with one folder of results for each bundle.

    Raises:
        DataError: there is none, or one cannot be read.
    """
    summaries = {path.parent.name: _read(path) for path in sorted(results.glob("*/evaluation.json"))}
    if not summaries:
        raise DataError(f"'{results}' holds no results of a bundle.", "Make them with `python -m trainer export`.")
    rows = [
        [goal.words, f"{'<=' if goal.low else '>='} {goal.must:g}", *(show(goal.value(s)) for s in summaries.values())]
        for goal in GOALS
    ]
    parts = [
        "# Bundles side by side\n",
        f"Made by `python -m trainer report` from the results of each bundle. On `test`. {INTERVALS}\n",
        markdown_table(["measure", "must", *summaries], rows),
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


def _read(path: Path) -> Summary:
    try:
        summary: Summary = parse(Summary, json.loads(path.read_text(encoding="utf-8"))["test"])
    except (OSError, ValueError, KeyError, SchemaError) as error:
        raise DataError(f"'{path}' holds no figures: {error}.", "Make them with `python -m trainer report`.") from error
    return summary
