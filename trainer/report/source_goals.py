"""What bundles over several sources are meant to reach on `test`, beside what they do reach."""

from __future__ import annotations

from dataclasses import dataclass

from edge_infer.rules import Metric
from trainer.report.markdown import markdown_table
from trainer.report.sources import BySource
from trainer.scoring.metrics import show


@dataclass(frozen=True)
class SourceGoal:
    """One row: a measure (a name of `trainer.report.sources.COLUMNS`) of a source, for some bundles.

    `before` is what the first bundle reached there, in words.
    """

    words: str
    bundles: tuple[str, ...]
    source: str
    measure: str
    must: float
    moonshot: float
    before: str = "-"
    low: bool = False

    def verdict(self, value: float) -> str:
        """Which of the two is reached."""
        for name, bound in (("moonshot", self.moonshot), ("reached", self.must)):
            if value <= bound if self.low else value >= bound:
                return name
        return "**missed**"


_HAM, _MSK, _BCN = "ham10000", "msk-uda", "bcn"
_ECE, _ONE = "calibration_error_corrected", ("mobile",)
SOURCE_GOALS = (
    SourceGoal("AUC", _ONE, _HAM, "auc", 0.935, 0.955, "0.921"),
    SourceGoal("sensitivity at 95 % specificity", _ONE, _HAM, "sensitivity_at_95_specificity", 0.68, 0.78, "0.605"),
    SourceGoal("Dice", _ONE, _HAM, "dice", 0.942, 0.95, "0.944"),
    SourceGoal("Jaccard below 0.65", _ONE, _HAM, "jaccard_below_0.65", 0.04, 0.02, "0.037", low=True),
    SourceGoal("AUC", _ONE, _MSK, "auc", 0.86, 0.90, "about 0.72"),
    SourceGoal("Dice, a refused picture counting 0", _ONE, _MSK, "dice_refused_0", 0.86, 0.90, "0.72"),
    SourceGoal("AUC at 84 pixels", _ONE, _BCN, "auc", 0.82, 0.87),
    SourceGoal("calibration error", _ONE, _HAM, "calibration_error", 0.03, 0.02, "0.017", low=True),
    SourceGoal("calibration error after prior correction", _ONE, _MSK, _ECE, 0.06, 0.04, "0.15 to 0.24", low=True),
    SourceGoal("calibration error after prior correction", _ONE, _BCN, _ECE, 0.06, 0.04, "0.15 to 0.24", low=True),
    SourceGoal("good pictures refused", _ONE, _HAM, "refused", 0.02, 0.01, "0.4 %", low=True),
    SourceGoal("good pictures refused", _ONE, _MSK, "refused", 0.02, 0.01, "about 28 %", low=True),
    SourceGoal("balanced accuracy, seven diagnoses", _ONE, _HAM, "class_balanced_accuracy", 0.76, 0.82, "0.67"),
    SourceGoal("AUC", ("reference",), _HAM, "auc", 0.93, 0.95, "0.902"),
    SourceGoal("Dice", ("reference",), _HAM, "dice", 0.94, 0.95, "0.928"),
    SourceGoal("AUC", ("open",), _MSK, "auc", 0.80, 0.86),
    SourceGoal("AUC, external", ("open",), _HAM, "auc", 0.75, 0.82),
    SourceGoal("good pictures refused, external", ("open",), _HAM, "refused", 0.04, 0.02, low=True),
    SourceGoal("good pictures refused, external, at 84 pixels", ("open",), _BCN, "refused", 0.04, 0.02, low=True),
)


def source_goals_table(bundle: str, found: BySource) -> str:
    """Each goal of this bundle beside the measured figure and its interval; "" where it has none."""
    rows = []
    for goal in SOURCE_GOALS:
        if bundle not in goal.bundles or goal.source not in found.rows:
            continue
        metric: Metric | None = found.rows[goal.source].figures.get(goal.measure)
        sign = "<=" if goal.low else ">="
        asked = [f"{sign} {bound:g}" for bound in (goal.must, goal.moonshot)]
        verdict = "-" if metric is None else goal.verdict(metric.value)
        rows.append([goal.source, goal.words, goal.before, *asked, show(metric), verdict])
    head = ["source", "measure", "first bundle", "must", "moonshot", "measured", "verdict"]
    return markdown_table(head, rows) if rows else ""
