"""The crop around the lesion that the classifier sees."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_infer.geometry import Box
from edge_infer.rules import Outside, RoiRule
from edge_infer.steps.resize import resize


def lesion_box(mask: NDArray[np.uint8]) -> Box | None:
    """The smallest rectangle around the lesion, or None for an empty mask.

    Examples:
        >>> lesion_box(np.array([[0, 0, 0], [0, 1, 1]], np.uint8))
        Box(x0=1, y0=1, x1=3, y1=2)
    """
    x, y, width, height = cv2.boundingRect(mask)
    return Box(x, y, x + width, y + height) if width and height else None


def roi_box(lesion: Box, height: int, width: int, margin: float, outside: Outside = "pad") -> Box:
    """The region that the classifier sees, in pixels of a picture of the given size.

    A square: its side is the lesion's longer side times (1 + 2 * margin), rounded up, centred on the lesion. A square
    that crosses the picture's edge is shifted back inside. One that is larger than the picture:

    - `pad`, `reflect`: stays partly outside; `crop_roi` makes that part black, or the picture's mirror image.
    - `clip`: is cut at the picture's edges; `crop_roi` stretches the rectangle that is left.
    - `cap`: its side becomes the picture's shorter side, which may cut a lesion that is larger.

    Args:
        lesion: the lesion's box.
        height: the picture's rows.
        width: the picture's columns.
        margin: added on each side, as a fraction of the lesion's longer side.
        outside: which of these.

    Examples:
        >>> roi_box(Box(10, 30, 50, 50), 100, 100, 0.25)  # centred; shifted back from the left edge
        Box(x0=0, y0=10, x1=60, y1=70)
    """
    side = math.ceil(round(max(lesion.x1 - lesion.x0, lesion.y1 - lesion.y0) * (1 + 2 * margin), 6))
    if outside == "cap":
        side = min(side, height, width)

    def place(low: int, high: int, limit: int) -> int:
        start = (low + high - side) // 2
        slack = limit - side
        return min(max(start, min(0, slack)), max(0, slack))

    x0, y0 = place(lesion.x0, lesion.x1, width), place(lesion.y0, lesion.y1, height)
    box = Box(x0, y0, x0 + side, y0 + side)
    if outside == "clip":
        return Box(max(box.x0, 0), max(box.y0, 0), min(box.x1, width), min(box.y1, height))
    return box


def crop_roi(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], box: Box, rule: RoiRule, size: int
) -> NDArray[np.uint8]:
    """Cuts the ROI and resizes it to the classifier's input.

    Args:
        image: RGB uint8, shape (h, w, 3).
        mask: uint8 0/1, shape (h, w): the cleaned lesion mask.
        box: from `roi_box` for this picture size and the rule's `outside`.
        rule: `background="zero"` multiplies the picture by the mask first (the published rule); `"keep"` does not.
        size: side of the result.

    Returns:
        RGB uint8, shape (size, size, 3). Where the box leaves the picture the result is black, or for `reflect` the
        mirror image of what is inside, edge pixels included.
    """
    height, width = image.shape[:2]
    x0, y0, x1, y1 = max(box.x0, 0), max(box.y0, 0), min(box.x1, width), min(box.y1, height)
    inside = image[y0:y1, x0:x1]
    if rule.background == "zero":
        inside = inside * mask[y0:y1, x0:x1, None]
    rows, columns = box.y1 - box.y0, box.x1 - box.x0
    if inside.shape[:2] != (rows, columns):
        edges = (y0 - box.y0, box.y1 - y1, x0 - box.x0, box.x1 - x1)
        kind = cv2.BORDER_REFLECT if rule.outside == "reflect" else cv2.BORDER_CONSTANT
        inside = cv2.copyMakeBorder(inside, *edges, borderType=kind, value=(0, 0, 0))
    return np.ascontiguousarray(resize(inside, size, size))
