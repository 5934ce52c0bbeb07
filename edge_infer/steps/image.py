"""Picture intake: a path, encoded bytes or an RGB array become one upright 8-bit RGB picture, or a typed error.

Decoding is OpenCV's (5.0 or later), which applies EXIF orientation for every supported format, turns grey, palette,
CMYK and 16-bit samples into 8-bit RGB, and refuses files that are cut short. HEIC alone is libheif's.

What cannot be told: bytes changed in the middle of a JPEG. Its entropy-coded data has no checksum, and nearly every
other string of bits decodes to some picture, mostly without a warning of the decoder either. Where it warns and
`edge_infer.steps.native` listens, so does the picture. PNG has checksums.

Bounds, all checked before anything is allocated: pixels (`max_pixels`), bytes of a file (8 a pixel and 64 MB), scans of
a JPEG (`edge_infer.steps.header.MAX_JPEG_SCANS`). Decoding then takes at most 12 bytes a pixel beside the file.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

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
from edge_infer.steps.container import for_decoder
from edge_infer.steps.header import Header, grey_key, read_header
from edge_infer.steps.heif import decode_heif, is_heif
from edge_infer.steps.native import decoding

DEFAULT_MAX_PIXELS = 100_000_000
_IGNORED = "Transparency was ignored."
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
        mm_per_pixel: of the original picture, where its file states it.
    """

    pixels: NDArray[np.uint8]
    height: int
    width: int
    reduction: int = 1
    warnings: tuple[str, ...] = ()
    _decode: Callable[[int], NDArray[np.uint8]] | None = field(default=None, repr=False)
    mm_per_pixel: float | None = None

    def at(self, reduction: int) -> Picture:
        """The same picture decoded at another reduction."""
        if reduction == self.reduction or self._decode is None:
            return self
        return replace(self, pixels=self._decode(reduction), reduction=reduction)


@runtime_checkable
class PictureSource(Protocol):
    """A picture of a format that is read elsewhere, such as `edge_infer.dicom.reading.DicomPicture`."""

    @property
    def name(self) -> str | None:
        """How results refer to it."""

    def open_picture(self, max_pixels: int) -> Picture:
        """Decodes it at full size, upright; raises ImageError as `open_picture` does."""


ImageInput = str | os.PathLike[str] | bytes | bytearray | memoryview | NDArray[np.uint8] | PictureSource


