"""Does a picture look like dermoscopy? Colour and texture measures, weighed by the bundle.

Dermoscopy shows skin from close by under even light: few hues, red above green and blue, hardly any flat surface, and
detail at every scale in the same proportions. Photographs, documents, drawings and textures break one or the other.
The weights come from the trainer (a logistic regression); the measures are taken on the resized picture.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_infer.reasons import Problem, Reason
from edge_infer.rules import DermoscopyRule, FamiliarityRule

# Less a constant, which differences do not see: float32 then keeps the digits of the small spreads.
_LOG = (np.log(np.arange(256) + 8.0) - np.log(136.0)).astype(np.float32)
_OCTAVES = 5


class Appearance(NamedTuple):
    """Measures of one picture, with l(x) = ln(x + 8) of a channel and grey as in `edge_infer.steps.quality`.

    Attributes:
        red_green, red_green_spread: mean and standard deviation of l(R) - l(G).
        green_blue, green_blue_spread: the same of l(G) - l(B).
        shading: slope of l(R) - l(G) over l(G), by least squares: pigment darkens green more than red.
        brightness: mean of grey, 0..255.
        contrast: standard deviation of grey.
        octave_1 to octave_5: variance of grey that is lost by each halving of the picture (area average), as the
            natural logarithm of its share of the whole; from fine to coarse.
        flat: share of horizontal and vertical neighbours with equal grey.
        peaked: ln of the mean square over the squared mean of the neighbours' differences: high where few edges
            stand on even ground.
    """

    red_green: float
    red_green_spread: float
    green_blue: float
    green_blue_spread: float
    shading: float
    brightness: float
    contrast: float
    octave_1: float
    octave_2: float
    octave_3: float
    octave_4: float
    octave_5: float
    flat: float
    peaked: float


def measure_appearance(image: NDArray[np.uint8]) -> Appearance:
    """Measures a resized picture: RGB uint8, shape (h, w, 3), at least 64 x 64."""
    logs = cv2.LUT(image, _LOG).reshape(-1, 3)
    means = np.array(cv2.mean(logs.reshape(image.shape))[:3])
    covariance = cv2.mulTransposed(logs, True, dtype=cv2.CV_64F) / len(logs) - np.outer(means, means)
    (red, red_with_green, _), (_, green, green_with_blue), (_, _, blue) = covariance
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    brightness, contrast = _mean_and_spread(grey)
    across, down = cv2.absdiff(grey[:, 1:], grey[:, :-1]), cv2.absdiff(grey[1:], grey[:-1])
    steps = _histogram(across) + _histogram(down)
    sizes, count = np.arange(256.0), across.size + down.size
    mean, square = float(steps @ sizes) / count, float(steps @ sizes**2) / count
    return Appearance(
        red_green=float(means[0] - means[1]),
        red_green_spread=_root(red - 2 * red_with_green + green),
        green_blue=float(means[1] - means[2]),
        green_blue_spread=_root(green - 2 * green_with_blue + blue),
        shading=float((red_with_green - green) / (green + 1e-4)),
        brightness=brightness,
        contrast=contrast,
        **_octaves(grey, contrast**2),
        flat=float(steps[0]) / count,
        peaked=float(np.log(square + 1e-3) - np.log(mean**2 + 1e-3)),
    )


def dermoscopy_score(appearance: Appearance, rule: DermoscopyRule) -> float:
    """How much a picture looks like dermoscopy: the log odds of the bundle's regression, higher is more."""
    score = rule.intercept
    for name, term in rule.terms.items():
        z = (getattr(appearance, name) - term.centre) / term.scale
        z = min(max(z, -rule.clip), rule.clip)
        score += term.weight * z + term.curve * z * z
    return score


def appearance_problem(score: float, rule: DermoscopyRule) -> Problem | None:
    """Why a picture with this score gets no probability, or None."""
    if score >= rule.min_score:
        return None
    return Reason.NOT_DERMOSCOPY, (
        f"The picture does not look like dermoscopy: score {score:.1f}, at least {rule.min_score:.1f} needed."
    )


def familiarity_problem(score: float, rule: FamiliarityRule) -> Problem | None:
    """Why a picture whose segmenter gave this score gets no probability, or None."""
    if score >= rule.threshold:
        return None
    return Reason.NOT_DERMOSCOPY, (
        f"The picture does not look like dermoscopy: familiarity {score:.1f}, at least {rule.threshold:.1f} needed."
    )


def _mean_and_spread(values: NDArray[np.generic]) -> tuple[float, float]:
    mean, deviation = cv2.meanStdDev(values)
    return float(mean[0, 0]), float(deviation[0, 0])


def _root(variance: float) -> float:
    return math.sqrt(max(variance, 0.0))


def _histogram(values: NDArray[np.uint8]) -> NDArray[np.float32]:
    counts: NDArray[np.float32] = cv2.calcHist([values], [0], None, [256], [0, 256]).ravel()
    return counts


def _octaves(grey: NDArray[np.uint8], variance: float) -> dict[str, float]:
    current = grey.astype(np.float32)
    left, found = variance, {}
    for octave in range(1, _OCTAVES + 1):
        height, width = current.shape
        current = cv2.resize(current, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        smaller = _mean_and_spread(current)[1] ** 2
        found[f"octave_{octave}"] = float(np.log((max(left - smaller, 0.0) + 0.05) / (variance + 1.0)))
        left = smaller
    return found
