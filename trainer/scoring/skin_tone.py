"""Skin tone, estimated from the skin that a dermoscopic picture shows around the lesion.

The individual typology angle (Chardon, Cretois and Hourseau, Int J Cosmet Sci 1991) is meant for a calibrated
colorimeter. Pictures carry their camera's white balance and exposure, so that it is an estimate here, good enough to
see whether figures differ between lighter and darker skin and not to name a person's.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

GROUPS = ((55.0, "very light"), (41.0, "light"), (28.0, "intermediate"), (10.0, "tan"), (-30.0, "brown"))
"""Angles above which skin counts as such (Del Bino and Bernerd, Br J Dermatol 2013); `DARKEST` is at or below all."""
DARKEST = "dark"

LEAST_SKIN = 0.05
"""Share of the picture that must be skin in the bright field."""
_BRIGHT = 0.7
_BRIGHTEST = 0.95
_BESIDE = 0.03


def typology_angle(image: NDArray[np.uint8], lesion: NDArray[np.uint8]) -> float | None:
    """atan((L* - 50) / b*) in degrees, of the median CIELAB colour of the skin around the lesion.

    Skin is what lies outside the lesion, by 3 % of the width, and is at least 0.7 times as bright (L*) as the bright
    end of what lies there: that leaves out the dark surround of a round field of view, vignettes and hair.

    Args:
        image: RGB uint8, shape (h, w, 3), as sRGB.
        lesion: 0/1 uint8, shape (h, w).

    Returns:
        -90..90, larger for lighter skin; None where less than `LEAST_SKIN` of the picture is skin.
    """
    reach = max(1, round(_BESIDE * image.shape[1]))
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    outside = cv2.dilate(lesion, kernel) == 0
    if outside.mean() < LEAST_SKIN:
        return None
    colour = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[outside]
    skin = colour[colour[:, 0] >= _BRIGHT * np.quantile(colour[:, 0], _BRIGHTEST)]
    if len(skin) < LEAST_SKIN * lesion.size:
        return None
    lightness, _, yellow = np.median(skin, axis=0)
    if yellow <= 0:  # a bluish cast, which no skin has: only the limit of the angle can be said
        return float(np.copysign(90.0, lightness - 50))
    return round(float(np.degrees(np.arctan((lightness - 50) / yellow))), 2)


def skin_group(angle: float | None) -> str:
    """The name of an angle's group."""
    if angle is None:
        return "unknown"
    return next((name for limit, name in GROUPS if angle > limit), DARKEST)
