"""Whole answers of the Node service beside this runtime's, on the same files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ports.node_service import ask, serving
from edge_infer.diagnoser import Diagnoser
from edge_infer.errors import ImageError
from edge_infer.steps.image import open_picture

TOLERANCE = 0.01
"""How far a probability may lie from this runtime's: what the conformance vectors allow a whole diagnosis."""


@dataclass(frozen=True)
class Pair:
    """One picture's answers: status, reason and label of both, and how far their probabilities lie apart."""

    picture: str
    here: tuple[str | None, ...]
    there: tuple[str | None, ...]
    moved: float | None
    same_boxes: bool

    @property
    def same(self) -> bool:
        """Whether both say the same, with probabilities within the tolerance."""
        return self.here == self.there and (self.moved is None or self.moved <= TOLERANCE)


@dataclass(frozen=True)
class Compared:
    """All pictures with one bundle."""

    bundle: str
    bundle_sha256: str
    pairs: tuple[Pair, ...]

    def row(self) -> str:
        """Its line in the table."""
        moved = np.array([pair.moved for pair in self.pairs if pair.moved is not None])
        boxes = sum(pair.same_boxes for pair in self.pairs)
        unlike = sum(pair.here != pair.there for pair in self.pairs)
        far = int((moved > TOLERANCE).sum())
        largest, mean = (moved.max(), moved.mean()) if moved.size else (0.0, 0.0)
        return (
            f"| `{self.bundle}` {self.bundle_sha256[:12]} | {len(self.pairs)} | {len(moved)} | {unlike} | {far} "
            f"| {largest:.2g} | {mean:.2g} | {boxes} |"
        )


HEAD = (
    "| bundle | pictures | with a probability | other status, reason or decision | probability off by more than "
    f"{TOLERANCE:g} | largest | mean | both boxes equal |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)


def compare_answers(bundle: Path, pictures: Sequence[Path], progress: Callable[[str], None]) -> Compared:
    """Asks both for every picture. Large JPEGs are decoded in full here, as sharp does.

    Raises:
        NodeServiceError: the service does not start.
    """
    with Diagnoser.load(bundle, providers=["cpu"], threads=1) as diagnoser, serving(bundle) as address:
        pairs = []
        for number, picture in enumerate(pictures, 1):
            pairs.append(_pair(diagnoser, address, picture))
            if number % 20 == 0:
                progress(f"{bundle.name}: {number} of {len(pictures)}")
        return Compared(diagnoser.manifest.name, diagnoser.bundle.sha256, tuple(pairs))


def _pair(diagnoser: Diagnoser, address: str, picture: Path) -> Pair:
    _, there = ask(address, picture.read_bytes())
    try:
        here = diagnoser.diagnose(open_picture(picture).pixels).to_dict()
    except ImageError as error:
        here = {"error": error.to_dict()}
    first, second = here.get("melanoma_probability"), there.get("melanoma_probability")
    moved = None if first is None or second is None else abs(first - second)
    boxes = all(here.get(name) == there.get(name) for name in ("lesion_box", "roi_box"))
    return Pair(picture.name, _said(here), _said(there), moved, boxes)


def _said(answer: dict[str, Any]) -> tuple[str | None, ...]:
    if answer.get("error"):
        return ("error", answer["error"]["code"], None)
    return (answer["status"], answer["reason"], answer["label"])


def table(compared: Iterable[Compared]) -> str:
    """Markdown, with every picture that was answered otherwise named below it."""
    lines = [HEAD]
    notes = []
    for each in compared:
        lines.append(each.row())
        notes += [
            f"- `{each.bundle}`, {pair.picture}: here {pair.here}, in Node {pair.there}, moved {pair.moved}"
            for pair in each.pairs
            if not pair.same
        ]
    return "\n".join(lines) + ("\n\n" + "\n".join(notes) if notes else "")
