"""RESULTS.md: every system S1 to S10 beside the figures of the papers, from the rows of all comparisons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from trainer.errors import DataError
from trainer.papers.again import AGAIN, again_table
from trainer.papers.against_base import ablation_table
from trainer.papers.against_goals import PAPER
from trainer.papers.asked import asked_table
from trainer.papers.clinic import place
from trainer.papers.hours import PAGE as HOURS
from trainer.papers.hours import hours_page
from trainer.papers.lessons import how, lessons
from trainer.papers.marks import marks_note, marks_of
from trainer.papers.measures import CHOSEN, HALF, Classification
from trainer.papers.plans import TABLES, TITLES, Table, plans
from trainer.papers.published import published_table
from trainer.papers.render import TARGETS, external_tables, table_text
from trainer.papers.rows import Row, read_rows
from trainer.papers.schedules import fitted, trainings
from trainer.papers.wording import listed
from trainer.papers.words import (
    INTERVALS,
    LEAK,
    VIEWS,
    budget_words,
    hardware_words,
    how_chosen,
    name_of,
    split_words,
)
from trainer.report.markdown import markdown_table
from trainer.report.summary import Figures
from trainer.scoring.metrics import show

SYSTEMS = {
    "S1": "U-Net++-inspired segmentation",
    "S2": "U-Net",
    "S3": "residual U-Net",
    "S4": "U-Net with pretrained encoder",
    "S5": "simple CNN",
    "S6": "ROI classifier",
    "S7": "ROI classifier, other backbones",
    "S8": "CLNet",
    "S9": "metadata fusion",
    "S10": "random and constant-negative",
}

NOT_GIVEN = "not known here"
PICTURES = "figures"
LESSONS = "LESSONS.md"
CAPTIONS = {
    "segmentation-cost.png": "Dice against operations, weights and time",
    "classification-cost.png": "AUC of melanoma against operations, weights and time",
    "segmentation-elsewhere.png": "Dice at home and in another clinic",
    "classification-elsewhere.png": "AUC of melanoma at home and in another clinic",
    "segmentation-published.png": "Dice beside published figures",
    "classification-published.png": "Accuracy over seven diagnoses beside published figures",
}
_PICTURED = (
    "Numbers stand for the names on the right, best first. The cost of `metadata-fusion` leaves out its part for age, "
    "sex and site."
)
NOTES = {"classification-cost.png": _PICTURED, "segmentation-cost.png": _PICTURED.partition(". ")[0] + "."}
"""What a reader must know beside the caption."""
PAPER_MASKS = {"unetplusplus": "Dice 0.921"}
_FIRST_PAPER = (
    "accuracy {accuracy:.3f}, sensitivity {sensitivity:.3f}, specificity {specificity:.3f}, F1 {f1:.3f} "
    "(80/20 by picture, leaking)"
).format(**PAPER)
PAPER_CLASSES = {"resnet50-binary": _FIRST_PAPER, "reference-classifier": _FIRST_PAPER}
_DECIDED = {"accuracy": "accuracy", "sensitivity": "sensitivity", "specificity": "specificity", "f1": "F1"}
PAPER_NOTE = (
    "The papers' figures are those that the project's plan quotes: the Dice of the first paper's segmenter, and the "
    "first paper's ROI classifier on its own split (80/20 by picture at a threshold of 0.5), which leaks. For the "
    "other systems the plan quotes none. It also quotes an accuracy of 0.824 over the seven diagnoses, without saying "
    "for which network."
)
ELSEWHERE = (
    "Metadata, the mask as an auxiliary target (CLNet), and the crops of ResNet50 have comparisons of their own below. "
    "Not tried: the whole picture beside the crop.\n"
)


def pages(folder: Path, out: Path) -> dict[Path, str]:
    """The report, what was spent, and each comparison's own table, by the file that holds it; as `to_markdown`."""
    own = {
        folder / name / "README.md": table_text(folder / name, table)
        for name, rows in _groups(folder).items()
        for table in TABLES
        if table == rows[0].table
    }
    hours = {folder.parent / HOURS: hours_page(folder)}
    return {out: to_markdown(folder), folder / LESSONS: lessons_page(folder), **hours, **own}


