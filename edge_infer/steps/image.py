"""Picture intake: a path, encoded bytes or an RGB array become one upright 8-bit RGB picture, or a typed error.

Decoding is OpenCV's (5.0 or later), which applies EXIF orientation for every supported format, turns grey, palette,
CMYK and 16-bit samples into 8-bit RGB, and refuses files that are cut short.

What cannot be told: bytes changed in the middle of a JPEG. Its entropy-coded data has no checksum, and nearly every
other string of bits decodes to some picture, mostly without a warning of the decoder either. PNG has checksums.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_infer.errors import (
    ImageAccessError,
    ImageArrayError,
    ImageDecodeError,
    ImageNotFoundError,
    ImageTooLargeError,
)
from edge_infer.steps.header import read_header

ImageInput = str | os.PathLike[str] | bytes | bytearray | memoryview | NDArray[np.uint8]

DEFAULT_MAX_PIXELS = 100_000_000
_REDUCED_FLAGS = {
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


@dataclass(frozen=True, eq=False)
class Picture:
    """An upright picture, possibly decoded at a fraction of its size.

    Attributes:
        pixels: RGB uint8, shape (h, w, 3), decoded at 1/`reduction` of the original size.
        height: rows of the original picture, upright.
        width: columns of the original picture, upright.
        reduction: 1, 2, 4 or 8.
        warnings: what decoding left out.
    """

    pixels: NDArray[np.uint8]
    height: int
    width: int
    reduction: int = 1
    warnings: tuple[str, ...] = ()
    _decode: Callable[[int], NDArray[np.uint8]] | None = field(default=None, repr=False)

    def at(self, reduction: int) -> Picture:
        """The same picture decoded at another reduction."""
        if reduction == self.reduction or self._decode is None:
            return self
        return replace(self, pixels=self._decode(reduction), reduction=reduction)


def open_picture(image: ImageInput, *, max_pixels: int = DEFAULT_MAX_PIXELS, min_side: int | None = None) -> Picture:
    """Opens a picture.

    Args:
        image: path, encoded bytes, or RGB uint8 array of shape (height, width, 3).
        max_pixels: refuse larger pictures, before decoding, by what their header says.
        min_side: a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size as long as its shorter side keeps this many
            pixels; None decodes at full size. Other formats are always decoded at full size.

    Raises:
        ImageNotFoundError, ImageAccessError, ImageDecodeError, ImageTooLargeError, ImageArrayError: see each.
    """
    if isinstance(image, np.ndarray):
        return _from_array(image, max_pixels)
    if isinstance(image, str | os.PathLike):
        data = _read_file(Path(image), max_pixels)
    elif isinstance(image, bytes | bytearray | memoryview):
        data = bytes(image)
    else:
        raise ImageArrayError(
            f"A picture cannot be given as {type(image).__name__}.",
            "Give a path, encoded bytes, or an RGB uint8 array of shape (height, width, 3).",
        )
    header = read_header(data)
    _check_pixels(header.height, header.width, max_pixels)
    reduction = 1
    if header.format == "JPEG" and min_side is not None:
        shorter = min(header.height, header.width)
        reduction = max((factor for factor in (1, 2, 4, 8) if shorter // factor >= min_side), default=1)

    def decode(factor: int) -> NDArray[np.uint8]:
        return _decode(data, factor, header.format)

    pixels = decode(reduction)
    rows, columns = pixels.shape[:2]
    if rows == columns and header.height != header.width:
        # Rounding hid which side is longer, so the EXIF rotation cannot be told from the reduced size.
        reduction, pixels = 1, decode(1)
        rows, columns = pixels.shape[:2]
    if reduction == 1:
        height, width = rows, columns
    else:
        turned = (rows > columns) != (header.height > header.width)
        height, width = (header.width, header.height) if turned else (header.height, header.width)
    return Picture(pixels, height, width, reduction, header.notes, decode)


def _from_array(array: NDArray[np.uint8], max_pixels: int) -> Picture:
    remedy = "Give RGB uint8 of shape (height, width, 3); scale floats to 0..255 and convert grey or RGBA first."
    if array.dtype != np.uint8:
        raise ImageArrayError(f"The array's dtype is {array.dtype}, not uint8.", remedy)
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ImageArrayError(f"The array's shape is {array.shape}, not (height, width, 3).", remedy)
    _check_pixels(array.shape[0], array.shape[1], max_pixels)
    return Picture(np.ascontiguousarray(array), array.shape[0], array.shape[1])


def _check_pixels(height: int, width: int, max_pixels: int) -> None:
    if height * width > max_pixels:
        raise ImageTooLargeError(
            f"The picture has {width}x{height} = {height * width / 1e6:.1f} million pixels, "
            f"more than the limit of {max_pixels / 1e6:g} million.",
            "Make it smaller, or raise max_pixels.",
        )


def _read_file(path: Path, max_pixels: int) -> bytes:
    try:
        if path.is_dir():
            raise ImageNotFoundError(f"'{path}' is a folder, not a picture.", "Give the pictures inside it.")
        if not path.exists():
            raise ImageNotFoundError(f"There is no file {str(path)!r}.", "Check the path.")
        if not path.is_file():
            raise ImageNotFoundError(f"'{path}' is not a regular file.", "Give a picture file, or its bytes.")
        size = path.stat().st_size
        # Uncompressed 16-bit RGBA takes 8 bytes a pixel; metadata gets some room on top.
        if size > 8 * max_pixels + 2**26:
            raise ImageTooLargeError(
                f"'{path}' has {size / 1e6:.0f} MB, more than {max_pixels / 1e6:g} million pixels can need.",
                "Check the file, or raise max_pixels.",
            )
        return path.read_bytes()
    except OSError as error:
        raise ImageAccessError(f"'{path}' cannot be read: {error.strerror}.", "Check its permissions.") from error


def _decode(data: bytes, reduction: int, format: str) -> NDArray[np.uint8]:
    buffer = np.frombuffer(data, np.uint8)
    failure: Exception | None = None
    pixels: NDArray[np.uint8] | None = None
    try:
        if reduction == 1:
            pixels = cv2.imdecode(buffer, cv2.IMREAD_COLOR_RGB)
        else:
            pixels = cv2.imdecode(buffer, _REDUCED_FLAGS[reduction])
            if pixels is not None:
                cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
    except (cv2.error, MemoryError) as error:
        failure = error
    if pixels is None:
        raise ImageDecodeError(
            f"The {format} picture is damaged or cut short.",
            "Check that it was copied or downloaded completely, or export it again.",
        ) from failure
    return pixels
