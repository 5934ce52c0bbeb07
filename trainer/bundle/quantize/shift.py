"""How far int8 moves a network's results and the decisions that are made from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.bundle.quantize.runs import Results


@dataclass(frozen=True)
class Shift:
    """How far results moved: per picture the largest |Δp| of a class, or the mean |Δp| of a map; then over pictures.

    `flipped` is the share of decisions that changed, over pictures and thresholds; 0 without thresholds.
    """

    mean: float
    worst: float
    flipped: float = 0.0


@dataclass(frozen=True)
class Decisions:
    """What is decided from probabilities: `column` at each of `thresholds`; `limit` is the largest share to change."""

    column: int
    thresholds: tuple[float, ...]
    limit: float


def measure_shift(expected: Results, actual: Results, decisions: Decisions | None = None) -> Shift:
    """Compares results of the same pictures; shapes (n, classes) or (n, h, w). See `Shift`."""
    difference = np.abs(expected.astype(np.float64) - actual)
    by_picture = difference.max(axis=1) if difference.ndim == 2 else difference.mean(axis=(1, 2))
    flipped = 0.0
    if decisions is not None:
        thresholds = np.array(decisions.thresholds)
        before, after = (result[:, decisions.column, None] >= thresholds for result in (expected, actual))
        flipped = float((before != after).mean())
    return Shift(float(by_picture.mean()), float(by_picture.max()), flipped)
