"""Is the picture usable, and is the lesion? Cheap measures, compared with the bundle's limits.

The measures are taken on the resized picture, so that they mean the same at every camera resolution.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_infer.reasons import Problem, Reason
from edge_infer.rules import MaskRule, QualityLimits


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
    contrast = float(deviation[0, 0])
    # Rounding leaves a uniform picture less than this, and few others have so little.
    if contrast < 0.001 and grey.min() == grey.max():
        return Quality(float(mean[0, 0]), 0.0, 0.0)
    _, laplacian = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S, ksize=1))
    return Quality(float(mean[0, 0]), contrast, float(laplacian[0, 0] / contrast) ** 2)


def picture_problem(height: int, width: int, quality: Quality, limits: QualityLimits) -> Problem | None:
    """The first limit that a picture of this original size breaks, or None."""
    if min(height, width) < limits.min_side:
        return Reason.PICTURE_TOO_SMALL, (
            f"The picture is too small: its shorter side has {min(height, width)} pixels, "
            f"at least {limits.min_side} needed."
        )
    return quality_problem(quality, limits)


def lesion_problem(area_fraction: float, confidence: float, rule: MaskRule) -> Problem | None:
    """Why a lesion is refused, or None.

    Args:
        area_fraction: lesion pixels over all pixels; 0 where none was found.
        confidence: see `edge_infer.steps.mask.lesion_confidence`.
        rule: the bundle's limits.
    """
    if area_fraction == 0:
        return Reason.NO_LESION, "No lesion was found."
    if confidence < rule.min_confidence:
        return Reason.LESION_UNCERTAIN, (
            f"The outline is uncertain, as on bare skin: its mean probability is {confidence:.2f}, "
            f"at least {rule.min_confidence:.2f} needed."
        )
    if area_fraction < rule.min_area_fraction:
        return Reason.LESION_TOO_SMALL, (
            f"The lesion covers {area_fraction:.2%} of the picture; at least {rule.min_area_fraction:.2%} needed."
        )
    if area_fraction > rule.max_area_fraction:
        return Reason.LESION_FILLS_FRAME, (
            f"The lesion covers {area_fraction:.0%} of the picture; at most {rule.max_area_fraction:.0%} allowed."
        )
    return None


def quality_problem(quality: Quality, limits: QualityLimits) -> Problem | None:
    """The first limit that the measures break, or None."""
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
