"""Everything that is fixed on the validation split, or on the training pictures, and never on the test split.

Temperature, operating points, and the limits outside of which a picture or a mask is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]
from tqdm import tqdm

from edge_infer.bundle.manifest import Band, Calibration, InputSpec, MaskRule, OperatingPoint, QualityLimits
from edge_infer.steps.image import open_picture
from edge_infer.steps.quality import Quality, measure_quality
from edge_infer.steps.resize import resize
from trainer.data.ham10000 import Record, read_mask
from trainer.errors import DataError
from trainer.scoring.metrics import Bools, Floats, lesion_weights
from trainer.scoring.predict import Prediction

DEFAULT_POINT = "balanced"
SCREENING_SENSITIVITY = 0.95
SPECIALIST_SPECIFICITY = 0.95
LIMIT_MARGIN, BRIGHTNESS_MARGIN = 0.25, 0.05
REFUSED_SHARPNESS = 0.0025
REFUSED_LARGE_AREA = 0.001
REFUSED_CONFIDENCE = 0.0025
ABSTENTION = (0.1, 0.2, 0.3)
"""Shares of least certain pictures that each operating point gets a band for; see `abstention_bands`."""

_SMALLEST = 1e-12


@dataclass(frozen=True)
class Scores:
    """What the classifier said about the pictures that got a crop.

    Attributes:
        probabilities: shape (n, classes), rows sum to 1.
        truth: class index, shape (n,).
        lesions: lesion ids, length n.
        melanoma: column of melanoma.
    """

    probabilities: Floats
    truth: NDArray[np.intp]
    lesions: tuple[str, ...]
    melanoma: int

    @property
    def score(self) -> Floats:
        """Probability of melanoma, shape (n,)."""
        return self.probabilities[:, self.melanoma]

    @property
    def positive(self) -> Bools:
        """Whether the picture shows a melanoma, shape (n,)."""
        return np.asarray(self.truth == self.melanoma)


def scores_of(predictions: Sequence[Prediction], labels: Sequence[str], melanoma_label: str = "mel") -> Scores:
    """The classifier's answers as arrays; pictures without a crop are left out.

    Classes that the labels do not name count as the other class of a two-class model.

    Raises:
        DataError: no picture has an answer, or one carries other classes.
    """
    answered = [p for p in predictions if p.probabilities]
    if not answered:
        raise DataError("No picture got a crop, so there is nothing to calibrate.", "Train the segmenter longer.")
    try:
        probabilities = np.array([[p.probabilities[label] for label in labels] for p in answered])
    except KeyError as error:
        raise DataError(f"The predictions have no class {error}.", "Predict again with this model.") from error
    names = list(labels)
    others = [label for label in names if label != melanoma_label]
    truth = np.array([names.index(p.dx if p.dx in names else others[0]) for p in answered], dtype=np.intp)
    return Scores(probabilities, truth, tuple(p.lesion_id for p in answered), names.index(melanoma_label))


def tempered(probabilities: Floats, temperature: float) -> Floats:
    """softmax(log p / temperature): what the same logits give at another temperature."""
    logits = np.log(np.maximum(probabilities, _SMALLEST)) / temperature
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def temper(prediction: Prediction, temperature: float) -> Prediction:
    """The same picture at another temperature; it was predicted at 1."""
    if not prediction.probabilities:
        return prediction
    row = tempered(np.array([list(prediction.probabilities.values())]), temperature)[0]
    return replace(prediction, probabilities=dict(zip(prediction.probabilities, map(float, row), strict=True)))


def negative_log_likelihood(scores: Scores, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood of the true classes, in nats."""
    rows = tempered(scores.probabilities, temperature)
    return float(-np.log(np.maximum(rows[np.arange(len(rows)), scores.truth], _SMALLEST)).mean())


