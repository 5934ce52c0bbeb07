"""From a probability map to one clean lesion mask, its box, and the region of interest (ROI).

The trainer imports these functions, so that the classifier is trained on exactly the crops that it sees in use.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_infer.geometry import Box
from edge_infer.steps.crop import lesion_box
from edge_infer.steps.resize import resize


class Restored(NamedTuple):
    """A lesion at the picture's size.

    Attributes:
        mask: uint8 0/1, the picture's shape.
        box: the smallest rectangle around the lesion; None for an empty mask.
        pixels: of the lesion.
    """

    mask: NDArray[np.uint8]
    box: Box | None
    pixels: int


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
    return largest_region((probability >= threshold).view(np.uint8))


def largest_region(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Keeps the largest 8-connected region of a 0/1 mask, filled. Shapes and values as in `clean_mask`.

    Examples:
        >>> ring_and_dot = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 0, 1], [1, 1, 1, 0, 0]], np.uint8)
        >>> largest_region(ring_and_dot).tolist()
        [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0]]
    """
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(mask.shape, np.uint8)
    if contours:
        largest = max(contours, key=cv2.contourArea) if len(contours) > 1 else contours[0]
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
    inside = probability[mask.view(np.bool_)]
    return float(inside.mean()) if inside.size else 0.0


def restore_mask(mask: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Brings a 0/1 mask to another size with a smooth border: resize 0/255, then keep values >= 128.

    Returns:
        uint8, shape (height, width), values 0 and 1.
    """
    restored = resize(mask * np.uint8(255), height, width)
    cv2.threshold(restored, 127, 1, cv2.THRESH_BINARY, dst=restored)
    return restored


def restore_lesion(mask: NDArray[np.uint8], height: int, width: int) -> Restored:
    """`restore_mask` with its `lesion_box` and its count of pixels, which are looked for where the lesion can be.

    Args:
        mask: the cleaned mask, 0/1; what it leaves empty stays empty at the other size, but for a margin of a pixel.
        height: rows of the result.
        width: its columns.
    """
    found = lesion_box(mask)
    if found is None:
        return Restored(np.zeros((height, width), np.uint8), None, 0)
    tall, wide = height / mask.shape[0], width / mask.shape[1]
    top, left = max(math.floor((found.y0 - 1) * tall) - 1, 0), max(math.floor((found.x0 - 1) * wide) - 1, 0)
    bottom, right = math.ceil((found.y1 + 1) * tall) + 1, math.ceil((found.x1 + 1) * wide) + 1
    restored = resize(mask * np.uint8(255), height, width)
    window = restored[top:bottom, left:right]
    cv2.threshold(window, 127, 1, cv2.THRESH_BINARY, dst=window)
    box = lesion_box(window)
    if box is None:
        return Restored(restored, None, 0)
    count = cv2.countNonZero(window[box.y0 : box.y1, box.x0 : box.x1])
    return Restored(restored, Box(box.x0 + left, box.y0 + top, box.x1 + left, box.y1 + top), count)
