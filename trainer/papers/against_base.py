"""Rows of the ablations against their base, on the same pictures."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from edge_infer.rules import Metric
from trainer.papers.ablations import BASE
from trainer.papers.measures import differences
from trainer.papers.rows import Row
from trainer.papers.words import budget_words, name_of
from trainer.report.markdown import markdown_table, words
from trainer.report.summary import Figures
from trainer.scoring.metrics import show
from trainer.scoring.predictions import read_predictions

PAIRED = (
    "Both networks answer the same pictures; in brackets the 95 % interval of the difference, bootstrapped by lesion, "
    "in bold where it leaves out zero. One cell in twenty is bold by chance alone, and the interval does not hold what "
    "another training would change: read each row beside that of another seed. All rows keep their last epoch."
)


KNOWN_OUTLINES = (
    "Predicted crops are those of a segmenter that learnt from some of these pictures: its outlines are better than "
    "they would be on new ones.\n"
)


def ablation_table(folder: Path, rows: Sequence[Row]) -> str:
    """Each row's difference to the row `...-base` on the same pictures, from the stored predictions of both.

    Args:
        folder: of the comparison.
        rows: its rows.
    """
    bases = [row for row in rows if row.name.endswith(BASE)]
    families = {row.name.removesuffix(BASE) for row in bases}
    parts, left_out = [], []
    for base in bases:
        stored, columns = read_predictions(folder / base.predictions), _levels(base)
        lines = [[name_of(base), base.what, _epoch(base), *map(show, columns.values())]]
        for row in rows:
            if row.name == base.name or _family(row, families) != base.name.removesuffix(BASE):
                continue
            if row.view not in (base.view, "whole" if base.view == "truth" else ""):
                continue
            if _budget(row) != _budget(base):
                left_out.append(name_of(row))
                continue
            found = differences(read_predictions(folder / row.predictions), stored, row.positive)
            lines.append([name_of(row), row.what, _epoch(row), *(signed(found.get(column)) for column in columns)])
        parts += [
            f"Base: {budget_words(base)}.\n",
            markdown_table(["row", "change", "epoch kept", *map(words, columns)], lines),
        ]
    if any(row.view == "predicted" for row in rows):
        parts.append(KNOWN_OUTLINES)
    if left_out:
        parts.append(f"Made at another budget than the base, so without a difference: {', '.join(left_out)}.\n")
    return PAIRED + "\n\n" + "\n".join(parts)


def _epoch(row: Row) -> str:
    """The epoch that was evaluated."""
    return "-" if row.compute is None else str(row.compute.best_epoch)


def _family(row: Row, families: Collection[str]) -> str:
    """The base recipe whose ablation a row is: of `a` and `a-b`, a row `a-b-c` belongs to the second."""
    return max((name for name in families if row.name.startswith(f"{name}-")), key=len, default="")


def _budget(row: Row) -> tuple[object, ...]:
    """What two rows must share to be compared."""
    cost = row.compute
    if cost is None:
        return ()
    pictures = (cost.train_images, cost.val_images, row.figures.images, row.figures.lesions)
    return (cost.planned_epochs, round(cost.size / cost.recipe_size, 2), *pictures)


def _levels(base: Row) -> Figures:
    """The base's own figures, of which the other rows give differences."""
    found = base.figures.classification
    if found is None:
        per_picture = base.figures.clean.per_picture if base.figures.clean else {}
        return {name: value for name, value in per_picture.items() if name in ("dice", "thresholded_jaccard")}
    wanted = {name: found.ranking.get(name) for name in ("auc", "sensitivity_at_95_specificity")}
    wanted["class_balanced_accuracy"] = found.classes.get("class_balanced_accuracy")
    return {name: value for name, value in wanted.items() if value is not None}


def signed(metric: Metric | None) -> str:
    """A difference with its interval, in bold where the interval leaves out zero."""
    if metric is None:
        return "-"
    text = f"{metric.value:+.3f}"
    if metric.low is None or metric.high is None:
        return text
    text += f" ({metric.low:+.3f} to {metric.high:+.3f})"
    return f"**{text}**" if metric.low > 0 or metric.high < 0 else text
