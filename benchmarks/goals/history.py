"""What every run of the goals measured, one line a goal, so that a release can be compared with the last."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import edge_infer
from benchmarks.goals.record import Goal, Goals
from edge_infer.benchmark.results import ResultsError
from edge_infer.files import write_atomically

COLUMNS = ("created", "version", "machine", "bundle", "goal", "relation", "limit", "value", "low", "high", "met")


def add_to_history(path: Path, goals: Goals) -> None:
    """Appends a run's goals to a CSV file, which is made where there is none; goals without a figure are left empty.

    Raises:
        ResultsError: the file has other columns, or cannot be read.
        OutputError: it cannot be written.
    """
    rows = _read(path)
    for item in goals.goals:
        found = item.measured
        figures = ("", "", "") if found is None else (f"{v:.6g}" for v in (found.value, found.low, found.high))
        met = {True: "yes", False: "no", None: ""}[item.met]
        head = (goals.created, edge_infer.__version__, goals.machine, goals.bundle)
        rows.append(
            dict(zip(COLUMNS, (*head, item.name, item.relation, f"{item.limit:g}", *figures, met), strict=True))
        )
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def against_last(path: Path, goals: Goals) -> list[str]:
    """A line for each goal that an earlier run on the same machine measured too: then, now, and the change."""
    earlier: dict[str, dict[str, str]] = {}
    for row in _read(path):
        if row["machine"] == goals.machine and row["created"] < goals.created and row["value"]:
            earlier[row["goal"]] = row
    return [line for item in goals.goals for line in _change(item, earlier.get(item.name))]


def _change(item: Goal, before: dict[str, str] | None) -> Sequence[str]:
    if before is None or item.measured is None or not float(before["value"]):
        return ()
    then, now = float(before["value"]), item.measured.value
    return (
        f"{item.name}: {then:.3g} in {before['version']} ({before['created'][:10]}), now {now:.3g}, {now / then:.2f}x",
    )


def _read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ResultsError(f"'{path}' is no history of goals.", "Give another file.")
            return list(reader)
    except (OSError, UnicodeDecodeError) as error:
        raise ResultsError(f"'{path}' cannot be read: {error}.", "Give another file.") from error
