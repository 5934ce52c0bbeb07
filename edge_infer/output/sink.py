"""Where results go: one small protocol for everything that takes them, and a way to open several sinks together.

A `Sink` is opened once, given every result in order, and closed once. Whoever writes a new one (a database, another
file format) implements these three methods and nothing else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import PurePath
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_infer.bundle.manifest import Manifest
from edge_infer.bundle.store import Bundle
from edge_infer.diagnosis import Diagnosis
from edge_infer.rules import OperatingPoint

SAVED_KINDS = ("overlay", "mask", "roi")
"""What can be saved per picture; each has its column in every format, null or empty where nothing was written."""


@dataclass(frozen=True)
class Run:
    """What holds for all results of one run.

    Attributes:
        bundle: that answers.
        operating_point: that decides.
        count: how many results will come if nothing fails.
        prior: share of melanoma that the probabilities assume, see `edge_infer.Diagnosis`.
        measurements: whether the lesions are measured.
    """

    bundle: Bundle
    operating_point: OperatingPoint
    count: int
    prior: float | None = None
    measurements: bool = False

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self.bundle.manifest


@dataclass
class Result:
    """One picture's answer on its way through the sinks.

    Attributes:
        diagnosis: the answer, or the error.
        place: path below any folder of results, without suffix; no two results of a run share one.
        read_pixels: reads the picture again: RGB uint8, shape (h, w, 3), at `diagnosis.image_size`.
        saved: files written for this picture by kind (see `SAVED_KINDS`). A sink that saves adds its own here, and so
            stands before those that tell of it.
    """

    diagnosis: Diagnosis
    place: PurePath
    read_pixels: Callable[[], NDArray[np.uint8]]
    saved: dict[str, str] = field(default_factory=dict)

    @cached_property
    def pixels(self) -> NDArray[np.uint8] | None:
        """The whole picture, read when first asked for; None where it could not be used."""
        return None if self.diagnosis.status == "error" else self.read_pixels()


class Sink(Protocol):
    """Takes results; each method may raise `OutputError` where it cannot write, and then leaves no half file."""

    def open(self, run: Run) -> None:
        """Called once, before all results. One that raises is not closed."""

    def add(self, result: Result) -> None:
        """Called with every result, in the order of the pictures."""

    def close(self, complete: bool) -> None:
        """Called once, whatever happened. Without `complete` results are missing: nothing may look whole then."""


@contextlib.contextmanager
def opened(sinks: Sequence[Sink], run: Run) -> Iterator[Callable[[Result], None]]:
    """Opens sinks in order, gives a function that adds a result to all of them in order, and closes the last one first.

    Every sink that was opened is closed, also where another one fails; from the first failure on, `complete` is False.
    """
    with contextlib.ExitStack() as stack:
        for sink in sinks:
            sink.open(run)
            stack.push(partial(_close, sink))

        def add(result: Result) -> None:
            for sink in sinks:
                sink.add(result)

        yield add


def _close(
    sink: Sink, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> None:
    sink.close(kind is None)
