"""Sources count alike at one share of melanoma, and calibration and thresholds rest on that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.prediction_rows import row
from trainer.choices.choose import Choosing, calibrate
from trainer.choices.operating_points import (
    fit_platt,
    negative_log_likelihood,
    threshold_for_sensitivity,
    threshold_for_specificity,
)
from trainer.choices.sources import equal_weights, held_by_source, mean_share
from trainer.errors import DataError
from trainer.scoring.predictions import Prediction
from trainer.scoring.scores import scores_of, temper, tempered

SOURCES = ("a",) * 30 + ("b",) * 10
POSITIVE = np.array(([True] * 3 + [False] * 27) + ([True] * 6 + [False] * 4))


def test_every_source_counts_the_same_at_the_same_share_of_melanoma() -> None:
    weights = equal_weights(SOURCES, POSITIVE, 0.2)
    names = np.array(SOURCES)
    assert weights.sum() == pytest.approx(1)
    for name in "ab":
        own = names == name
        assert weights[own].sum() == pytest.approx(0.5)
        assert weights[own & POSITIVE].sum() == pytest.approx(0.1)
        assert len(set(np.round(weights[own & POSITIVE], 12))) == 1
    assert mean_share(SOURCES, POSITIVE) == pytest.approx((0.1 + 0.6) / 2)
    with pytest.raises(DataError, match="b show no melanoma"):
        equal_weights(("a", "a", "b"), np.array([True, False, False]), 0.2)


def test_one_source_at_its_own_share_counts_every_picture_alike() -> None:
    weights = equal_weights(("a",) * 8, np.array([True] * 2 + [False] * 6), 0.25)
    np.testing.assert_allclose(weights, 1 / 8)


def test_thresholds_hold_on_the_weighted_pictures_and_equal_weights_change_nothing() -> None:
    draws = np.random.default_rng(1)
    score = np.round(draws.random(200), 3)
    positive = draws.random(200) < 0.3
    same = np.full(200, 1 / 200)
    for find in (threshold_for_sensitivity, threshold_for_specificity):
        for share in (0.5, 0.9, 0.95):
            assert find(score, positive, share) == find(score, positive, share, same)
    weights = np.where(np.arange(200) < 20, 10.0, 1.0)
    threshold = threshold_for_sensitivity(score, positive, 0.9, weights)
    kept = (weights * (score >= threshold))[positive].sum() / weights[positive].sum()
    higher = np.min(score[positive & (score >= threshold)])
    less = (weights * (score > higher))[positive].sum() / weights[positive].sum()
    assert less < 0.9 <= kept


def known(count: int = 4000, seed: int = 3) -> tuple[list[Prediction], list[float]]:
    """Answers of a network that is right for its own share of melanoma, sharpened by 2 and shifted by 1."""
    draws = np.random.default_rng(seed)
    rows, honest = [], []
    for number in range(count):
        p = float(1 / (1 + np.exp(-draws.normal(-1.5, 1.5))))
        dx = "mel" if draws.random() < p else "nv"
        said = tempered(np.array([[1 - p, p]]), 0.5, 1.0, 1)[0]
        rows.append(replace(row(dx, {"nv": float(said[0]), "mel": float(said[1])}), lesion_id=str(number), source="a"))
        honest.append(p)
    return rows, honest


def test_platt_undoes_a_temperature_and_a_shift() -> None:
    rows, honest = known()
    calibration = fit_platt(scores_of(rows, ("nv", "mel")), "val")
    assert calibration.temperature == pytest.approx(2, abs=0.15) and calibration.bias == pytest.approx(-0.5, abs=0.12)
    again = [temper(p, calibration.temperature, calibration.bias).probabilities["mel"] for p in rows]
    assert float(np.abs(np.array(again) - honest).mean()) < 0.02


def test_the_prior_is_what_the_calibrated_probabilities_assume() -> None:
    rows, _ = known()
    shares = []
    for prior in (0.05, 0.3):
        scores = scores_of(rows, ("nv", "mel"))
        calibration, weights = calibrate(scores, "val", Choosing("platt", prior))
        assert weights is not None and calibration.prior == prior
        moved = tempered(scores.probabilities, calibration.temperature, calibration.bias, 1)[:, 1]
        shares.append(float(np.average(moved, weights=weights)))
    assert shares == pytest.approx([0.05, 0.3], abs=0.004), "on average the probabilities are the prior"


def test_a_threshold_says_what_it_holds_on_each_source() -> None:
    rows, _ = known(400)
    scores = scores_of([*rows, *(replace(p, source="b", dx="mel") for p in rows[:50])], ("nv", "mel"))
    text = held_by_source(scores, 0.5)
    first, second = text.split("; ")
    assert first.startswith("a sensitivity 0.") and ", specificity 0." in first and " to " in first
    hits = np.mean([p.probabilities["mel"] >= 0.5 for p in rows[:50]])
    assert second.startswith(f"b sensitivity {hits:.2f} (") and "specificity" not in second


def test_benign_and_no_more_counts_as_not_melanoma() -> None:
    labels = ("bkl", "mel", "nv")
    rows = [row("", {"bkl": 0.2, "mel": 0.3, "nv": 0.5}), row("mel", {"bkl": 0.2, "mel": 0.3, "nv": 0.5})]
    scores = scores_of(rows, labels)
    assert scores.truth.tolist() == [-1, 1] and scores.named.tolist() == [False, True]
    assert scores.positive.tolist() == [False, True]
    assert negative_log_likelihood(scores) == pytest.approx(-(np.log(0.7) + np.log(0.3)) / 2)
    two = scores_of([row("", {"other": 0.8, "mel": 0.2})], ("other", "mel"))
    assert two.truth.tolist() == [0] and two.named.all()
