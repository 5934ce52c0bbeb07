"""The Markdown table of a comparison, from its rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from edge_infer.files import write_atomically
from edge_infer.rules import Metric
from trainer.papers.ablations import BASE
from trainer.papers.measures import CHOSEN, HALF, differences
from trainer.papers.plans import TITLES, Table
from trainer.papers.rows import Row, read_rows
from trainer.report.markdown import markdown_table, words
from trainer.report.summary import Figures
from trainer.scoring.metrics import show
from trainer.scoring.predictions import read_predictions

MASK_FIGURES = ("dice", "jaccard", "thresholded_jaccard", "pixel_recall", "pixel_precision", "pixel_accuracy")
POOLED_FIGURES = ("dice", "jaccard", "pixel_recall", "pixel_precision", "pixel_accuracy")
RANKING_FIGURES = ("auc", "sensitivity_at_95_specificity", "sensitivity_at_90_specificity", "calibration_error")
DECISION_FIGURES = ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "precision", "f1")
CLASS_FIGURES = ("class_accuracy", "class_balanced_accuracy", "class_calibration_error")

VIEWS = {"picture": "picture", "whole": "whole picture", "truth": "true crop", "predicted": "predicted crop"}
TARGETS = {"mel": "melanoma", "bkl": "benign keratosis"}

INTERVALS = "In brackets: 95 % interval, bootstrapped by lesion."
LEAK = (
    "**This split is by picture and leaks**: {all:.0%} of the test pictures ({melanoma:.0%} of those of melanoma) have "
    "a picture of the same lesion in training or validation. It is here for comparison with papers that split so; the "
    "figures are too good."
)
LOW = "**low budget**"
PAIRED = (
    "Both networks answer the same pictures; in brackets the 95 % interval of the difference, bootstrapped by lesion, "
    "in bold where it leaves out zero. One cell in twenty is bold by chance alone, and the interval does not hold what "
    "another training would change: read each row beside that of another seed. All rows keep their last epoch."
)
KNOWN_OUTLINES = (
    "Predicted crops are those of a segmenter that learnt from some of these pictures: its outlines are better than "
    "they would be on new ones.\n"
)

Cell = Callable[[Row], str]


def write_table(folder: Path, table: Table) -> Path:
    """Writes `README.md` in a comparison's folder from all rows in it, and returns its path."""
    path, rows = folder / "README.md", read_rows(folder)
    against = ablation_table(folder, rows) if table == "ablations" else ""
    write_atomically(path, to_markdown(rows, table, against).encode())
    return path


def to_markdown(rows: Sequence[Row], table: Table, against: str = "") -> str:
    """A comparison: what each row is and what it cost, then its figures.

    Args:
        rows: of one comparison, by system and name.
        table: which one.
        against: the differences to the base, see `ablation_table`.
    """
    head = rows[0]
    chosen = "The threshold is" if table == "ablations" else "Epoch and threshold are"
    parts = [
        f"# {TITLES[table]}\n",
        f"{head.data}, {split_words(head)}. {chosen} chosen on `val`, figures are on `test`.",
        f"{INTERVALS}\n",
    ]
    if head.leaks:
        parts.append(LEAK.format(all=head.shared, melanoma=head.shared_melanoma) + "\n")
    if against:
        parts += ["## Differences to the base\n", against]
    parts += ["## Rows\n", _rows_table(rows)]
    masked = [row for row in rows if row.figures.clean]
    if masked:
        parts += ["## Segmentation\n", "Mean over pictures, after clean-up:\n", grid(masked, MASK_FIGURES, _clean)]
        parts += ["Before clean-up:\n", grid(masked, MASK_FIGURES, _raw)]
        parts += ["All pixels in one pot, after clean-up:\n", grid(masked, POOLED_FIGURES, _pooled)]
        parts += ["All pixels in one pot, before clean-up:\n", grid(masked, POOLED_FIGURES, _pooled_raw)]
        diagnoses = sorted({dx for row in masked for dx in row.figures.clean.dice_by_class})  # type: ignore[union-attr]
        parts += ["Dice by diagnosis, after clean-up:\n", grid(masked, diagnoses, _by_class)]
    classed = [row for row in rows if row.figures.classification]
    for positive in sorted({row.positive for row in classed}, reverse=True):
        these = [row for row in classed if row.positive == positive]
        parts += [f"## Classification: {TARGETS.get(positive, positive)} against the rest\n"]
        parts += [grid(these, RANKING_FIGURES, _ranking)]
        for name, title in ((CHOSEN, "at the threshold with the best Youden index on `val`"), (HALF, "at 0.5")):
            parts += [f"Decision {title}:\n", grid(these, DECISION_FIGURES, _decision(name))]
    several = [row for row in classed if row.figures.classification and row.figures.classification.classes]
    if several:
        parts += ["## All diagnoses, by the most probable one\n", grid(several, CLASS_FIGURES, _classes)]
        for name, title in (
            ("auc", "AUC against the rest"),
            ("sensitivity", "Sensitivity"),
            ("precision", "Precision"),
        ):
            parts += [f"{title}, by diagnosis:\n", grid(several, list(several[0].labels), _per_class(name))]
    parts += ["## Subgroups\n", *_subgroups(rows)]
    return "\n".join(parts)


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
            lines.append([name_of(row), row.what, _epoch(row), *(_signed(found.get(column)) for column in columns)])
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
        return {name: value for name, value in _clean(base).items() if name in ("dice", "thresholded_jaccard")}
    wanted = {name: found.ranking.get(name) for name in ("auc", "sensitivity_at_95_specificity")}
    wanted["class_balanced_accuracy"] = found.classes.get("class_balanced_accuracy")
    return {name: value for name, value in wanted.items() if value is not None}


