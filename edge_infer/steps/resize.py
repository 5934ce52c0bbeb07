"""From a decoded picture to what a network takes: resizing and batching. The trainer uses these same functions."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray


def resize(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resizes a picture or mask, the one way that training and serving share.

    Area interpolation where no axis grows (it averages every source pixel, so shrinking does not alias), bilinear
    otherwise. The aspect ratio is not kept: callers that must not stretch pass a square.

    Args:
        image: uint8, shape (h, w) or (h, w, c).
        height: rows of the result.
        width: columns of the result.

    Returns:
        uint8, shape (height, width) or (height, width, c); the input itself where the size already fits.

    Examples:
        >>> resize(np.array([[0, 100], [200, 100]], np.uint8), 1, 2).tolist()
        [[100, 100]]
    """
    rows, columns = image.shape[:2]
    if (rows, columns) == (height, width):
        return image
    resized: NDArray[np.uint8]
    if height > rows or width > columns:
        resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    else:
        resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return resized


def to_batch(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """RGB pictures of one size as the networks' input: uint8, shape (n, height, width, 3), contiguous.

    Several are copied; the batch of a single one is a view of it, as a network reads its input and changes nothing.
    """
    return np.ascontiguousarray(images[0])[None] if len(images) == 1 else np.stack(images)
