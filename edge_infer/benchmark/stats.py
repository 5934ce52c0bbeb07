"""Percentiles and ratios with 95 % intervals. Samples are never trimmed, clipped or averaged away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Z95 = 1.959964
_RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % confidence interval."""

    value: float
    low: float
    high: float


def interval_of(samples: Sequence[float], quantile: float) -> Interval | None:
    """A quantile with its distribution-free interval from order statistics.

    Args:
        samples: at least one value.
        quantile: 0..1, exclusive.

    Returns:
        None where the samples are too few for the interval's ends to be samples themselves: the median needs 8, p90 53
        and p99 563 (normal approximation of the binomial distribution of ranks).
    """
    n = len(samples)
    spread = _Z95 * math.sqrt(n * quantile * (1 - quantile))
    low, high = math.floor(n * quantile - spread), math.ceil(n * quantile + spread)
    if low < 1 or high > n - 1:
        return None
    ordered = np.sort(np.asarray(samples, np.float64))
    return Interval(float(np.quantile(ordered, quantile)), float(ordered[low - 1]), float(ordered[high]))


def ratio_of_medians(
    slow: Sequence[float], slow_rounds: Sequence[int], fast: Sequence[float], fast_rounds: Sequence[int], seed: int = 0
) -> Interval | None:
    """median(slow) / median(fast) with a bootstrap interval that draws whole rotations, the same ones for both.

    Samples of one rotation share the machine's mood, so they are no independent draws; rotations nearly are.

    Returns:
        None where fewer than four rotations have samples of both, or where a median is 0 (a clock too coarse).
    """
    both = sorted(set(slow_rounds) & set(fast_rounds))
    if len(both) < 4 or not np.median(slow) > 0 or not np.median(fast) > 0:
        return None
    groups = [(_of_round(slow, slow_rounds, number), _of_round(fast, fast_rounds, number)) for number in both]
    drawn = np.random.default_rng(seed).integers(0, len(both), (_RESAMPLES, len(both)))
    ratios = [_median_ratio([groups[index] for index in row]) for row in drawn]
    low, high = np.quantile(ratios, (0.025, 0.975))
    return Interval(_median_ratio(groups), float(low), float(high))


def ratio_of_rates(slow: Sequence[float], fast: Sequence[float], seed: int = 0) -> Interval | None:
    """sum(fast) / sum(slow) of rates from the same rotations, in order, with a bootstrap interval over rotations."""
    if len(slow) != len(fast) or len(slow) < 4:
        return None
    a, b = np.asarray(slow, np.float64), np.asarray(fast, np.float64)
    drawn = np.random.default_rng(seed).integers(0, len(a), (_RESAMPLES, len(a)))
    low, high = np.quantile(b[drawn].sum(1) / a[drawn].sum(1), (0.025, 0.975))
    return Interval(float(b.sum() / a.sum()), float(low), float(high))


def _of_round(samples: Sequence[float], rounds: Sequence[int], number: int) -> NDArray[np.float64]:
    return np.asarray([value for value, place in zip(samples, rounds, strict=True) if place == number], np.float64)


def _median_ratio(groups: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> float:
    slow = np.median(np.concatenate([pair[0] for pair in groups]))
    fast = np.median(np.concatenate([pair[1] for pair in groups]))
    return float(slow / fast)
