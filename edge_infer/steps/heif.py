"""HEIC, the pictures of iPhones: decoded by libheif, which the extra `[heif]` brings; without it refused by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_infer.errors import ImageDecodeError, ImageUnsupportedError

_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})


def is_heif(data: bytes) -> bool:
    """Whether the first bytes say so. AVIF, which has another codec, is not meant."""
    return data[4:8] == b"ftyp" and data[8:12] in _BRANDS


def decode_heif(data: bytes, check: Callable[[int, int], None]) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """The first picture of a file, upright, and what was left out.

    Args:
        data: of the file.
        check: is told height and width before anything is decoded, and may raise.

    Returns:
        RGB or RGBA, uint8, shape (h, w, 3 or 4).

    Raises:
        ImageUnsupportedError: the extra is not installed, or libheif does not know this kind of file.
        ImageDecodeError: damaged or cut short.
    """
    try:
        pillow_heif: Any = importlib.import_module("pillow_heif")
    except ImportError as error:
        raise ImageUnsupportedError(
            "HEIC pictures are not decoded here: libheif is not installed.",
            "Install it with: pip install 'edge-infer[heif]', or convert the picture to JPEG first.",
        ) from error
    try:
        file = pillow_heif.open_heif(data, convert_hdr_to_8bit=True)
        width, height = file.size
    except (ValueError, RuntimeError, EOFError, SyntaxError, OSError) as error:
        raise ImageUnsupportedError(
            f"libheif cannot open this HEIC picture: {error}.", "Convert the picture to JPEG first."
        ) from error
    check(height, width)
    try:
        stored = np.asarray(file)
    except (ValueError, RuntimeError, EOFError, SyntaxError, OSError, MemoryError) as error:
        raise ImageDecodeError(
            f"The HEIC picture is damaged or cut short: {error}.",
            "Check that it was copied or downloaded completely, or export it again.",
        ) from error
    if stored.ndim == 2:
        stored = np.repeat(stored[..., None], 3, axis=2)
    notes = []
    if "icc_profile" in file.info:
        notes.append("The embedded colour profile was not applied; colours may be off.")
    if len(file) > 1:
        notes.append("The file holds several pictures; the first was used.")
    return np.ascontiguousarray(stored), tuple(notes)
