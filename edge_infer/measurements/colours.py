"""The six colours of the ABCD rule, counted in a lesion."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

COLOURS = ("white", "red", "light brown", "dark brown", "blue-grey", "black")
"""Nachbar et al. 1994: the colours that the ABCD rule of dermatoscopy counts, in their order."""

REFERENCES: dict[str, tuple[int, int, int]] = {
    "red": (186, 72, 78),
    "light brown": (168, 112, 82),
    "dark brown": (98, 58, 46),
    "blue-grey": (98, 108, 128),
    "black": (34, 28, 30),
}
"""sRGB. The rule names colours and gives no values: these are ours, so are the limits below."""
LIGHTER = 8.0
"""White is what is lighter than the skin around the lesion (Nachbar et al.): by so much of CIELAB's L* at least."""
LEAST_SHARE = 0.05
"""A colour counts where it has this share of the lesion."""
_NONE = len(COLOURS)
_RING = 0.15


def colour_map(pixels: NDArray[np.uint8], lesion: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Which of `COLOURS` each pixel has, by the nearest reference in CIELAB (CIE 1976), after a 5 x 5 median.

    A pixel that is nearer to the median colour of the skin around the lesion than to any reference has none, and white
    is what is lighter than that skin and closer to grey than to any colour.

    Args:
        pixels: RGB uint8, shape (h, w, 3).
        lesion: uint8 0/1, shape (h, w): its surroundings are the skin.

    Returns:
        uint8 (h, w), an index of `COLOURS` or one more for none; None where there is no skin around the lesion.
    """
    reach = max(3, round(_RING * float(np.sqrt(cv2.countNonZero(lesion)))))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    ring = (cv2.dilate(lesion, kernel) == 1) & (lesion == 0)
    # The dark corners of a round field of view are no skin.
    ring &= cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) > 40
    if np.count_nonzero(ring) < 50:
        return None
    lab = _lab(cv2.medianBlur(pixels, 5))
    skin = np.median(lab[ring], axis=0)
    names = list(REFERENCES)
    points = np.vstack((_lab(np.array([list(REFERENCES.values())], np.uint8))[0], skin))
    distances = np.stack([((lab - point) ** 2).sum(-1) for point in points.astype(np.float32)], -1)
    indices = np.array([COLOURS.index(name) for name in names] + [_NONE], np.uint8)
    found: NDArray[np.uint8] = indices[distances.argmin(-1)]
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    white = (lab[..., 0] > skin[0] + LIGHTER) & (chroma < max(float(np.hypot(skin[1], skin[2])), 12.0))
    found[white] = COLOURS.index("white")
    return found


def colour_shares(found: NDArray[np.uint8], lesion: NDArray[np.uint8]) -> dict[str, float]:
    """Share of the lesion by colour, from `colour_map`; together less than 1 where parts have the colour of skin."""
    counts = np.bincount(found[lesion == 1], minlength=_NONE + 1)
    return {name: float(counts[number] / max(counts.sum(), 1)) for number, name in enumerate(COLOURS)}


def count_colours(shares: dict[str, float]) -> int:
    """How many of the six have at least `LEAST_SHARE`."""
    return sum(share >= LEAST_SHARE for share in shares.values())


def _lab(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    lab: NDArray[np.float32] = cv2.cvtColor(pixels.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB)
    return lab
