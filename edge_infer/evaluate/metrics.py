"""Figures of merit with 95 % confidence intervals, bootstrapped by lesion.

Every measure is a function of image weights, shape (b, n), and returns b values: one row of ones gives the plain
figure, and rows of lesion multiplicities give a thousand bootstrap resamples at once. scikit-learn, with the same
weights as `sample_weight`, is the oracle in the tests.

Several pictures show the same lesion, so resampling pictures would make every interval too narrow: lesions are drawn
with replacement and bring all their pictures (the cluster bootstrap; Field and Welsh, JRSS B 2007).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_infer.rules import Metric

Weights = NDArray[np.float64]
Measure = Callable[[Weights], NDArray[np.float64]]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


CALIBRATION_BINS = 15


def lesion_weights(lesions: Sequence[str], resamples: int = 1000, seed: int = 0) -> Weights:
    """Bootstrap resamples as image weights: how often each image's lesion was drawn.

    Args:
        lesions: lesion id of each image, length n.
        resamples: number of resamples b.
        seed: of the random generator.

    Returns:
        float64, shape (b, n).
    """
    _, member = np.unique(np.asarray(lesions, dtype=str), return_inverse=True)
    count = int(member.max()) + 1 if member.size else 0
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / max(count, 1)), size=resamples)
    return drawn[:, member].astype(np.float64)


def with_interval(measure: Measure, weights: Weights) -> Metric | None:
    """A figure and the 2.5th and 97.5th percentile of its resamples; None where it is undefined (an absent class).

    All three are rounded to 1e-6, so that they do not depend on the order in which a machine adds.
    Resamples in which the figure is undefined are left out; where they are more than one in twenty, no interval is
    given.
    """
    value = float(measure(np.ones((1, weights.shape[1])))[0])
    if not np.isfinite(value):
        return None
    drawn = measure(weights)
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) < 0.95 * len(weights):
        return Metric(round(value, 6))
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Metric(round(value, 6), round(float(low), 6), round(float(high), 6))


def with_intervals(measures: Mapping[str, Measure], weights: Weights) -> dict[str, Metric]:
    """`with_interval` for each measure; undefined ones are left out."""
    found = {name: with_interval(measure, weights) for name, measure in measures.items()}
    return {name: metric for name, metric in found.items() if metric is not None}


def show(metric: Metric | None, decimals: int = 3) -> str:
    """A figure with its interval for a table; "-" where it is undefined."""
    if metric is None:
        return "-"
    if metric.low is None or metric.high is None:
        return f"{metric.value:.{decimals}f}"
    return f"{metric.value:.{decimals}f} ({metric.low:.{decimals}f} to {metric.high:.{decimals}f})"


def mean_of(values: Floats | Bools, among: Bools | None = None) -> Measure:
    """The weighted mean of per-image values, over the images in `among` (all by default); NaN over none."""
    chosen = np.ones(len(values), bool) if among is None else among
    picked = values[chosen].astype(np.float64)

    def measure(weights: Weights) -> NDArray[np.float64]:
        w = weights[:, chosen]
        return ratio(w @ picked, w.sum(1))

    return measure


class Roc:
    """The weighted ROC curve of a score; ties are one step."""

    def __init__(self, scores: Floats, positive: Bools) -> None:
        """Args: scores: higher means positive, shape (n,). positive: the truth, shape (n,)."""
        self._order = np.argsort(-scores, kind="stable")
        ranked = scores[self._order]
        self._starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]]) if len(ranked) else np.zeros(0, int)
        self._positive = positive[self._order].astype(np.float64)

    def _steps(self, weights: Weights) -> tuple[Weights, Weights]:
        """Weight of positives and of negatives at each distinct score, from the highest down: shape (b, steps)."""
        ranked = weights[:, self._order]
        positive = np.add.reduceat(ranked * self._positive, self._starts, axis=1)
        return positive, np.add.reduceat(ranked, self._starts, axis=1) - positive

    def _cumulated(self, weights: Weights) -> tuple[Weights, Weights]:
        positive, negative = self._steps(weights)
        start = np.zeros((len(weights), 1))
        return np.hstack((start, positive.cumsum(1))), np.hstack((start, negative.cumsum(1)))

    def auc(self, weights: Weights) -> NDArray[np.float64]:
        """Area under the curve: the chance that a positive scores above a negative, ties counting half."""
        positive, negative = self._steps(weights)
        above = positive.cumsum(1) - positive / 2
        return ratio((above * negative).sum(1), positive.sum(1) * negative.sum(1))

    def sensitivity_at_specificity(self, specificity: float) -> Measure:
        """The highest sensitivity that some threshold reaches with at least this specificity."""

        def measure(weights: Weights) -> NDArray[np.float64]:
            tp, fp = self._cumulated(weights)
            allowed = fp <= (1 - specificity) * fp[:, -1:] + 1e-9
            return ratio(np.where(allowed, tp, 0).max(1), np.where(fp[:, -1] > 0, tp[:, -1], 0))

        return measure

    def sensitivities(self, weights: Weights, specificities: Floats) -> Weights:
        """The curve: at each specificity the highest sensitivity with at least this specificity, shape (b, len)."""
        tp, fp = self._cumulated(weights)
        found = np.full((len(weights), len(specificities)), np.nan)
        for row, (hits, alarms) in enumerate(zip(tp, fp, strict=True)):
            if hits[-1] > 0 and alarms[-1] > 0:
                last = np.searchsorted(alarms, (1 - specificities) * alarms[-1] + 1e-9, side="right") - 1
                found[row] = hits[last] / hits[-1]
        return found

    def specificity_at_sensitivity(self, sensitivity: float) -> Measure:
        """The highest specificity that some threshold reaches with at least this sensitivity."""

        def measure(weights: Weights) -> NDArray[np.float64]:
            tp, fp = self._cumulated(weights)
            enough = tp >= sensitivity * tp[:, -1:] - 1e-9
            best = np.where(enough, fp[:, -1:] - fp, 0).max(1)
            return ratio(best, np.where(tp[:, -1] > 0, fp[:, -1], 0))

        return measure


def ranking_measures(scores: Floats, positive: Bools) -> dict[str, Measure]:
    """AUC, sensitivity at fixed specificity and the reverse, for melanoma scores of shape (n,)."""
    roc = Roc(scores, positive)
    return {
        "auc": roc.auc,
        "sensitivity_at_95_specificity": roc.sensitivity_at_specificity(0.95),
        "sensitivity_at_90_specificity": roc.sensitivity_at_specificity(0.90),
        "specificity_at_95_sensitivity": roc.specificity_at_sensitivity(0.95),
        "specificity_at_90_sensitivity": roc.specificity_at_sensitivity(0.90),
    }


def decision_measures(called: Bools, positive: Bools) -> dict[str, Measure]:
    """Figures of a yes/no decision, both of shape (n,)."""

    def f1(weights: Weights) -> NDArray[np.float64]:
        tp, errors = weights @ (called & positive), weights @ (called != positive)
        return ratio(2 * tp, 2 * tp + errors)

    sensitivity, specificity = mean_of(called, positive), mean_of(~called, ~positive)
    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "precision": mean_of(positive, called),
        "f1": f1,
        "accuracy": mean_of(called == positive),
        "balanced_accuracy": lambda weights: (sensitivity(weights) + specificity(weights)) / 2,
    }


def calibration_error(confidence: Floats, correct: Bools, bins: int = CALIBRATION_BINS) -> Measure:
    """Expected calibration error over bins of equal width (Guo et al., ICML 2017), 0..1."""
    member = np.eye(bins)[_bins(confidence, bins)]
    gap = confidence - correct

    def measure(weights: Weights) -> NDArray[np.float64]:
        return ratio(np.abs((weights * gap) @ member).sum(1), weights.sum(1))

    return measure


@dataclass(frozen=True)
class ReliabilityBin:
    """Bin `index` of the reliability diagram: pictures, mean predicted probability, observed share."""

    index: int
    pictures: int
    predicted: float
    observed: Metric


def reliability_bins(scores: Floats, positive: Bools, weights: Weights | None = None) -> list[ReliabilityBin]:
    """`CALIBRATION_BINS` bins of equal width, those without a picture left out; see `calibration_error`.

    Args:
        scores: predicted probability, shape (n,).
        positive: the truth, shape (n,).
        weights: bootstrap resamples, shape (b, n), for intervals of the observed shares.
    """
    which = _bins(scores, CALIBRATION_BINS)
    found = []
    for index in range(CALIBRATION_BINS):
        members = which == index
        if members.any():
            share = mean_of(positive[members])
            plain = Metric(float(positive[members].mean()))
            metric = None if weights is None else with_interval(share, weights[:, members])
            found.append(ReliabilityBin(index, int(members.sum()), float(scores[members].mean()), metric or plain))
    return found


def _bins(confidence: Floats, bins: int) -> NDArray[np.intp]:
    return np.clip(np.ceil(confidence * bins).astype(np.intp) - 1, 0, bins - 1)


def brier_score(scores: Floats, positive: Bools) -> Measure:
    """Mean squared error of a probability, 0 (best) to 1."""
    return mean_of((scores - positive) ** 2)


def multiclass_measures(probabilities: Floats, truth: NDArray[np.intp], fewest: int = 1) -> dict[str, Measure]:
    """Accuracy, balanced accuracy (mean recall of the classes present) and top-label calibration error.

    Args:
        probabilities: shape (n, classes), rows sum to 1.
        truth: class index, shape (n,); pictures whose class is not known (below 0) are left out.
        fewest: pictures of a class below which its recall does not count in the balanced accuracy, which is left out
            where no class has so many.
    """
    known = np.flatnonzero(truth >= 0)
    truth = truth[known]
    predicted = probabilities[known].argmax(1)
    correct = predicted == truth
    labels, counts = np.unique(truth, return_counts=True)
    recalls = [mean_of(correct, truth == label) for label in labels[counts >= fewest]]
    measures: dict[str, Measure] = {"class_accuracy": mean_of(correct)}
    if recalls:
        measures["class_balanced_accuracy"] = lambda weights: _nanmean([recall(weights) for recall in recalls])
    measures["class_calibration_error"] = calibration_error(probabilities[known].max(1), correct)
    return {name: among(measure, known) for name, measure in measures.items()} if len(known) else {}


def among(measure: Measure, rows: NDArray[np.intp] | Bools) -> Measure:
    """A measure that was made of these pictures alone, taking weights of all."""
    return lambda weights: measure(weights[:, rows])


def class_measures(probabilities: Floats, truth: NDArray[np.intp], label: int) -> dict[str, Measure]:
    """One class against the rest: AUC of its probability, and the decision that it is the most probable class.

    Args:
        probabilities: shape (n, classes), rows sum to 1.
        truth: class index, shape (n,).
        label: the class.
    """
    positive = np.asarray(truth == label)
    ranked = {"auc": Roc(probabilities[:, label], positive).auc}
    return ranked | decision_measures(np.asarray(probabilities.argmax(1) == label), positive)


def melanoma_measures(scores: Floats, positive: Bools) -> dict[str, Measure]:
    """Ranking, calibration and Brier score of the melanoma probability, shape (n,)."""
    return {
        **ranking_measures(scores, positive),
        "calibration_error": calibration_error(scores, positive),
        "brier": brier_score(scores, positive),
    }


def ratio(above: Floats, below: Floats, empty: Floats | float = np.nan) -> Floats:
    """above / below, and `empty` where below is 0."""
    result = np.broadcast_to(np.asarray(empty, np.float64), np.shape(below)).copy()
    np.divide(above, below, out=result, where=below != 0)
    return result


def _nanmean(rows: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    stacked = np.asarray(rows)
    return ratio(np.nansum(stacked, axis=0), np.isfinite(stacked).sum(0).astype(np.float64))
