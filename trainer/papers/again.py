"""Rows that were made a second time from their commands: does the second figure lie inside the first one's interval?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge_infer.rules import Metric
from trainer.errors import DataError
from trainer.papers.measures import accuracy_of, auc_of, dice_of
from trainer.papers.rows import Row, read_row, read_rows
from trainer.papers.words import VIEWS, budget_words
from trainer.report.markdown import markdown_table
from trainer.scoring.metrics import show

AGAIN = "again"
"""Folder of the second rows beside the tables, with a folder for each table like theirs."""

_MEASURES = {"Dice": dice_of, "AUC": auc_of, "accuracy over seven diagnoses": accuracy_of}


def again_table(folder: Path) -> str:
    """Each figure of a row that was made again beside the first; "" where none was.

    Args:
        folder: of the comparisons.

    Raises:
        DataError: a row cannot be read, or was made again and does not stand in its table.
    """
    lines, budgets = [], {}
    for home in sorted(path for path in (folder / AGAIN).glob("*") if path.is_dir()):
        for second in [row for row in read_rows(home) if row.compute is not None]:
            first = _first(folder / home.name, second)
            budgets[second.name] = f"`{second.name}`: {_made(first)}; again {_made(second)}"
            for words, old, new in _figures(first, second):
                lines.append([second.name, VIEWS[second.view], words, show(old), show(new), _verdict(old, new)])
    if not lines:
        return ""
    table = markdown_table(["row", "sees", "measure", "in the table", "made again", "against the interval"], lines)
    return table + "\n" + "\n".join(f"- {words}" for words in budgets.values()) + "\n"


def _made(row: Row) -> str:
    return f"seed {row.seed}, {budget_words(row)}"


def _verdict(old: Metric, new: Metric) -> str:
    if old.low is None or old.high is None:
        return "no interval"
    return "inside" if old.low <= new.value <= old.high else "**outside**"


def _first(home: Path, second: Row) -> Row:
    for path in sorted(home.glob(f"{second.name}*.json")):
        row = read_row(path)
        if (row.name, row.view, row.pace) == (second.name, second.view, second.pace):
            return row
    raise DataError(
        f"'{second.name}' ({VIEWS[second.view]}) was made again and does not stand in '{home}'.",
        "Make the row itself, or take the second one away.",
    )


def _figures(first: Row, second: Row) -> Iterator[tuple[str, Metric, Metric]]:
    places = [(first.data, first.figures, second.figures)]
    places += [(name, own, second.external[name]) for name, own in first.external.items() if name in second.external]
    for place, old, new in places:
        for words, pick in _MEASURES.items():
            before, after = pick(old), pick(new)
            if before is not None and after is not None:
                yield f"{words}, {place}", before, after
