"""Probabilities for another share of melanoma."""

from __future__ import annotations

import numpy as np
import pytest

from edge_infer.errors import BundleError, PrevalenceError
from edge_infer.rules import Band, Calibration, OperatingPoint
from edge_infer.steps.prevalence import correct, correct_classes, known_ratio, move, odds_ratio


def calibrated(prior: float | None = 0.1) -> Calibration:
    return Calibration("temperature", 1.2, "val", prior)


def test_odds_are_multiplied_by_the_ratio_of_odds() -> None:
    """With 1 in 10 assumed and 1 in 2 true, the odds grow by 9: an even answer becomes 0.9."""
    ratio = known_ratio(calibrated(), 0.5)
    assert ratio == pytest.approx(9) and correct(0.5, ratio) == pytest.approx(0.9)
    assert correct(0.1, ratio) == pytest.approx(0.5) and (correct(0.0, ratio), correct(1.0, ratio)) == (0.0, 1.0)
    assert known_ratio(calibrated(), 0.1) == pytest.approx(1) and known_ratio(calibrated(None), None) == 1
    there_and_back = correct(correct(0.3, odds_ratio(0.1, 0.02)), odds_ratio(0.02, 0.1))
    assert there_and_back == pytest.approx(0.3)


def test_a_population_with_that_share_is_calibrated_again() -> None:
    """Bayes' rule: probabilities that hold for one share hold for another after the correction."""
    rng = np.random.default_rng(0)
    score = {True: rng.normal(1, 1, 200_000), False: rng.normal(-1, 1, 200_000)}

    def posterior(value: np.ndarray, share: float) -> np.ndarray:
        return 1 / (1 + np.exp(-2 * value) * (1 - share) / share)

    ratio = odds_ratio(0.3, 0.05)
    for melanoma in score:
        expected, value = posterior(score[melanoma], 0.05), posterior(score[melanoma], 0.3)
        assert np.allclose([correct(p, ratio) for p in value[:100]], expected[:100])


def test_the_other_classes_keep_their_proportions_and_the_sum_stays() -> None:
    row = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    found = correct_classes(row, 2, odds_ratio(0.3, 0.02))
    assert found.sum() == pytest.approx(1, abs=1e-7) and found[2] == pytest.approx(correct(0.3, odds_ratio(0.3, 0.02)))
    assert found[1] / found[0] == pytest.approx(2) and found[3] / found[0] == pytest.approx(4)
    assert np.array_equal(correct_classes(np.array([0, 1], np.float32), 1, 0.1), [0, 1])


def test_a_threshold_that_ranks_moves_and_one_that_is_a_risk_stays() -> None:
    ratio = odds_ratio(0.2, 0.02)
    ranking = OperatingPoint("balanced", 0.3, "Youden", "both", "val", bands=(Band(0.1, 0.2, 0.4),))
    moved = move(ranking, ratio)
    assert moved.bands[0].low < moved.threshold < moved.bands[0].high < 0.3
    for probability in np.linspace(0.001, 0.999, 500):
        now = correct(float(probability), ratio)
        assert (now >= moved.threshold) == (probability >= 0.3)
        assert (moved.bands[0].low < now < moved.bands[0].high) == (0.2 < probability < 0.4)
    risk = OperatingPoint("ten percent", 0.1, "a risk of 10 %", "refer", "nothing", basis="probability")
    assert move(risk, ratio) is risk


def test_a_probability_at_its_threshold_stays_at_it_to_the_last_bit() -> None:
    for probability in np.linspace(0.001, 0.999, 200).astype(np.float32):
        point = OperatingPoint("balanced", float(probability), "Youden", "both", "val")
        row = np.array([1 - probability, probability], np.float32)
        for prevalence in (0.001, 0.02, 0.4):
            ratio = odds_ratio(0.1713, prevalence)
            assert correct_classes(row, 1, ratio)[1] == move(point, ratio).threshold


@pytest.mark.parametrize("prevalence", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_a_prevalence_is_a_share(prevalence: float) -> None:
    with pytest.raises(PrevalenceError, match="no share between 0 and 1"):
        known_ratio(calibrated(), prevalence)


def test_a_bundle_that_states_no_prior_cannot_be_corrected() -> None:
    with pytest.raises(BundleError, match="does not state the share") as caught:
        known_ratio(calibrated(None), 0.02)
    assert "calibration.prior" in caught.value.remedy
