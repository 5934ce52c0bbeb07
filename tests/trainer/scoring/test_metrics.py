"""Figures of merit against scikit-learn and torchmetrics, and intervals that respect lesions."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn import metrics as sk

from trainer.scoring import masks, metrics

RNG = np.random.default_rng(3)
N = 240
SCORES = np.round(RNG.random(N), 2)  # rounding makes ties
POSITIVE = RNG.random(N) < 0.2 + 0.4 * SCORES
LESIONS = [f"L{i // 2}" for i in range(N)]
WEIGHTS = metrics.lesion_weights(LESIONS, resamples=7, seed=1)


def test_a_lesion_brings_all_its_images() -> None:
    assert np.array_equal(WEIGHTS[:, 0::2], WEIGHTS[:, 1::2])
    assert (WEIGHTS.sum(1) == N).all()
    assert len({tuple(row) for row in WEIGHTS}) == len(WEIGHTS)


def test_auc_matches_sklearn_for_every_resample() -> None:
    ours = metrics.Roc(SCORES, POSITIVE).auc(WEIGHTS)
    theirs = [sk.roc_auc_score(POSITIVE, SCORES, sample_weight=row) for row in WEIGHTS]
    assert ours == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 1.0])
def test_fixed_points_of_the_curve_match_sklearn(level: float) -> None:
    curve = metrics.Roc(SCORES, POSITIVE)
    for row in WEIGHTS:
        fpr, tpr, _ = sk.roc_curve(POSITIVE, SCORES, sample_weight=row, drop_intermediate=False)
        assert curve.sensitivity_at_specificity(level)(row[None])[0] == pytest.approx(
            tpr[1 - fpr >= level - 1e-12].max()
        )
        assert curve.specificity_at_sensitivity(level)(row[None])[0] == pytest.approx(
            1 - fpr[tpr >= level - 1e-12].min()
        )


def test_fixed_points_match_torchmetrics() -> None:
    import torch
    from torchmetrics.functional.classification import binary_sensitivity_at_specificity

    theirs, _ = binary_sensitivity_at_specificity(torch.tensor(SCORES), torch.tensor(POSITIVE).long(), 0.9)
    ours = metrics.Roc(SCORES, POSITIVE).sensitivity_at_specificity(0.9)(np.ones((1, N)))
    assert ours[0] == pytest.approx(float(theirs), abs=1e-6)


def test_decision_figures_match_sklearn() -> None:
    called = SCORES >= 0.6
    found = {name: measure(WEIGHTS) for name, measure in metrics.decision_measures(called, POSITIVE).items()}
    for i, row in enumerate(WEIGHTS):
        assert found["sensitivity"][i] == pytest.approx(sk.recall_score(POSITIVE, called, sample_weight=row))
        assert found["specificity"][i] == pytest.approx(sk.recall_score(~POSITIVE, ~called, sample_weight=row))
        assert found["precision"][i] == pytest.approx(sk.precision_score(POSITIVE, called, sample_weight=row))
        assert found["f1"][i] == pytest.approx(sk.f1_score(POSITIVE, called, sample_weight=row))
        assert found["accuracy"][i] == pytest.approx(sk.accuracy_score(POSITIVE, called, sample_weight=row))
        assert found["balanced_accuracy"][i] == pytest.approx(
            sk.balanced_accuracy_score(POSITIVE, called, sample_weight=row)
        )


def test_class_figures_match_sklearn_and_torchmetrics() -> None:
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error

    probabilities = RNG.dirichlet(np.ones(4), N)
    truth = RNG.integers(0, 4, N)
    found = {name: measure(WEIGHTS) for name, measure in metrics.multiclass_measures(probabilities, truth).items()}
    predicted = probabilities.argmax(1)
    for i, row in enumerate(WEIGHTS):
        assert found["class_accuracy"][i] == pytest.approx(sk.accuracy_score(truth, predicted, sample_weight=row))
        assert found["class_balanced_accuracy"][i] == pytest.approx(
            sk.balanced_accuracy_score(truth, predicted, sample_weight=row)
        )
    theirs = multiclass_calibration_error(torch.tensor(probabilities), torch.tensor(truth), 4, n_bins=15)
    ours = metrics.multiclass_measures(probabilities, truth)["class_calibration_error"](np.ones((1, N)))
    assert ours[0] == pytest.approx(float(theirs), abs=1e-6)


def test_calibration_and_brier_of_a_probability() -> None:
    import torch
    from torchmetrics.functional.classification import binary_calibration_error

    jittered = np.clip(SCORES + 0.003, 0, 1)  # away from the bins' edges, which the two libraries assign differently
    theirs = binary_calibration_error(torch.tensor(jittered), torch.tensor(POSITIVE).long(), n_bins=15)
    ours = metrics.calibration_error(jittered, POSITIVE)(np.ones((1, N)))
    assert ours[0] == pytest.approx(float(theirs), abs=1e-6)
    brier = metrics.brier_score(SCORES, POSITIVE)(np.ones((1, N)))
    assert brier[0] == pytest.approx(sk.brier_score_loss(POSITIVE, SCORES))


def test_perfect_probabilities_are_calibrated() -> None:
    certain = np.array([0.0, 1.0, 1.0])
    assert metrics.calibration_error(certain, certain.astype(bool))(np.ones((1, 3)))[0] == 0


def test_segmentation_figures_by_hand() -> None:
    overlaps = masks.Overlaps(
        tp=np.array([80.0, 0.0, 0.0]),
        fp=np.array([10.0, 0.0, 0.0]),
        fn=np.array([10.0, 50.0, 0.0]),
        tn=np.array([100.0, 150.0, 200.0]),
    )
    assert overlaps.dice == pytest.approx([160 / 180, 0, 1])
    assert overlaps.jaccard == pytest.approx([0.8, 0, 1])
    assert overlaps.recall == pytest.approx([80 / 90, 0, 1])
    assert overlaps.precision == pytest.approx([80 / 90, 0, 1])
    assert overlaps.accuracy == pytest.approx([0.9, 0.75, 1])
    one = np.ones((1, 3))
    found = {n: m(one)[0] for n, m in masks.segmentation_measures(overlaps, ["nv", "bcc", "nv"]).items()}
    assert found["jaccard_below_0.65"] == pytest.approx(1 / 3)
    assert found["thresholded_jaccard"] == pytest.approx(1.8 / 3)
    assert found["pooled_dice"] == pytest.approx(160 / (160 + 70))
    assert found["worst_class_dice"] == 0


def test_an_absent_class_gives_no_figure_rather_than_a_made_up_one() -> None:
    nobody = np.zeros(N, bool)
    found = metrics.with_intervals(metrics.ranking_measures(SCORES, nobody), WEIGHTS)
    assert found == {}


def test_interval_covers_the_value_and_widens_with_clustering() -> None:
    measure = metrics.mean_of(POSITIVE)
    single = metrics.with_interval(measure, metrics.lesion_weights([str(i) for i in range(N)], 2000))
    grouped_values = metrics.mean_of(np.repeat(POSITIVE[::4], 4))
    alone = metrics.with_interval(grouped_values, metrics.lesion_weights([str(i) for i in range(N)], 2000))
    grouped = metrics.with_interval(grouped_values, metrics.lesion_weights([str(i // 4) for i in range(N)], 2000))
    for metric in (single, alone, grouped):
        assert metric is not None and metric.low is not None and metric.high is not None
        assert metric.low < metric.value < metric.high
    assert alone and grouped
    assert (grouped.high - grouped.low) > 1.6 * (alone.high - alone.low)  # type: ignore[operator]


def test_single_interval_is_the_binomial_one() -> None:
    flags = np.arange(400) < 100
    metric = metrics.with_interval(metrics.mean_of(flags), metrics.lesion_weights([str(i) for i in range(400)], 4000))
    assert metric is not None and metric.low is not None and metric.high is not None
    spread = 1.96 * np.sqrt(0.25 * 0.75 / 400)
    assert (metric.low, metric.high) == pytest.approx((0.25 - spread, 0.25 + spread), abs=0.006)


def test_thousand_resamples_take_seconds() -> None:
    n = 1700
    scores = RNG.random(n)
    weights = metrics.lesion_weights([str(i // 2) for i in range(n)], 1000)
    start = time.process_time()
    metrics.with_intervals(metrics.melanoma_measures(scores, RNG.random(n) < 0.1), weights)
    assert time.process_time() - start < 10
