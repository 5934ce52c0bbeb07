"""Temperature and operating points: each fixed by its stated rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trainer.choices import operating_points
from trainer.errors import DataError
from trainer.scoring.scores import Scores, tempered

RNG = np.random.default_rng(8)


def sampled(temperature: float, n: int = 4000) -> Scores:
    """Truth drawn from softmax(logits), stated as softmax(logits * temperature): too sure where temperature > 1."""
    logits = RNG.normal(0, 1.5, (n, 7))
    honest = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = np.array([RNG.choice(7, p=row) for row in honest])
    stated = np.exp(logits * temperature) / np.exp(logits * temperature).sum(1, keepdims=True)
    return Scores(stated, truth, tuple(str(i) for i in range(n)), melanoma=4)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_temperature_is_recovered(temperature: float) -> None:
    scores = sampled(temperature)
    fitted = operating_points.fit_temperature(scores)
    assert fitted.temperature == pytest.approx(temperature, rel=0.06)
    assert fitted.fitted_on == "val"
    before = operating_points.negative_log_likelihood(scores)
    assert operating_points.negative_log_likelihood(scores, fitted.temperature) <= before + 1e-9


def test_tempering_equals_dividing_the_logits() -> None:
    logits = RNG.normal(0, 3, (5, 7))
    plain = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = np.exp(logits / 1.7) / np.exp(logits / 1.7).sum(1, keepdims=True)
    assert tempered(plain, 1.7) == pytest.approx(expected)


def binary(n: int = 400) -> Scores:
    positive = RNG.random(n) < 0.25
    score = np.clip(RNG.normal(np.where(positive, 0.6, 0.3), 0.15), 0.001, 0.999)
    return Scores(np.stack((1 - score, score), 1), positive.astype(np.intp), tuple(str(i // 2) for i in range(n)), 1)


@pytest.mark.parametrize("target", [0.5, 0.9, 0.95, 1.0])
def test_thresholds_reach_their_target_and_not_more(target: float) -> None:
    scores = binary()
    score, positive = scores.score, scores.positive
    threshold = operating_points.threshold_for_sensitivity(score, positive, target)
    assert (score[positive] >= threshold).mean() >= target
    found = np.sort(score[positive & (score >= threshold)])
    assert (score[positive] > found[0]).mean() < target, "a higher threshold would do"
    threshold = operating_points.threshold_for_specificity(score, positive, target)
    assert (score[~positive] < threshold).mean() >= target
    below = score[~positive & (score < threshold)].max()
    assert (score[~positive] < below).mean() < target, "a lower threshold would do"


def test_operating_points_are_ordered_and_named() -> None:
    points = {point.name: point for point in operating_points.choose_operating_points(binary())}
    assert list(points) == ["screening", "balanced", "specialist"]
    assert points["screening"].threshold < points["balanced"].threshold < points["specialist"].threshold
    assert operating_points.DEFAULT_POINT in points
    assert {point.chosen_on for point in points.values()} == {"val"}


def test_youden_is_near_the_crossing_of_the_two_densities() -> None:
    # Equal spreads: sensitivity + specificity is largest midway between the means, 0.45.
    assert operating_points.threshold_for_youden(binary(20000)) == pytest.approx(0.45, abs=0.02)


def test_one_class_alone_is_an_error() -> None:
    scores = binary()
    with pytest.raises(DataError):
        operating_points.threshold_for_sensitivity(scores.score, np.zeros(400, bool), 0.9)
    with pytest.raises(DataError):
        operating_points.threshold_for_specificity(scores.score, np.ones(400, bool), 0.9)
    with pytest.raises(DataError):
        operating_points.threshold_for_youden(replace(scores, truth=np.zeros(400, np.intp)))
