"""Encoded picture files: what cameras, phones and web pages write, and what is damaged."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
_DISPLAY_P3 = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
"""Red, green and blue of Display P3 as XYZ, adapted to D50."""


def jpeg(image: NDArray[np.uint8], quality: int = 92, *, halved: bool = False, progressive: bool = False) -> bytes:
    """RGB or grey as JPEG; `halved` stores colour at half the size (4:2:0)."""
    factor = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if halved else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    return _encode(".jpg", image, [*options, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor])


def png(image: Pixels) -> bytes:
    """Grey, RGB or RGBA, of 8 or 16 bits."""
    return _encode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 9])


def webp(image: Pixels, quality: int) -> bytes:
    """RGB as WebP; a quality above 100 is lossless."""
    return _encode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, quality])


def palette_png(indices: NDArray[np.uint8], colours: NDArray[np.uint8], alpha: bytes = b"") -> bytes:
    """A PNG of at most 256 colours.

    Args:
        indices: of each pixel's colour.
        colours: RGB, shape (n, 3).
        alpha: of the first colours, 0 transparent to 255 opaque; the others are opaque.
    """
    rows = b"".join(b"\0" + row.tobytes() for row in indices)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", indices.shape[1], indices.shape[0], 8, 3, 0, 0, 0)),
        (b"PLTE", colours.tobytes()),
        *([(b"tRNS", alpha)] if alpha else []),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(kind, body) for kind, body in chunks)


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_key(data: bytes, *samples: int) -> bytes:
    """A PNG with a colour, or a grey, that stands for transparency."""
    return data[:33] + _png_chunk(b"tRNS", struct.pack(f">{len(samples)}H", *samples)) + data[33:]


def with_orientation(data: bytes, orientation: int) -> bytes:
    """A JPEG or PNG with an EXIF orientation, 1 to 8."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)
    if data.startswith(b"\x89PNG"):
        return data[:33] + _png_chunk(b"eXIf", exif) + data[33:]
    return _with_segment(data, 0xE1, b"Exif\0\0" + exif)


def with_display_p3(data: bytes) -> bytes:
    """A JPEG that says that its colours are Display P3's."""
    return _with_segment(data, 0xE2, b"ICC_PROFILE\0\x01\x01" + _profile())


def _profile() -> bytes:
    """A matrix profile of ICC version 2 with gamma 2.2."""

    def fixed(values: tuple[float, ...]) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    name = b"Display P3\0"
    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(2.2 * 256), 0)
    described = b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(78)
    tags: dict[bytes, bytes] = {
        b"desc": described + bytes(-len(described) % 4),
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
        b"wtpt": b"XYZ \0\0\0\0" + fixed((0.9642, 1.0, 0.8249)),
        **{
            colour + b"XYZ": b"XYZ \0\0\0\0" + fixed(xyz)
            for colour, xyz in zip((b"r", b"g", b"b"), _DISPLAY_P3, strict=True)
        },
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    table, body, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        table += tag + struct.pack(">II", offset + len(body), len(content))
        body += content
    head = struct.pack(">I4sI4s4s4s", 0, b"\0\0\0\0", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + fixed((0.9642, 1.0, 0.8249))
    profile = head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
    return struct.pack(">I", len(profile)) + profile[4:]


def _with_segment(data: bytes, marker: int, content: bytes) -> bytes:
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + data[2:]


def _encode(suffix: str, image: Pixels, options: list[int]) -> bytes:
    order = {2: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[image.shape[2] if image.ndim == 3 else 2]
    encoded: NDArray[np.uint8] = cv2.imencode(suffix, image if order is None else cv2.cvtColor(image, order), options)[
        1
    ]
    return encoded.tobytes()
