"""Marks of the rows in RESULTS.md: a trial, or the time that its schedule was fitted to; and what each mark means."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.papers.rows import Row
from trainer.papers.schedules import fitted, many, span, took

TRIAL = "trial"
_LEAKS = "**leaks**"


def mark_of(row: Row) -> str:
    """`trial` where no schedule was fitted and the recipe asks for more, else the fitted time's name, if any."""
    if row.pace:
        return row.pace
    return TRIAL if row.compute and row.compute.low_budget else ""


def marks_of(row: Row) -> str:
    """All marks of a row as a table's cell."""
    mark = mark_of(row)
    return ", ".join([*([f"`{mark}`"] if mark else []), *([_LEAKS] if row.leaks else [])]) or "-"


def marks_note(rows: Sequence[Row]) -> list[str]:
    """One paragraph a mark that these rows bear, trials first."""
    marks = sorted({mark_of(row) for row in rows} - {""}, key=lambda mark: (mark != TRIAL, mark))
    return [_note(mark, [row for row in rows if mark_of(row) == mark]) for mark in marks]


def _note(mark: str, rows: Sequence[Row]) -> str:
    costs = [row.compute for row in rows if row.compute]
    pictures = f"{span(cost.train_images for cost in costs)} pictures"
    tested = f"tested on {span(row.figures.images for row in rows)} pictures"
    how = f"{span(cost.epochs for cost in costs)} epochs at {span(cost.size for cost in costs)} pixels"
    trained = {(row.name, row.split): row for row in rows}
    if mark == TRIAL:
        return (
            f"Rows marked `{mark}` ({many(len(trained), 'training')}) had no schedule that was fitted to a time: "
            f"{pictures}, {how}, {took(rows)}, {tested}. They show that the system trains and what it gives for that; "
            "they say nothing about which system is better, and are to be read neither against the other rows nor "
            "against the papers' figures."
        )
    cut = len({row.name for row in rows if row.compute and row.compute.low_budget})
    short = "All" if cut == len(trained) else str(cut)
    return (
        f"Rows marked `{mark}` ({many(len(trained), 'training')}) had a schedule fitted to {fitted(rows)}: {pictures}, "
        f"{how}, {took(rows)}, {tested}. {short} of them had fewer pictures, fewer epochs or a smaller input "
        "than their recipes ask for: they show what a system gives for that time, not what it can give, and are not "
        "to be read against the papers' figures."
    )
