"""From a probability map to one clean lesion mask, its box, and the square region of interest (ROI).

The trainer imports these functions, so that the classifier is trained on exactly the crops that it sees in use.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_infer.bundle.manifest import RoiRule
from edge_infer.steps.resize import resize


class Box(NamedTuple):
    """A half-open rectangle in pixels: columns x0..x1-1, rows y0..y1-1. An ROI may reach outside the picture."""

    x0: int
    y0: int
    x1: int
    y1: int


def clean_mask(probability: NDArray[np.float32], threshold: float) -> NDArray[np.uint8]:
    """Thresholds a probability map and keeps its largest region, with the holes closed.

    Regions are 8-connected; the largest is the one whose outer contour encloses the largest area (the last in reading
    order on a tie). Everything else becomes background.

    Args:
        probability: float32, shape (h, w), values 0..1.
        threshold: a pixel belongs to the lesion where probability >= threshold.

    Returns:
        uint8, shape (h, w), values 0 and 1; all zero where no pixel reaches the threshold.
    """
    return largest_region((probability >= threshold).astype(np.uint8))


def largest_region(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Keeps the largest 8-connected region of a 0/1 mask, filled. Shapes and values as in `clean_mask`."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(mask.shape, np.uint8)
    if contours:
        largest = max(contours, key=cv2.contourArea)
        cv2.drawContours(filled, [largest], -1, 1, thickness=cv2.FILLED)
    return filled


def lesion_confidence(probability: NDArray[np.float32], mask: NDArray[np.uint8]) -> float:
    """How sure the segmenter is of its outline: the mean probability over the cleaned lesion, 0..1.

    Segmenters outline bare skin too, but with values near their threshold; inside true lesions they are near 1.

    Args:
        probability: float32, shape (h, w).
        mask: the cleaned mask of the same shape, before `restore_mask`.

    Returns:
        The mean, or 0 for an empty mask.
    """
    inside = probability[mask == 1]
    return float(inside.mean()) if inside.size else 0.0


def restore_mask(mask: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Brings a 0/1 mask to another size with a smooth border: resize 0/255, then keep values >= 128.

    Returns:
        uint8, shape (height, width), values 0 and 1.
    """
    return (resize(mask * np.uint8(255), height, width) >= 128).view(np.uint8)


def lesion_box(mask: NDArray[np.uint8]) -> Box | None:
    """The smallest rectangle around the lesion, or None for an empty mask."""
    x, y, width, height = cv2.boundingRect(mask)
    return Box(x, y, x + width, y + height) if width and height else None


def roi_box(lesion: Box, height: int, width: int, margin: float) -> Box:
    """The square that the classifier sees, in pixels of a picture of the given size.

    Its side is the lesion's longer side times (1 + 2 * margin), rounded up, centred on the lesion. A square that
    crosses the picture's edge is shifted back inside; only where it is larger than the picture does it stay partly
    outside, and `crop_roi` pads that part. Nothing is stretched either way.

    Args:
        lesion: the lesion's box.
        height: the picture's rows.
        width: the picture's columns.
        margin: added on each side, as a fraction of the lesion's longer side.
    """
    side = math.ceil(round(max(lesion.x1 - lesion.x0, lesion.y1 - lesion.y0) * (1 + 2 * margin), 6))

    def place(low: int, high: int, limit: int) -> int:
        start = (low + high - side) // 2
        slack = limit - side
        return min(max(start, min(0, slack)), max(0, slack))

    x0, y0 = place(lesion.x0, lesion.x1, width), place(lesion.y0, lesion.y1, height)
    return Box(x0, y0, x0 + side, y0 + side)


def crop_roi(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], box: Box, rule: RoiRule, size: int
) -> NDArray[np.uint8]:
    """Cuts the ROI and resizes it to the classifier's input.

    Args:
        image: RGB uint8, shape (h, w, 3).
        mask: uint8 0/1, shape (h, w): the cleaned lesion mask.
        box: from `roi_box` for this picture size.
        rule: `background="zero"` multiplies the picture by the mask first (the published rule); `"keep"` does not.
        size: side of the result.

    Returns:
        RGB uint8, shape (size, size, 3). Where the box leaves the picture the result is black.
    """
    height, width = image.shape[:2]
    x0, y0, x1, y1 = max(box.x0, 0), max(box.y0, 0), min(box.x1, width), min(box.y1, height)
    inside = image[y0:y1, x0:x1]
    if rule.background == "zero":
        inside = inside * mask[y0:y1, x0:x1, None]
    side = box.x1 - box.x0
    if inside.shape[:2] != (side, side):
        padded = np.zeros((side, side, 3), np.uint8)
        padded[y0 - box.y0 : y1 - box.y0, x0 - box.x0 : x1 - box.x0] = inside
        inside = padded
    return np.ascontiguousarray(resize(inside, size, size))
