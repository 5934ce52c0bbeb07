"""Networks scored by themselves, and several as one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trainer.errors import DataError
from trainer.scoring.alone import Scores, together


def test_together_they_say_what_the_mean_of_their_logits_says() -> None:
    logits = np.array([[[2.0, 0.0, -1.0]], [[0.0, 1.0, 3.0]]])
    shares = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    one, two = (Scores((), ("a", "b", "c"), rows, None) for rows in shares)
    mean = np.exp(logits.mean(axis=0))
    assert together([one, two]).probabilities == pytest.approx(mean / mean.sum())
    assert together([one]).probabilities == pytest.approx(one.probabilities)


def test_networks_that_name_other_classes_have_no_mean() -> None:
    one = Scores((), ("a", "b"), np.array([[0.5, 0.5]]), None)
    for other in (replace(one, classes=("b", "a")), Scores((), (), np.zeros((1, 0)), np.ones(1))):
        with pytest.raises(DataError, match="same classes of the same pictures"):
            together([other, one])