def open_picture(image: ImageInput, *, max_pixels: int = DEFAULT_MAX_PIXELS, min_side: int | None = None) -> Picture:
    """Opens a picture.

    Args:
        image: path, encoded bytes, RGB uint8 array of shape (height, width, 3), or a source that opens itself.
        max_pixels: refuse larger pictures, before decoding, by what their header says.
        min_side: a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size as long as its shorter side keeps this many
            pixels; None decodes at full size. Other formats are always decoded at full size.

    Raises:
        ImageNotFoundError, ImageAccessError, ImageDecodeError, ImageUnsupportedError, ImageTooLargeError,
        ImageArrayError: see each.
    """
    if isinstance(image, np.ndarray):
        return _from_array(image, max_pixels)
    if isinstance(image, str | os.PathLike):
        data = read_file(Path(image), max_pixels)
    elif isinstance(image, bytes | bytearray | memoryview):
        data = bytes(image)
    elif isinstance(image, PictureSource):
        return image.open_picture(max_pixels)
    else:
        raise ImageArrayError(
            f"A picture cannot be given as {type(image).__name__}.",
            "Give a path, encoded bytes, or an RGB uint8 array of shape (height, width, 3).",
        )
    if is_heif(data):
        return _from_heif(data, max_pixels)
    header = read_header(data)
    check_pixels(header.height, header.width, max_pixels)
    reduction = 1
    if header.format == "JPEG" and min_side is not None:
        shorter = min(header.height, header.width)
        reduction = max((factor for factor in (1, 2, 4, 8) if shorter // factor >= min_side), default=1)

    encoded = for_decoder(data, header.format)
    damage: list[str] = []

    def decode(factor: int) -> NDArray[np.uint8]:
        return _decode(encoded, factor, header, damage)

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
    notes = [*header.notes, *([_IGNORED] if _has_alpha(encoded, header) else [])]
    notes += [f"The picture is damaged, and parts of it may be wrong. The decoder: {damage[0]}"] if damage else []
    return Picture(pixels, height, width, reduction, tuple(notes), decode)


def _from_array(array: NDArray[np.uint8], max_pixels: int) -> Picture:
    remedy = "Give RGB uint8 of shape (height, width, 3); scale floats to 0..255 and convert grey or RGBA first."
    if array.dtype != np.uint8:
        raise ImageArrayError(f"The array's dtype is {array.dtype}, not uint8.", remedy)
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ImageArrayError(f"The array's shape is {array.shape}, not (height, width, 3).", remedy)
    check_pixels(array.shape[0], array.shape[1], max_pixels)
    return Picture(np.ascontiguousarray(array), array.shape[0], array.shape[1])


def _from_heif(data: bytes, max_pixels: int) -> Picture:
    stored, notes = decode_heif(data, lambda height, width: check_pixels(height, width, max_pixels))
    if stored.shape[2] == 4 and _changes_what_is_seen(stored[..., 3], "HEIC"):
        notes = (*notes, _IGNORED)
    pixels = np.ascontiguousarray(stored[..., :3])
    return Picture(pixels, pixels.shape[0], pixels.shape[1], warnings=notes)


def check_pixels(height: int, width: int, max_pixels: int) -> None:
    """Raises ImageTooLargeError where a picture of this size is over the limit."""
    if height * width > max_pixels:
        raise ImageTooLargeError(
            f"The picture has {width}x{height} = {height * width / 1e6:.1f} million pixels, "
            f"more than the limit of {max_pixels / 1e6:g} million.",
            "Make it smaller, or raise max_pixels.",
        )


def read_file(path: Path, max_pixels: int) -> bytes:
    """A regular file's bytes.

    It is opened once and then asked what it is: a name that is given another file meanwhile deceives nobody.

    Raises:
        ImageNotFoundError, ImageAccessError: there is no such file, or it cannot be read.
        ImageTooLargeError: it has more bytes than `max_pixels` pixels can need.
    """
    try:
        # Opening a FIFO without O_NONBLOCK waits until somebody writes to it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            return _read_regular(descriptor, path, max_pixels)
        finally:
            os.close(descriptor)
    except IsADirectoryError as error:
        raise ImageNotFoundError(f"'{path}' is a folder, not a picture.", "Give the pictures inside it.") from error
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise ImageNotFoundError(f"There is no file {str(path)!r}.", "Check the path.") from error
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise _not_regular(path) from error
        if os.path.isdir(path):  # noqa: PTH112 - Windows says "permission denied" for folders; this raises nothing
            raise ImageNotFoundError(f"'{path}' is a folder, not a picture.", "Give the pictures inside it.") from error
        raise ImageAccessError(f"'{path}' cannot be read: {error.strerror}.", "Check its permissions.") from error


def _read_regular(descriptor: int, path: Path, max_pixels: int) -> bytes:
    found = os.fstat(descriptor)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError
    if not stat.S_ISREG(found.st_mode):
        raise _not_regular(path)
    # Uncompressed 16-bit RGBA takes 8 bytes a pixel; metadata gets some room on top.
    limit, size = 8 * max_pixels + 2**26, found.st_size
    parts: list[bytes] = []
    while size <= limit:
        # A file of /proc says that it has 0 bytes, and one that is being written grows meanwhile.
        part = os.read(descriptor, max(found.st_size, 2**16) + 1)
        if not part:
            return parts[0] if len(parts) == 1 else b"".join(parts)
        parts.append(part)
        size = max(size, sum(map(len, parts)))
    raise ImageTooLargeError(
        f"'{path}' has {size / 1e6:.0f} MB, more than {max_pixels / 1e6:g} million pixels can need.",
        "Check the file, or raise max_pixels.",
    )


def _not_regular(path: Path) -> ImageNotFoundError:
    return ImageNotFoundError(f"'{path}' is not a regular file.", "Give a picture file, or its bytes.")


def _decode(data: bytes, reduction: int, header: Header, damage: list[str]) -> NDArray[np.uint8]:
    buffer = np.frombuffer(data, np.uint8)
    flags = cv2.IMREAD_COLOR_RGB if reduction == 1 else _REDUCED_FLAGS[reduction]
    failure: Exception | None = None
    pixels: NDArray[np.uint8] | None = None
    try:
        pixels, said = decoding(lambda: cv2.imdecode(buffer, flags))
        if said is not None:
            damage.append(said)
    except (cv2.error, MemoryError) as error:
        failure = error
    if pixels is None:
        raise ImageDecodeError(
            f"The {header.format} picture is damaged or cut short.",
            "Check that it was copied or downloaded completely, or export it again.",
        ) from failure
    expected = sorted(-(-side // reduction) for side in (header.height, header.width))
    if any(abs(side - want) > 1 for side, want in zip(sorted(pixels.shape[:2]), expected, strict=True)):
        raise ImageDecodeError(
            f"The {header.format} header promises {header.width}x{header.height} pixels, and the file holds another "
            "picture.",
            "Export the picture again.",
        )
    if reduction != 1:
        cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
    return pixels


def _has_alpha(data: bytes, header: Header) -> bool:
    """Whether a transparency was left out that changes what is seen.

    Raises:
        ImageDecodeError: pixels are wholly transparent; the colours that are stored there are nobody's picture.
    """
    if not header.alpha:
        return False
    try:
        pixels, _ = decoding(lambda: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))
    except (cv2.error, MemoryError):
        return True
    if pixels is not None and pixels.ndim == 2 and header.format == "PNG" and (key := grey_key(data)) is not None:
        return _changes_what_is_seen((pixels != key) * np.uint8(255), header.format)
    if pixels is None or pixels.ndim != 3 or pixels.shape[2] != 4:
        return True
    return _changes_what_is_seen(pixels[..., 3], header.format)


def _changes_what_is_seen(alpha: NDArray[np.uint8], format: str) -> bool:
    alpha = np.ascontiguousarray(alpha)
    hidden = alpha.size - cv2.countNonZero(alpha)
    if hidden:
        raise ImageDecodeError(
            f"The {format} picture is transparent in {hidden / alpha.size:.2%} of its pixels: the colours that "
            "are stored there are not those of a photograph.",
            "Save the picture without transparency, as JPEG for example.",
        )
    return bool((alpha != np.iinfo(alpha.dtype).max).any())
