"""HOURS.md: the core-hours behind the stored figures, added up from the rows that state them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.papers.again import AGAIN
from trainer.papers.plans import TABLES, TITLES
from trainer.papers.rows import read_rows
from trainer.papers.sources.rows import read_arms
from trainer.report.markdown import markdown_table

PAGE = "HOURS.md"
_FOLD = re.compile(r"^\| .+, fold \d+ \|.*\| (\d+) \|$", re.MULTILINE)
"""A row of the teachers' page; its last cell is in minutes of one thread."""


@dataclass(frozen=True)
class Spent:
    """Trainings of one kind: what they were for, how many there are, and their hours of one core."""

    what: str
    trainings: int
    hours: float


def hours_page(comparisons: Path) -> str:
    """The page, from all rows.

    Args:
        comparisons: folder of the comparisons; `choices`, `left-out` and `teachers` may lie beside it.

    Raises:
        DataError: a row cannot be read.
    """
    found = list(spent(comparisons))
    lines = [[item.what, str(item.trainings), f"{item.hours:.1f}"] for item in found]
    total = ["**all of these**", str(sum(item.trainings for item in found)), f"{sum(item.hours for item in found):.1f}"]
    return (
        "# Core-hours of training\n\n"
        "Made by `python -m trainer results` from the rows in this folder: processor time of all epochs, or wall time "
        "by threads where a row does not state it, which other work on the machine may have drawn out. The trainings "
        "of the shipped bundles are not among them; their cards state their hours, where they were kept. What a "
        "comparison has left to do: `python -m trainer compare all --status`.\n\n"
        + markdown_table(["for", "trainings", "core-hours"], [*lines, total])
    )


def spent(comparisons: Path) -> Iterator[Spent]:
    """What was spent on what; kinds without a training are left out. Arguments and errors as `hours_page`."""
    results = comparisons.parent
    seen: set[tuple[object, ...]] = set()
    for home in [*_folders(comparisons), *_folders(comparisons / AGAIN)]:
        minutes = []
        for row in read_rows(home):
            # Two views of a classifier, and a network that stands in two tables, are one training.
            training = row.name, row.seed, str(row.curve) if row.curve else home
            if row.compute and training not in seen:
                seen.add(training)
                minutes.append(row.compute.minutes_of_one_core)
        yield from _one(_title(home), minutes)
    for home in _folders(results / "choices"):
        arms = [row.train_minutes * row.threads for row in read_arms(home)]
        yield from _one(f"one thing changed: {home.name}", arms)
    left_out = [row.train_minutes * row.threads for row in read_arms(results / "left-out")]
    yield from _one("a source left out of everything", left_out)
    page = results / "teachers" / "README.md"
    teachers = [float(minutes) for minutes in _FOLD.findall(page.read_text(encoding="utf-8"))] if page.is_file() else []
    yield from _one("teachers", teachers)


def _folders(home: Path) -> list[Path]:
    return sorted(path for path in home.glob("*") if path.is_dir() and path.name != AGAIN)


def _title(home: Path) -> str:
    table = next((name for name in TABLES if home.name == name or home.name.startswith(f"{name}-")), None)
    if table is None:
        return home.name
    split = home.name.removeprefix(table).removeprefix("-")
    parts = [TITLES[table], f"split {split}" if split else "", "made again" if home.parent.name == AGAIN else ""]
    return ", ".join(part for part in parts if part)


def _one(what: str, minutes: list[float]) -> Iterator[Spent]:
    if minutes:
        yield Spent(what, len(minutes), sum(minutes) / 60)
