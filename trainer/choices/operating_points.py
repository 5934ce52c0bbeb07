"""Everything that is fixed on the validation split, or on the training pictures, and never on the test split.

Temperature, operating points, and the limits outside of which a picture or a mask is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]

from edge_infer.rules import Band, Calibration, OperatingPoint
from trainer.choices.limits import _between, _inside
from trainer.errors import DataError
from trainer.scoring.metrics import Bools, Floats, lesion_weights
from trainer.scoring.scores import _SMALLEST, Scores, certainty, tempered

DEFAULT_POINT = "balanced"
SCREENING_SENSITIVITY = 0.95
SPECIALIST_SPECIFICITY = 0.95
_BOUND = re.compile(r"at least (?P<percent>\d+)% (?P<measure>sensitivity|specificity)")
ABSTENTION = (0.1, 0.2, 0.3)
"""Shares of least certain pictures that each operating point gets a band for; see `abstention_bands`."""


def negative_log_likelihood(scores: Scores, temperature: float = 1.0, weights: Floats | None = None) -> float:
    """Mean negative log-likelihood of the true classes, in nats; "not melanoma" where no more is known."""
    rows = tempered(scores.probabilities, temperature)
    said = np.where(scores.named, rows[np.arange(len(rows)), scores.truth], 1 - rows[:, scores.melanoma])
    return float(np.average(-np.log(np.maximum(said, _SMALLEST)), weights=weights))


def fit_temperature(scores: Scores, split: str = "val", weights: Floats | None = None) -> Calibration:
    """The temperature that minimises the negative log-likelihood (Guo et al., ICML 2017), within 0.1 to 10.

    The scores must come from temperature 1, and from predicted ROIs, as in use.
    """
    log_t = _least(
        lambda log_t: negative_log_likelihood(scores, float(np.exp(log_t)), weights), np.log(0.1), np.log(10.0)
    )
    return Calibration("temperature", round(float(np.exp(log_t)), 4), split)


def fit_platt(scores: Scores, split: str, weights: Floats | None = None) -> Calibration:
    """Temperature and bias that minimise the negative log-likelihood of melanoma or not (Platt 1999).

    The bias is added to the logit of melanoma alone, so that the odds among the other diagnoses follow the temperature.
    The scores must come from temperature 1, and from predicted ROIs, as in use.
    """
    truth = scores.positive

    def loss(log_t: float, bias: float) -> float:
        rows = tempered(scores.probabilities, float(np.exp(log_t)), bias, scores.melanoma)
        said = np.where(truth, rows[:, scores.melanoma], 1 - rows[:, scores.melanoma])
        return float(np.average(-np.log(np.maximum(said, _SMALLEST)), weights=weights))

    def best_bias(log_t: float) -> float:
        return float(_least(lambda bias: loss(log_t, bias), -10.0, 10.0))

    log_t = _least(lambda log_t: loss(log_t, best_bias(log_t)), np.log(0.1), np.log(10.0))
    return Calibration("platt", round(float(np.exp(log_t)), 4), split, bias=round(best_bias(log_t), 4))


def threshold_for_sensitivity(
    score: Floats, positive: Bools, sensitivity: float, weights: Floats | None = None
) -> float:
    """The highest threshold at which `score >= threshold` finds at least this share of the positives.

    It lies midway to the next lower score of any picture, so that a rounding error flips no decision.

    Raises:
        DataError: there is no positive.
    """
    if not positive.any():
        raise DataError("The split shows no melanoma.", "Calibrate on a split that has some.")
    lowest_needed = -_reached(-score[positive], sensitivity, None if weights is None else weights[positive])
    below = score[score < lowest_needed]
    return _between(below.max() if len(below) else 0.0, lowest_needed)


def threshold_for_specificity(
    score: Floats, positive: Bools, specificity: float, weights: Floats | None = None
) -> float:
    """The lowest threshold at which at least this share of the negatives stays below it; midway between two scores.

    Raises:
        DataError: there is no negative.
    """
    if positive.all():
        raise DataError("The split shows melanoma only.", "Calibrate on a split that has other lesions.")
    highest_allowed = _reached(score[~positive], specificity, None if weights is None else weights[~positive])
    above = score[score > highest_allowed]
    return _between(highest_allowed, above.min() if len(above) else 1.0)


def threshold_for_youden(scores: Scores, resamples: int = 1000, counts: Floats | None = None) -> float:
    """The median, over bootstrap resamples by lesion, of the threshold with the largest sensitivity + specificity.

    The maximum of Youden's index on one sample of some hundred melanomas sits on a chance wiggle of the curve; the
    median over resamples does not.
    """
    order = np.argsort(-scores.score, kind="stable")
    ranked, positive = scores.score[order], scores.positive[order]
    weights = lesion_weights(scores.lesions, resamples)[:, order]
    if counts is not None:
        weights = weights * counts[order]
    tp, fp = (weights * positive).cumsum(1), (weights * ~positive).cumsum(1)
    usable = (tp[:, -1] > 0) & (fp[:, -1] > 0)
    if not usable.any():
        raise DataError("The split needs melanomas and other lesions.", "Calibrate on a larger split.")
    last_of_tie = np.r_[ranked[1:] != ranked[:-1], True]
    youden = tp[usable] / tp[usable, -1:] - fp[usable] / fp[usable, -1:]
    best = np.where(last_of_tie, youden, -1.0).argmax(1)
    following = np.r_[ranked[1:], 0.0]
    return _inside(float(np.median((ranked[best] + following[best]) / 2)))


def choose_operating_points(
    scores: Scores, split: str = "val", weights: Floats | None = None
) -> tuple[OperatingPoint, ...]:
    """`screening`, `balanced` (the default) and `specialist`, from calibrated scores on predicted ROIs.

    With weights (see `trainer.choices.sources.equal_weights`), each rule holds on the weighted pictures, and says so.

    The default weighs a missed melanoma and a false alarm by Youden's index, that is, each relative to its own class:
    with one melanoma in nine pictures it accepts about eight false alarms to find one more melanoma.
    """
    score, positive = scores.score, scores.positive
    over = "" if weights is None else ", mean over the sources"
    points = (
        OperatingPoint(
            "screening",
            threshold_for_sensitivity(score, positive, SCREENING_SENSITIVITY, weights),
            f"highest threshold with at least {SCREENING_SENSITIVITY:.0%} sensitivity{over}",
            "sensitivity first: meant to miss few melanomas and to accept many false alarms, as when deciding who is "
            "looked at more closely",
            split,
        ),
        OperatingPoint(
            DEFAULT_POINT,
            threshold_for_youden(scores, counts=weights),
            "largest sensitivity + specificity (Youden's index), median threshold over 1000 bootstrap resamples by "
            f"lesion{over}",
            "weighs missed melanomas and false alarms alike, each relative to its own class",
            split,
        ),
        OperatingPoint(
            "specialist",
            threshold_for_specificity(score, positive, SPECIALIST_SPECIFICITY, weights),
            f"lowest threshold with at least {SPECIALIST_SPECIFICITY:.0%} specificity{over}",
            "specificity first: meant to raise few false alarms and to miss more melanomas, as a second opinion on "
            "lesions that were already found suspicious",
            split,
        ),
    )
    return tuple(replace(point, bands=abstention_bands(score, point.threshold, weights=weights)) for point in points)


def asked_for(rule: str) -> tuple[str, float] | None:
    """The measure that a rule of `choose_operating_points` bounds from below, and the bound, 0..1; None: none."""
    found = _BOUND.search(rule)
    return None if found is None else (found["measure"], int(found["percent"]) / 100)


def abstention_bands(
    score: Floats, threshold: float, shares: Sequence[float] = ABSTENTION, weights: Floats | None = None
) -> tuple[Band, ...]:
    """Bands around a threshold that leave these shares of the pictures undecided: those with the least `certainty`.

    Args:
        score: calibrated melanoma probabilities of pictures that the networks never saw, shape (n,).
        threshold: of the operating point.
        shares: 0..1 each.
        weights: what each picture counts; None: all alike.
    """
    centre = float(np.arcsin(np.sqrt(threshold)))
    bands = []
    for share in shares:
        reach = max(_quantile(certainty(score, threshold), share, weights), 1e-6)
        low, high = (float(np.sin(np.clip(centre + side * reach, 0, np.pi / 2)) ** 2) for side in (-1, 1))
        bands.append(Band(share, low, high))
    return tuple(bands)


def _least(loss: Callable[[float], float], low: float, high: float) -> float:
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4})
    return float(found.x)


def _reached(values: Floats, share: float, weights: Floats | None) -> float:
    """The least value up to which at least this share of the values (of their weight) lies."""
    order = np.argsort(values, kind="stable")
    if weights is None:
        return float(values[order][int(np.ceil(share * len(values) - 1e-9)) - 1])
    summed = weights[order].cumsum()
    return float(values[order][np.searchsorted(summed, share * summed[-1] - 1e-9)])


def _quantile(values: Floats, share: float, weights: Floats | None) -> float:
    return float(np.quantile(values, share)) if weights is None else _reached(values, share, weights)
