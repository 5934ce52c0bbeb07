"""Does a picture look like dermoscopy? Colour and texture measures, weighed by the bundle.

Dermoscopy shows skin from close by under even light: few hues, red above green and blue, hardly any flat surface, and
detail at every scale in the same proportions. Photographs, documents, drawings and textures break one or the other.
The weights come from the trainer (a logistic regression); the measures are taken on the resized picture.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_infer.bundle import DermoscopyRule
from edge_infer.quality import Problem
from edge_infer.results import Reason

_LOG = np.log(np.arange(256, dtype=np.float32) + 8)
_OCTAVES = 5


class Appearance(NamedTuple):
    """Measures of one picture, with l(x) = ln(x + 8) of a channel and grey as in `edge_infer.quality`.

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
    red, green, blue = cv2.split(cv2.LUT(image, _LOG))
    red_green, green_blue = cv2.subtract(red, green), cv2.subtract(green, blue)
    (rg, rg_spread), (gb, gb_spread), (_, depth) = map(_mean_and_spread, (red_green, green_blue, green))
    covariance = cv2.mean(cv2.multiply(red_green, green))[0] - rg * cv2.mean(green)[0]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    brightness, contrast = _mean_and_spread(grey)
    across, down = cv2.absdiff(grey[:, 1:], grey[:, :-1]), cv2.absdiff(grey[1:], grey[:-1])
    steps = np.bincount(across.ravel(), minlength=256) + np.bincount(down.ravel(), minlength=256)
    sizes, count = np.arange(256.0), int(steps.sum())
    mean, square = float(steps @ sizes) / count, float(steps @ sizes**2) / count
    return Appearance(
        rg,
        rg_spread,
        gb,
        gb_spread,
        covariance / (depth**2 + 1e-4),
        brightness,
        contrast,
        *_octaves(grey, contrast**2),
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


def _mean_and_spread(values: NDArray[np.generic]) -> tuple[float, float]:
    mean, deviation = cv2.meanStdDev(values)
    return float(mean[0, 0]), float(deviation[0, 0])


def _octaves(grey: NDArray[np.uint8], variance: float) -> tuple[float, float, float, float, float]:
    current = grey.astype(np.float32)
    left, found = variance, []
    for _ in range(_OCTAVES):
        height, width = current.shape
        current = cv2.resize(current, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        smaller = _mean_and_spread(current)[1] ** 2
        found.append(float(np.log((max(left - smaller, 0.0) + 0.05) / (variance + 1.0))))
        left = smaller
    first, second, third, fourth, fifth = found
    return first, second, third, fourth, fifth
