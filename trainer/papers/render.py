"""The Markdown table of a comparison, from its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from edge_infer.files import write_atomically
from edge_infer.rules import Metric
from trainer.papers.against_base import ablation_table
from trainer.papers.measures import CHOSEN, HALF, Figured
from trainer.papers.plans import TITLES, Table
from trainer.papers.rows import Row, read_rows
from trainer.papers.words import INTERVALS, LEAK, budget_words, hardware_words, how_chosen, name_of, split_words
from trainer.report.markdown import markdown_table, words
from trainer.report.summary import Figures
from trainer.scoring.metrics import show

MASK_FIGURES = ("dice", "jaccard", "thresholded_jaccard", "pixel_recall", "pixel_precision", "pixel_accuracy")
POOLED_FIGURES = ("dice", "jaccard", "pixel_recall", "pixel_precision", "pixel_accuracy")
RANKING_FIGURES = ("auc", "sensitivity_at_95_specificity", "sensitivity_at_90_specificity", "calibration_error")
DECISION_FIGURES = ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "precision", "f1")
CLASS_FIGURES = ("class_accuracy", "class_balanced_accuracy", "class_calibration_error")

TARGETS = {"mel": "melanoma", "bkl": "benign keratosis"}


EXTERNAL = "Test pictures of sources that no row learnt from, beside those of its own source.\n"

Cell = Callable[[Row], str]


def write_table(folder: Path, table: Table) -> Path:
    """Writes `README.md` in a comparison's folder from all rows in it, and returns its path."""
    path = folder / "README.md"
    write_atomically(path, table_text(folder, table).encode())
    return path


def table_text(folder: Path, table: Table) -> str:
    """What `README.md` in a comparison's folder has to say."""
    rows = read_rows(folder)
    return to_markdown(rows, table, ablation_table(folder, rows) if table == "ablations" else "")


def to_markdown(rows: Sequence[Row], table: Table, against: str = "") -> str:
    """A comparison: what each row is and what it cost, then its figures.

    Args:
        rows: of one comparison, by system and name.
        table: which one.
        against: the differences to the base, see `ablation_table`.
    """
    head = rows[0]
    parts = [
        f"# {TITLES[table]}\n",
        f"{head.data}, {split_words(rows)}. {how_chosen(rows)} Figures are on `test`.",
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
    parts += external_tables(rows)
    parts += ["## Subgroups\n", *_subgroups(rows)]
    return "\n".join(parts)


def external_tables(rows: Sequence[Row]) -> list[str]:
    """Figures on the test pictures of sources that no row learnt from, beside those of the row's own source."""
    sources = sorted({name for row in rows for name in row.external})
    parts: list[str] = []
    for key, title, pick in (("dice", "Dice after clean-up", _clean_of), ("auc", "AUC of the positive class", _auc_of)):
        lines = [
            [row.system, name_of(row), show(pick(row.figures).get(key))]
            + [show(pick(row.external[name]).get(key)) if name in row.external else "-" for name in sources]
            for row in rows
            if row.external and pick(row.figures)
        ]
        if lines:
            parts += [f"{title}:\n", markdown_table(["system", "row", rows[0].data, *sources], lines)]
    return ["## What survives a change of clinic\n", EXTERNAL, *parts] if parts else []


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
        "tested on": lambda row: f"{row.figures.images} pictures",
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
    return _clean_of(row.figures)


def _clean_of(figures: Figured) -> Figures:
    return figures.clean.per_picture if figures.clean else {}


def _auc_of(figures: Figured) -> Figures:
    found = figures.classification
    return {name: value for name, value in found.ranking.items() if name == "auc"} if found else {}


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
