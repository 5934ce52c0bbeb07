"""A picture file without what its decoder does not need: what is left out cannot be misread, warned of, or be a bomb.

- PNG: only the chunks that make the still picture stay. Text, colour profiles and other ancillary chunks go, and so do
  the frames of an animation, of which OpenCV would otherwise give a later one.
- WebP: EXIF data stays, without the six bytes `Exif\\0\\0` that some writers put before it and OpenCV does not expect.
- Other formats are passed on as they are.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from edge_infer.errors import ImageDecodeError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"IEND"})
_CHECKED = frozenset({b"PLTE", b"tRNS", b"eXIf"})


def for_decoder(data: bytes, format: str) -> bytes:
    """The bytes that the decoder gets.

    Args:
        data: an encoded picture.
        format: as in `edge_infer.steps.header.Header`.

    Raises:
        ImageDecodeError: a chunk that is needed is damaged or missing.
    """
    if format == "PNG":
        return b"".join((PNG_SIGNATURE, *_png_chunks(data)))
    return _webp(data) if format == "WebP" and b"Exif\0\0" in data else data


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, position and length in bytes (length field, kind, body and checksum) of every whole chunk of a PNG file."""
    position = len(PNG_SIGNATURE)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if position + 12 + length > len(data):
            return
        yield kind, position, 12 + length
        position += 12 + length


def _png_chunks(data: bytes) -> Iterator[bytes]:
    for kind, position, length in png_chunks(data):
        end = position + length
        if kind in _CHECKED:
            (stated,) = struct.unpack_from(">I", data, end - 4)
            if zlib.crc32(data[position + 4 : end - 4]) != stated:
                raise ImageDecodeError(
                    f"The PNG picture is damaged: its {kind.decode()} chunk has a wrong checksum.",
                    "Check that it was copied or downloaded completely, or export it again.",
                )
        if kind in _PNG_KEPT:
            yield data[position:end]
        if kind == b"IEND":
            return
    # The decoder would first allocate what the next chunk promises, up to 4 GB.
    raise ImageDecodeError(
        "The PNG picture is damaged or cut short.",
        "Check that it was copied or downloaded completely, or export it again.",
    )


def _webp(data: bytes) -> bytes:
    parts, position = [], 12
    while position + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, position)
        body = data[position + 8 : position + 8 + length]
        if kind == b"EXIF" and body.startswith(b"Exif\0\0"):
            body = body[6:]
        parts.append(kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1))
        position += 8 + length + (length & 1)
        if len(body) < min(length, 6):
            return data
    whole = b"".join(parts)
    return b"RIFF" + struct.pack("<I", 4 + len(whole)) + b"WEBP" + whole
