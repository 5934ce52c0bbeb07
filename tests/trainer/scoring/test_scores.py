"""Probabilities and labels as arrays."""

from __future__ import annotations

import pytest

from tests.support.prediction_rows import row
from trainer.errors import DataError
from trainer.scoring.scores import scores_of


def test_scores_map_classes_and_leave_out_pictures_without_a_crop() -> None:
    rows = [row("mel", {"other": 0.2, "mel": 0.8}), row("nv", {"other": 0.9, "mel": 0.1}), row("nv", {})]
    scores = scores_of(rows, ("other", "mel"))
    assert scores.truth.tolist() == [1, 0]
    assert scores.score.tolist() == [0.8, 0.1]
    with pytest.raises(DataError):
        scores_of(rows[2:], ("other", "mel"))
    with pytest.raises(DataError):
        scores_of(rows, ("nv", "mel"))