def _signed(metric: Metric | None) -> str:
    """A difference with its interval, in bold where the interval leaves out zero."""
    if metric is None:
        return "-"
    text = f"{metric.value:+.3f}"
    if metric.low is None or metric.high is None:
        return text
    text += f" ({metric.low:+.3f} to {metric.high:+.3f})"
    return f"**{text}**" if metric.low > 0 or metric.high < 0 else text


def split_words(row: Row) -> str:
    """Which pictures a row was tested on."""
    how = {
        "column": "the data set's own split, by lesion",
        "lesion-80-20": "80/20 by lesion",
        "lesion-60-20-20": "60/20/20 by lesion",
        "image-80-20": "80/20 by picture",
        "development": "`train` and `val` of the data set's own split, halved by lesion: one half, called `test` here, "
        "judges what the other has taught; the set's own `test` was not read",
    }[row.split]
    limit = "" if row.test_limit is None else ", part of `test`"
    return f"{how}{limit}: {row.figures.images} test pictures of {row.figures.lesions} lesions"


def budget_words(row: Row) -> str:
    """What a row was trained with."""
    cost = row.compute
    if cost is None:
        return "not trained"
    parts = [
        f"{cost.train_images} of {cost.full_train_images} pictures",
        f"{cost.epochs} of {cost.recipe_epochs} epochs" if cost.low_budget else f"{cost.epochs} epochs",
        f"{cost.size} px" + ("" if cost.size == cost.recipe_size else f" (recipe: {cost.recipe_size})"),
        f"{cost.train_minutes:.1f} min",
    ]
    return (f"{LOW}: " if cost.low_budget else "") + ", ".join(parts)


def hardware_words(row: Row) -> str:
    """Where a row was trained."""
    cost = row.compute
    if cost is None:
        return "-"
    return cost.device if cost.device != "cpu" else f"{cost.hardware}, {cost.threads} thread{'s' * (cost.threads > 1)}"


def name_of(row: Row) -> str:
    """A row's name, with what it saw where that is not plain."""
    return f"{row.name} ({VIEWS[row.view]})" if row.view in ("truth", "predicted") else row.name


def grid(rows: Sequence[Row], columns: Sequence[str], figures: Callable[[Row], Figures]) -> str:
    """One line a row, one column a figure."""
    lines = [[row.system, name_of(row), *(show(figures(row).get(column)) for column in columns)] for row in rows]
    return markdown_table(["system", "row", *map(words, columns)], lines)


def _rows_table(rows: Sequence[Row]) -> str:
    cells: dict[str, Cell] = {
        "system": lambda row: row.system,
        "row": name_of,
        "what it is": lambda row: row.what + (f"; crops by {row.roi_from}" if row.roi_from else ""),
        "trained with": budget_words,
        "initial weights": lambda row: row.initialisation or "-",
        "M parameters": lambda row: f"{row.compute.parameters / 1e6:.2f}" if row.compute else "-",
        "seed": lambda row: str(row.seed),
        "hardware": hardware_words,
    }
    return markdown_table(list(cells), [[cell(row) for cell in cells.values()] for row in rows])


def _subgroups(rows: Sequence[Row]) -> list[str]:
    parts: list[str] = []
    for name, title in (
        ("dice", "Dice"),
        ("auc", "AUC"),
        ("sensitivity", "Sensitivity"),
        ("specificity", "Specificity"),
    ):
        these = [
            row for row in rows if any(name in g.figures for t in row.figures.subgroups.values() for g in t.values())
        ]
        if not these:
            continue
        first = these[0].figures.subgroups
        lines = [
            [attribute, value, str(group.pictures), *(_subgroup(row, attribute, value, name) for row in these)]
            for attribute, groups in first.items()
            for value, group in groups.items()
        ]
        parts += [f"{title}:\n", markdown_table(["attribute", "value", "pictures", *map(name_of, these)], lines)]
    return parts


def _subgroup(row: Row, attribute: str, value: str, name: str) -> str:
    group = row.figures.subgroups.get(attribute, {}).get(value)
    return show(None if group is None else group.figures.get(name))


def _clean(row: Row) -> Figures:
    return row.figures.clean.per_picture if row.figures.clean else {}


def _raw(row: Row) -> Figures:
    return row.figures.raw.per_picture if row.figures.raw else {}


def _pooled(row: Row) -> Figures:
    return row.figures.clean.pooled if row.figures.clean else {}


def _pooled_raw(row: Row) -> Figures:
    return row.figures.raw.pooled if row.figures.raw else {}


def _by_class(row: Row) -> Figures:
    return row.figures.clean.dice_by_class if row.figures.clean else {}


def _ranking(row: Row) -> Figures:
    found = row.figures.classification
    answered = {} if found is None else {"answered": Metric(found.answered / row.figures.images)}
    return answered | (found.ranking if found else {})


def _decision(name: str) -> Callable[[Row], Figures]:
    return lambda row: row.figures.classification.decisions.get(name, {}) if row.figures.classification else {}


def _classes(row: Row) -> Figures:
    return row.figures.classification.classes if row.figures.classification else {}


def _per_class(name: str) -> Callable[[Row], Figures]:
    def pick(row: Row) -> Figures:
        found = row.figures.classification
        return (
            {} if found is None else {dx: figures[name] for dx, figures in found.per_class.items() if name in figures}
        )

    return pick