def lessons_page(folder: Path) -> str:
    """What the comparisons teach, with the pictures.

    Raises:
        DataError: a row or its predictions cannot be read.
    """
    rows = [row for found in _groups(folder).values() for row in found if row.pace and not row.leaks]
    title = "# The published systems, side by side\n"
    if not rows:
        return f"{title}\nNo row was fitted to a time yet.\n"
    sources = sorted({name for row in rows for name in row.external})
    away = f", and on pictures of {listed([place(name) for name in sources])}, that none learnt from" if sources else ""
    parts = [
        title,
        f"{trainings(rows)} of the field, on {rows[0].data} with schedules fitted to {fitted(rows)} and the same split "
        f"by lesion, judged on its `test`{away}. All rows: [RESULTS.md](../../RESULTS.md).\n",
        f"{how(rows)}\n",
        lessons(folder),
        *_pictures(folder, PICTURES),
    ]
    return "\n".join(parts).rstrip() + "\n"


def unknown_rows(folder: Path) -> list[str]:
    """Rows that no plan makes any more, such as "roi/resnet50-binary-zero"; those of S10 and the ablations aside.

    Args:
        folder: of the comparisons.

    Raises:
        DataError: there is no row, or one cannot be read.
    """
    tables: tuple[Table, ...] = tuple(table for table in TABLES if table != "ablations")
    known = {table: {plan.name for plan in plans(table)} for table in tables}
    return sorted(
        {
            f"{name}/{row.name}"
            for name, rows in _groups(folder).items()
            for row in rows
            if row.system != "S10" and row.table in tables and row.name not in known[row.table]
        }
    )


def to_markdown(folder: Path) -> str:
    """The page; every figure comes from a row's JSON file in one of the comparisons' folders.

    Raises:
        DataError: there is no row, or one cannot be read.
    """
    groups = _groups(folder)
    rows = [row for found in groups.values() for row in found if row.table != "ablations"]
    parts = [
        "# Results of the systems S1 to S10\n",
        "Made by `python -m trainer results` from the rows in [results/compare](results/compare), which "
        "`python -m trainer compare` writes. The shipped bundles are reported in their own model cards.\n",
        f"{how_chosen(rows)} Figures are on `test`. {INTERVALS}\n",
        PAPER_NOTE + "\n",
        *(f"{note}\n" for note in marks_note(rows)),
    ]
    leaking = [row for row in rows if row.leaks]
    if leaking:
        parts.append(
            "Rows marked **leaks**: " + LEAK.format(all=leaking[0].shared, melanoma=leaking[0].shared_melanoma) + "\n"
        )
    parts += ["## Asked and reached\n", asked_table(rows)]
    parts += ["## Segmentation: S1 to S4, S8, S10\n", _masks(_unique([row for row in rows if row.figures.clean]))]
    for positive in ("mel", "bkl"):
        these = [row for row in rows if row.figures.classification and row.positive == positive]
        if these:
            systems = "S5 to S10" if positive == "mel" else "S8, S10"
            parts += [f"## Classification, {TARGETS[positive]} against the rest: {systems}\n", _classes(_unique(these))]
    seven = [row for row in rows if row.figures.classification and row.figures.classification.classes]
    if seven:
        parts += ["## Seven diagnoses\n", _seven(_unique(seven))]
    parts += external_tables(_unique(rows))
    missing = [f"{name} ({SYSTEMS[name]})" for name in SYSTEMS if name not in {row.system for row in rows}]
    if missing:
        parts.append(f"Without any row yet: {', '.join(missing)}.\n")
    parts += ["## Budgets\n", _budgets(_unique(rows))]
    if again := again_table(folder):
        parts += [
            "## Rows made again\n",
            f"Trained a second time, into [{AGAIN}](results/{folder.name}/{AGAIN}).\n",
            again,
        ]
    drawn = [name for name in CAPTIONS if (folder / PICTURES / name).is_file()]
    if drawn:
        parts += ["## Pictures\n", f"What they teach: [LESSONS.md](results/{folder.name}/{LESSONS}).\n"]
        parts += _pictures(folder, f"results/{folder.name}/{PICTURES}")
        parts += ["## Published figures\n", published_table()]
    for name, found in groups.items():
        if found[0].table == "ablations":
            parts += [f"## {TITLES['ablations']}\n", f"{found[0].data}, {split_words(found)}.\n"]
            parts += [ablation_table(folder / name, found), ELSEWHERE]
    parts += ["## The comparisons in full\n"]
    for name, found in groups.items():
        title = next((TITLES[table] for table in TABLES if table == found[0].table), name)
        parts.append(f"- [{title}]({_link(folder, name)}): {split_words(found)}")
    return "\n".join(parts).rstrip() + "\n"