def fit_temperature(scores: Scores, split: str = "val") -> Calibration:
    """The temperature that minimises the negative log-likelihood (Guo et al., ICML 2017), within 0.1 to 10.

    The scores must come from temperature 1, and from predicted ROIs, as in use.
    """
    found = minimize_scalar(
        lambda log_t: negative_log_likelihood(scores, float(np.exp(log_t))),
        bounds=(np.log(0.1), np.log(10.0)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return Calibration("temperature", round(float(np.exp(found.x)), 4), split)


def threshold_for_sensitivity(score: Floats, positive: Bools, sensitivity: float) -> float:
    """The highest threshold at which `score >= threshold` finds at least this share of the positives.

    It lies midway to the next lower score of any picture, so that a rounding error flips no decision.

    Raises:
        DataError: there is no positive.
    """
    found = np.sort(score[positive])[::-1]
    if not len(found):
        raise DataError("The split shows no melanoma.", "Calibrate on a split that has some.")
    lowest_needed = found[int(np.ceil(sensitivity * len(found) - 1e-9)) - 1]
    below = score[score < lowest_needed]
    return _between(below.max() if len(below) else 0.0, lowest_needed)


def threshold_for_specificity(score: Floats, positive: Bools, specificity: float) -> float:
    """The lowest threshold at which at least this share of the negatives stays below it; midway between two scores.

    Raises:
        DataError: there is no negative.
    """
    negatives = np.sort(score[~positive])
    if not len(negatives):
        raise DataError("The split shows melanoma only.", "Calibrate on a split that has other lesions.")
    highest_allowed = negatives[int(np.ceil(specificity * len(negatives) - 1e-9)) - 1]
    above = score[score > highest_allowed]
    return _between(highest_allowed, above.min() if len(above) else 1.0)


def threshold_for_youden(scores: Scores, resamples: int = 1000) -> float:
    """The median, over bootstrap resamples by lesion, of the threshold with the largest sensitivity + specificity.

    The maximum of Youden's index on one sample of some hundred melanomas sits on a chance wiggle of the curve; the
    median over resamples does not.
    """
    order = np.argsort(-scores.score, kind="stable")
    ranked, positive = scores.score[order], scores.positive[order]
    weights = lesion_weights(scores.lesions, resamples)[:, order]
    tp, fp = (weights * positive).cumsum(1), (weights * ~positive).cumsum(1)
    usable = (tp[:, -1] > 0) & (fp[:, -1] > 0)
    if not usable.any():
        raise DataError("The split needs melanomas and other lesions.", "Calibrate on a larger split.")
    last_of_tie = np.r_[ranked[1:] != ranked[:-1], True]
    youden = tp[usable] / tp[usable, -1:] - fp[usable] / fp[usable, -1:]
    best = np.where(last_of_tie, youden, -1.0).argmax(1)
    following = np.r_[ranked[1:], 0.0]
    return _inside(float(np.median((ranked[best] + following[best]) / 2)))


def choose_operating_points(scores: Scores, split: str = "val") -> tuple[OperatingPoint, ...]:
    """`screening`, `balanced` (the default) and `specialist`, from calibrated scores on predicted ROIs.

    The default weighs a missed melanoma and a false alarm by Youden's index, that is, each relative to its own class:
    with one melanoma in nine pictures it accepts about eight false alarms to find one more melanoma.
    """
    score, positive = scores.score, scores.positive
    points = (
        OperatingPoint(
            "screening",
            threshold_for_sensitivity(score, positive, SCREENING_SENSITIVITY),
            f"highest threshold with at least {SCREENING_SENSITIVITY:.0%} sensitivity",
            "sensitivity first: meant to miss few melanomas and to accept many false alarms, as when deciding who is "
            "looked at more closely",
            split,
        ),
        OperatingPoint(
            DEFAULT_POINT,
            threshold_for_youden(scores),
            "largest sensitivity + specificity (Youden's index), median threshold over 1000 bootstrap resamples by "
            "lesion",
            "weighs missed melanomas and false alarms alike, each relative to its own class",
            split,
        ),
        OperatingPoint(
            "specialist",
            threshold_for_specificity(score, positive, SPECIALIST_SPECIFICITY),
            f"lowest threshold with at least {SPECIALIST_SPECIFICITY:.0%} specificity",
            "specificity first: meant to raise few false alarms and to miss more melanomas, as a second opinion on "
            "lesions that were already found suspicious",
            split,
        ),
    )
    return tuple(replace(point, bands=abstention_bands(score, point.threshold)) for point in points)


def certainty(score: Floats, threshold: float) -> Floats:
    """Distance of each probability to the threshold on the scale arcsin(sqrt(p)), 0..pi/2.

    On this scale the standard error of an observed share is the same everywhere (Anscombe, Biometrika 1948), so that
    the distance counts standard errors. Plain differences would leave the surest negatives undecided where the
    threshold is low, and log odds the surest positives where it is high.
    """
    return np.asarray(np.abs(np.arcsin(np.sqrt(np.clip(score, 0, 1))) - np.arcsin(np.sqrt(threshold))))


def abstention_bands(score: Floats, threshold: float, shares: Sequence[float] = ABSTENTION) -> tuple[Band, ...]:
    """Bands around a threshold that leave these shares of the pictures undecided: those with the least `certainty`.

    Args:
        score: calibrated melanoma probabilities of pictures that the networks never saw, shape (n,).
        threshold: of the operating point.
        shares: 0..1 each.
    """
    centre = float(np.arcsin(np.sqrt(threshold)))
    bands = []
    for share in shares:
        reach = max(float(np.quantile(certainty(score, threshold), share)), 1e-6)
        low, high = (float(np.sin(np.clip(centre + side * reach, 0, np.pi / 2)) ** 2) for side in (-1, 1))
        bands.append(Band(share, low, high))
    return tuple(bands)


def measure_pictures(records: Sequence[Record], spec: InputSpec, progress: bool = True) -> list[Quality]:
    """Quality of each picture at the segmenter's input size."""
    bar = tqdm(records, desc="picture quality", unit="img", disable=not progress)
    return [measure_quality(resize(open_picture(record.image_path).pixels, spec.height, spec.width)) for record in bar]


def quality_limits(seen: Sequence[Quality], min_side: int) -> QualityLimits:
    """Limits around what the training pictures show; outside them a picture is unlike any that was learned from.

    Brightness and contrast are refused beyond the extremes seen, with a margin of a twentieth of the way to black or to
    white, and of a quarter of the way to no contrast at all.
    Sharpness has no such gap, as the blurriest training pictures are themselves as smooth as a blurred one: the least
    sharp in four hundred are refused.

    Args:
        seen: measures of the training pictures.
        min_side: smallest usable shorter side in pixels.
    """
    luminance, contrast, sharpness = (np.array(column) for column in zip(*seen, strict=True))
    return QualityLimits(
        min_side=min_side,
        min_contrast=_round(contrast.min() * (1 - LIMIT_MARGIN)),
        min_luminance=_round(luminance.min() * (1 - BRIGHTNESS_MARGIN)),
        max_luminance=_round(luminance.max() + BRIGHTNESS_MARGIN * (255 - luminance.max())),
        min_sharpness=_round(np.quantile(sharpness, REFUSED_SHARPNESS)),
    )


def true_areas(records: Sequence[Record], progress: bool = True) -> Floats:
    """Lesion pixels over all pixels of each true mask."""
    bar = tqdm(records, desc="lesion areas", unit="img", disable=not progress)
    return np.array([float(read_mask(record.mask_path).mean()) for record in bar])


def area_limits(areas: Floats, threshold: float) -> MaskRule:
    """Area limits from the training masks.

    A lesion a quarter smaller than the smallest seen is refused, and one that fills the picture more than all but one
    in a thousand: its border is out of sight.
    """
    return MaskRule(
        threshold, _round(areas.min() * (1 - LIMIT_MARGIN)), _round(np.quantile(areas, 1 - REFUSED_LARGE_AREA))
    )


def confidence_limit(found: Sequence[Prediction]) -> float:
    """The least mean probability inside an outline: the least certain in four hundred of these pictures are refused.

    Dermoscopic pictures all show a lesion, so what lies below is mostly skin that was taken for one.
    """
    outlined = [p.confidence for p in found if p.area > 0]
    return _round(float(np.quantile(outlined, REFUSED_CONFIDENCE))) if outlined else 0.0


def _between(low: float, high: float) -> float:
    return _inside((float(low) + float(high)) / 2)


def _inside(threshold: float) -> float:
    return min(max(threshold, 1e-6), 1 - 1e-6)


def _round(value: float) -> float:
    return float(f"{value:.3g}")
