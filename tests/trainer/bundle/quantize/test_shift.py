"""The shift that is reported: the worst class, the mean of a map, decisions that changed."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.bundle.quantize import Decisions, measure_shift


def test_shift_is_the_worst_class_or_the_mean_of_a_map() -> None:
    a = np.array([[0.5, 0.5], [0.9, 0.1]], np.float32)
    b = np.array([[0.4, 0.6], [0.6, 0.4]], np.float32)
    shift = measure_shift(a, b)
    assert (shift.mean, shift.worst) == pytest.approx((0.2, 0.3))
    assert shift.flipped == 0
    decided = measure_shift(a, b, Decisions(1, (0.05, 0.3), 0.01))
    assert decided.flipped == pytest.approx(1 / 4)
    maps = measure_shift(np.zeros((2, 2, 2), np.float32), np.array([[[1, 0], [0, 0]], [[0, 0], [0, 0]]], np.float32))
    assert (maps.mean, maps.worst) == pytest.approx((0.125, 0.25))
