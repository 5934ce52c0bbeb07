"""Rows that were fitted to a time, with their predictions, and pairs of them that differ in one thing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_infer.rules import Metric
from trainer.papers.against_base import signed
from trainer.papers.measures import figures_by_name, mean_difference
from trainer.papers.plans import Table
from trainer.papers.rows import Row, View, external_file, read_rows, stem_of
from trainer.papers.schedules import many, minutes
from trainer.papers.wording import listed
from trainer.papers.words import precision_of
from trainer.report.markdown import markdown_table
from trainer.scoring.metrics import Weights, lesion_weights, show, with_interval
from trainer.scoring.predictions import Prediction, read_predictions

Sides = tuple[list[Prediction], list[Prediction]]


@dataclass(frozen=True)
class Pair:
    """Two rows of one time that differ in one thing, with what they answered: `first` has it, `second` has not."""

    first: Row
    second: Row
    answers: Sides

    def difference(self, name: str, positive: str) -> Metric | None:
        """Paired, first minus second, on `test` of the source that both learnt from."""
        return mean_difference([self.answers], name, positive)

    @property
    def epochs(self) -> tuple[int, int]:
        """Of each side."""
        return _epochs(self.first), _epochs(self.second)

    @property
    def pixels(self) -> tuple[int, int]:
        """Side of each one's input."""
        return _pixels(self.first), _pixels(self.second)

    @property
    def precisions(self) -> tuple[str, str]:
        """Numbers that each was trained in."""
        return precision_of(self.first), precision_of(self.second)

    @property
    def even(self) -> bool:
        """Whether both had the same epochs at the same size, in the same precision."""
        return all(one == other for one, other in (self.epochs, self.pixels, self.precisions))


class Rows:
    """The rows of all comparisons that were fitted to a time, by table, name and view.

    Args:
        folder: of the comparisons.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: dict[tuple[Table, str, View], Row] = {}
        self._read: dict[Path, list[Prediction]] = {}
        for home in sorted(path for path in folder.iterdir() if path.is_dir()):
            for row in read_rows(home):
                if row.pace and not row.leaks:
                    self.known[row.table, row.name, row.view] = row  # type: ignore[index]

    def pair(self, table: Table, first: tuple[str, View], second: tuple[str, View]) -> Pair | None:
        """Two rows of one table; None where one is missing, or they were fitted to different times."""
        one, other = self.known.get((table, *first)), self.known.get((table, *second))
        if one is None or other is None or one.pace != other.pace:
            return None
        return Pair(one, other, (self.answers(one), self.answers(other)))

    def answers(self, row: Row) -> list[Prediction]:
        """What a row answered on `test` of the source that it learnt from."""
        return self._predictions(self.folder / row.table / row.predictions)

    def elsewhere(self, row: Row, source: str) -> list[Prediction] | None:
        """What a row answered on another source; None where it has no figures there."""
        if source not in row.external:
            return None
        return self._predictions(self.folder / row.table / external_file(stem_of(row.name, row.view), source))

    def pairs_elsewhere(self, pairs: Sequence[Pair], source: str) -> list[Sides]:
        """What those pairs answered on another source of which both sides have figures there."""
        found = [(self.elsewhere(pair.first, source), self.elsewhere(pair.second, source)) for pair in pairs]
        return [(first, second) for first, second in found if first is not None and second is not None]

    def _predictions(self, path: Path) -> list[Prediction]:
        if path not in self._read:
            self._read[path] = read_predictions(path)
        return self._read[path]


@dataclass(frozen=True)
class Values:
    """A figure of one row's answers, with its measure over the bootstrap's weights."""

    metric: Metric | None
    measure: Callable[[Weights], np.ndarray]
    answered: list[Prediction]


def values_of(found: Sequence[Prediction], figure: str, positive: str) -> Values:
    """A figure over the answered pictures; of the masks where `positive` is empty."""
    answered = [p for p in found if p.probabilities] if positive else list(found)
    measure = figures_by_name(answered, positive)[figure]
    return Values(with_interval(measure, lesion_weights([p.lesion_id for p in answered])), measure, answered)


def pair_table(pairs: Sequence[Pair], figure: str, positive: str, words: str, first: str, second: str) -> str:
    """A line a pair: epochs and minutes of both sides, the figure of each, and the paired difference."""
    lines = []
    for pair in pairs:
        sides = [show(values_of(side, figure, positive).metric) for side in pair.answers]
        difference = signed(pair.difference(figure, positive))
        lines.append([pair.first.name, schedule_cell(pair), minutes_cell(pair), *sides, difference])
    head = ["row", "epochs", "minutes", f"{words}, {first}", f"{words}, {second}", "difference"]
    return markdown_table(head, lines)


def schedule_cell(pair: Pair) -> str:
    """Epochs of both sides, and pixels where they differ; says so where the sides are not even."""
    epochs = _either(*pair.epochs)
    if pair.even:
        return epochs
    sizes = "" if pair.pixels[0] == pair.pixels[1] else f" at {_either(*pair.pixels)} px"
    numbers = "" if pair.precisions[0] == pair.precisions[1] else f" in {_either(*pair.precisions)}"
    return f"{epochs}{sizes}{numbers}, uneven"


def minutes_cell(pair: Pair) -> str:
    """What both trainings took."""
    return _either(*(f"{minutes(row):.0f}" for row in (pair.first, pair.second)))


def uneven(pairs: Sequence[Pair]) -> list[str]:
    """A sentence that says by how much the pairs' schedules differ; none where they do not."""
    apart = [pair for pair in pairs if not pair.even]
    if not apart:
        return []
    if len(pairs) == 1:
        (a, b), (c, d), (e, f) = pairs[0].epochs, pairs[0].pixels, pairs[0].precisions
        parts = [f"{a} against {many(b, 'epoch')}"] if a != b else []
        parts += [f"{c} against {d} pixels"] if c != d else []
        parts += [f"{e} against {f}"] if e != f else []
        return [f"The schedules differ: {', '.join(parts)}."]
    epochs = max(abs(a - b) for a, b in (pair.epochs for pair in apart))
    pixels = max(abs(a - b) for a, b in (pair.pixels for pair in apart))
    by = [f"by up to {many(count, what)}" for count, what in ((epochs, "epoch"), (pixels, "pixel")) if count]
    by += ["in precision"] if any(a != b for a, b in (pair.precisions for pair in apart)) else []
    return [f"Schedules differ in {len(apart)} of the {len(pairs)} pairs, {listed(by)}."]


def _either(first: object, second: object) -> str:
    return str(first) if first == second else f"{first} / {second}"


def _epochs(row: Row) -> int:
    return row.compute.epochs if row.compute else 0


def _pixels(row: Row) -> int:
    return row.compute.size if row.compute else 0