def _groups(folder: Path) -> dict[str, list[Row]]:
    """The rows of each comparison by its folder's name."""
    homes = sorted(home for home in folder.iterdir() if home.is_dir()) if folder.is_dir() else []
    groups = {home.name: rows for home in homes if (rows := read_rows(home))}
    if not groups:
        raise DataError(f"'{folder}' holds no comparison.", "Make one with `python -m trainer compare`.")
    return groups


def _pictures(folder: Path, link: str) -> list[str]:
    """The pictures that are there, each with what a reader must know beside its caption."""
    there = [name for name in CAPTIONS if (folder / PICTURES / name).is_file()]
    return [
        text
        for name in there
        for text in (f"![{CAPTIONS[name]}]({link}/{name})\n", *([f"{NOTES[name]}\n"] if name in NOTES else []))
    ]


def _link(folder: Path, name: str) -> str:
    return f"results/{folder.name}/{name}/README.md"


def _unique(rows: Sequence[Row]) -> list[Row]:
    """One row for each network and view, of two comparisons the one that was tested on more pictures, or the first."""
    kept: dict[tuple[object, ...], Row] = {}
    for row in sorted(rows, key=_order):
        key = row.name, row.view, row.split, row.roi_from
        if key not in kept or kept[key].figures.images < row.figures.images:
            kept[key] = row
    return list(kept.values())


def _order(row: Row) -> tuple[int, str, str, str]:
    return int(row.system.removeprefix("S")), row.name, row.view, row.split


def _masks(rows: Sequence[Row]) -> str:
    names = {"dice": "Dice", "jaccard": "Jaccard", "thresholded_jaccard": "thresholded Jaccard"}

    def figures(row: Row) -> list[str]:
        clean = row.figures.clean.per_picture if row.figures.clean else {}
        return [show(clean.get(name)) for name in names]

    return _table(rows, list(names.values()), figures, PAPER_MASKS)


def _classes(rows: Sequence[Row]) -> str:
    names = ("AUC", "sensitivity at 95 % specificity", "accuracy", "sensitivity", "specificity", "F1")

    def figures(row: Row) -> list[str]:
        found = row.figures.classification
        ranking: Figures = found.ranking if found else {}
        decided: Figures = (found.decisions.get(CHOSEN) or found.decisions[HALF]) if found else {}
        cells = [show(ranking.get(name)) for name in ("auc", "sensitivity_at_95_specificity")]
        return cells + [show(decided.get(name)) for name in ("accuracy", "sensitivity", "specificity", "f1")]

    note = (
        "Decisions are at the threshold that `val` chose by Youden's index; S10 decides at 0.5. The papers' figures "
        "are at 0.5, and beside them stands what the row gives there.\n\n"
    )
    return note + _table(rows, names, figures, PAPER_CLASSES)


def _seven(rows: Sequence[Row]) -> str:
    names = ("class_accuracy", "class_balanced_accuracy", "class_calibration_error")

    def figures(row: Row) -> list[str]:
        found = row.figures.classification
        return [show(found.classes.get(name) if found else None) for name in names]

    return _table(rows, ("accuracy", "balanced accuracy", "calibration error"), figures, {})


def _table(
    rows: Sequence[Row], columns: Sequence[str], figures: Callable[[Row], list[str]], paper: dict[str, str]
) -> str:
    lines = []
    for row in rows:
        cited = "-" if row.system == "S10" else paper.get(row.name, NOT_GIVEN)
        if row.name in paper and row.figures.classification:
            cited += _at_half(row.figures.classification)
        tested = str(row.figures.images)
        lines.append([row.system, name_of(row), row.what, marks_of(row), tested, *figures(row), cited])
    return markdown_table(["system", "row", "what it is", "mark", "test pictures", *columns, "paper"], lines)


def _at_half(found: Classification) -> str:
    """A row's decisions at the papers' threshold."""
    decided = found.decisions.get(HALF, {})
    parts = [f"{words} {decided[name].value:.3f}" for name, words in _DECIDED.items() if name in decided]
    return f"; here at {HALF}: {', '.join(parts)}"


def _budgets(rows: Sequence[Row]) -> str:
    trained = [row for row in rows if row.compute]
    lines = [
        [
            row.system,
            name_of(row),
            VIEWS[row.view],
            budget_words(row),
            row.initialisation,
            str(row.seed),
            row.split,
            str(row.figures.images),
            hardware_words(row),
        ]
        for row in trained
    ]
    head = ["system", "row", "sees", "trained with", "initial weights", "seed", "split", "test pictures", "hardware"]
    return markdown_table(head, lines)
