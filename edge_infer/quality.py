"""Is the picture usable at all? Cheap measures on the segmenter's input, compared with the bundle's limits.

The measures are taken on the resized picture, so that they mean the same at every camera resolution.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_infer.bundle import QualityLimits
from edge_infer.results import Reason


class Quality(NamedTuple):
    """Measures of one picture.

    Attributes:
        luminance: mean grey value, 0 (black) to 255 (white).
        contrast: standard deviation of the grey values, 0 to 127.5.
        sharpness: variance of the Laplacian (Pech-Pacheco et al., ICPR 2000) divided by the variance of the grey
            values: it falls with blur and, being a ratio, does not depend on contrast. 0 for a uniform picture.
    """

    luminance: float
    contrast: float
    sharpness: float


def measure_quality(image: NDArray[np.uint8]) -> Quality:
    """Measures a resized picture: RGB uint8, shape (h, w, 3)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    mean, deviation = cv2.meanStdDev(grey)
    darkest, brightest, _, _ = cv2.minMaxLoc(grey)
    if darkest == brightest:
        return Quality(float(mean[0, 0]), 0.0, 0.0)
    contrast = float(deviation[0, 0])
    _, laplacian = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_32F, ksize=1))
    return Quality(float(mean[0, 0]), contrast, float(laplacian[0, 0] / contrast) ** 2)


def quality_problem(quality: Quality, limits: QualityLimits) -> tuple[Reason, str] | None:
    """The first limit that the picture breaks, with a sentence for people, or None."""
    luminance, contrast, sharpness = quality
    if contrast == 0:
        return Reason.BLANK, "The picture is blank: all pixels have the same brightness."
    floors = (
        (Reason.TOO_DARK, "too dark", "mean brightness", luminance, limits.min_luminance),
        (Reason.UNIFORM, "nearly uniform", "contrast", contrast, limits.min_contrast),
        (Reason.BLURRED, "blurred", "sharpness", sharpness, limits.min_sharpness),
    )
    if luminance > limits.max_luminance:
        return Reason.OVEREXPOSED, (
            f"The picture is overexposed: mean brightness {luminance:.3g}, at most {limits.max_luminance:.3g} allowed."
        )
    for reason, adjective, measure, value, floor in floors:
        if value < floor:
            return reason, f"The picture is {adjective}: {measure} {value:.3g}, at least {floor:.3g} needed."
    return None
