"""How well ABCD numbers are measured: on drawn lesions with known truth, and on real pictures with outlined lesions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_infer import Diagnoser
from edge_infer.measurements.measure import KINDS, Measured, Measurements, measure_mask
from edge_infer.steps.resize import resize
from trainer.data.drawn.truths import truths
from trainer.data.ham10000 import Record, read_image, read_mask

SHOWN = tuple(kind for kind in KINDS if not kind.name.endswith(("_mm", "_mm2")))


@dataclass(frozen=True)
class Agreement:
    """One number on many pictures: from the network's outline against the one that a person drew.

    Attributes:
        name: of the number.
        pictures: that have it on both outlines.
        truth: median on the person's outline.
        deviation: median absolute difference.
        percentile: 90th percentile of the same.
        rank_correlation: Spearman's.
        inside: share of pictures whose true number lies between low and high.
        width: median of high less low.
    """

    name: str
    pictures: int
    truth: float
    deviation: float
    percentile: float
    rank_correlation: float
    inside: float
    width: float


def drawn_table() -> str:
    """Truth and measurement of every drawn lesion, as Markdown."""
    lines = ["| drawn lesion | number | truth | measured |", "| --- | --- | --- | --- |"]
    for drawn in truths():
        found = measure_mask(drawn.image, drawn.mask)
        assert found is not None
        for name, truth in drawn.values.items():
            measured = found.values.get(name)
            digits = 0 if name.endswith("_px") or name == "colour_count" else 3
            value = "none" if measured is None else f"{measured.value:.{digits}f}"
            lines.append(f"| {drawn.name} | `{name}` | {truth:.{digits}f} | {value} |")
    return "\n".join(lines) + "\n"


def measured_twice(
    records: Sequence[Record], diagnoser: Diagnoser, done: Callable[[], object] = lambda: None
) -> Iterator[tuple[Measurements, Measurements]]:
    """Each answered picture's numbers from the person's outline and from the network's."""
    for record in records:
        picture, mask = read_image(record.image_path), read_mask(record.mask_path)
        answer = diagnoser.diagnose(picture)
        truth = measure_mask(picture, _fitted(mask, picture))
        done()
        if answer.measurements is not None and truth is not None:
            yield truth, answer.measurements


def agreements(pairs: Sequence[tuple[Measurements, Measurements]]) -> list[Agreement]:
    """How each number agrees over all pictures."""
    found = []
    for kind in SHOWN:
        both = [
            (a.values[kind.name], b.values[kind.name])
            for a, b in pairs
            if kind.name in a.values and kind.name in b.values
        ]
        if len(both) > 1:
            found.append(_agreement(kind.name, both))
    return found


def agreement_table(rows: Sequence[Agreement]) -> str:
    """The same as Markdown."""
    lines = [
        "| number | pictures | median on the person's outline | median difference | 90 % within | rank correlation "
        "| true value in the range | median width of the range |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        digits = 0 if row.name.endswith("_px") else 2
        truth, deviation, percentile, width = (
            f"{value:.{digits}f}" for value in (row.truth, row.deviation, row.percentile, row.width)
        )
        lines.append(
            f"| `{row.name}` | {row.pictures} | {truth} | {deviation} | {percentile} | {row.rank_correlation:.2f} "
            f"| {100 * row.inside:.0f} % | {width} |"
        )
    return "\n".join(lines) + "\n"


def _agreement(name: str, both: Sequence[tuple[Measured, Measured]]) -> Agreement:
    truth, value = (np.array([pair[side].value for pair in both]) for side in (0, 1))
    ranged = [(a.value, b.low, b.high) for a, b in both if b.low is not None and b.high is not None]
    differences = np.abs(value - truth)
    return Agreement(
        name=name,
        pictures=len(both),
        truth=float(np.median(truth)),
        deviation=float(np.median(differences)),
        percentile=float(np.percentile(differences, 90)),
        rank_correlation=_spearman(truth, value),
        inside=float(np.mean([low - 1e-9 <= true <= high + 1e-9 for true, low, high in ranged])) if ranged else 0.0,
        width=float(np.median([high - low for _, low, high in ranged])) if ranged else 0.0,
    )


def _spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Correlation of ranks; equal values share the mean of theirs."""
    ranks = [(np.searchsorted(np.sort(x), x, "left") + np.searchsorted(np.sort(x), x, "right")) / 2 for x in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1]).flat[1])


def _fitted(mask: NDArray[np.uint8], picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mask 0/1 at the picture's size."""
    full = resize((mask > 0).astype(np.uint8) * np.uint8(255), *picture.shape[:2])
    return (full >= 128).astype(np.uint8)
