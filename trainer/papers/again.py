"""Rows that were made a second time from their commands: does the second figure lie inside the first one's interval?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge_infer.rules import Metric
from trainer.papers.against_base import signed
from trainer.papers.measures import Figured, accuracy_of, auc_of, dice_of, mean_difference
from trainer.papers.rows import Row, external_file, read_row, read_rows, stem_of
from trainer.papers.words import VIEWS, budget_words
from trainer.report.markdown import markdown_table
from trainer.scoring.metrics import show
from trainer.scoring.predictions import Prediction, read_predictions

AGAIN = "again"
"""Folder of the second rows beside the tables, with a folder for each table like theirs."""

_MEASURES = {
    "Dice": (dice_of, "dice"),
    "AUC": (auc_of, "auc"),
    "accuracy over seven diagnoses": (accuracy_of, "class_accuracy"),
}


def again_table(folder: Path) -> str:
    """Each figure of a row that was made again beside the first; "" where none was.

    Args:
        folder: of the comparisons.

    Raises:
        DataError: a row cannot be read.
    """
    lines: list[list[str]] = []
    budgets: dict[str, str] = {}
    for home in sorted(path for path in (folder / AGAIN).glob("*") if path.is_dir()):
        for second in [row for row in read_rows(home) if row.compute is not None]:
            first = _first(folder / home.name, second)
            if first is None:
                budgets[second.name] = f"`{second.name}`: the row itself was made anew since then, or is gone"
                continue
            budgets[second.name] = f"`{second.name}`: {_made(first)}; again {_made(second)}"
            for place, one in _places(first, second):
                differ = _predictions(folder / home.name, first, place), _predictions(home, second, place)
                for measure, (pick, name) in _MEASURES.items():
                    old, new = pick(one[0]), pick(one[1])
                    if old is None or new is None:
                        continue
                    difference = mean_difference([(differ[1], differ[0])], name, second.positive)
                    words = f"{measure}, {place or second.data}"
                    cells = [show(old), show(new), _verdict(old, new), signed(difference)]
                    lines.append([second.name, VIEWS[second.view], words, *cells])
    if not budgets:
        return ""
    head = ["row", "sees", "measure", "in the table", "made again", "against the interval", "difference, paired"]
    table = markdown_table(head, lines) if lines else ""
    return table + "\n" + "\n".join(f"- {words}" for words in budgets.values()) + "\n"


def _made(row: Row) -> str:
    return f"seed {row.seed}, {budget_words(row)}"


def _verdict(old: Metric, new: Metric) -> str:
    if old.low is None or old.high is None:
        return "no interval"
    return "inside" if old.low <= new.value <= old.high else "**outside**"


def _first(home: Path, second: Row) -> Row | None:
    for path in sorted(home.glob(f"{second.name}*.json")):
        row = read_row(path)
        if (row.name, row.view, row.pace) == (second.name, second.view, second.pace):
            return row
    return None


def _places(first: Row, second: Row) -> Iterator[tuple[str, tuple[Figured, Figured]]]:
    """Where both were judged: "" at home, then other sources."""
    yield "", (first.figures, second.figures)
    for name in sorted(first.external.keys() & second.external.keys()):
        yield name, (first.external[name], second.external[name])


def _predictions(home: Path, row: Row, source: str) -> list[Prediction]:
    return read_predictions(home / (external_file(stem_of(row.name, row.view), source) if source else row.predictions))
