"""What a compressed frame says about its own size, read before a decoder allocates what it promises."""

from __future__ import annotations

import struct

from edge_infer.dicom.checks import broken
from edge_infer.errors import DicomUnsupportedError

_JPEG_FRAMES = (frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}) | {0xF7}
"""Start of frame: those of JPEG, and the one of JPEG-LS."""
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_JP2_BOX = b"\x00\x00\x00\x0cjP  "


def check_size(frame: bytes, rows: int, columns: int) -> None:
    """Compares the size in a JPEG, JPEG-LS or JPEG 2000 stream with the one in the data set.

    Raises:
        DicomBrokenError: it is another one, or the stream ends before it.
        DicomUnsupportedError: a JPEG 2000 file, with boxes, in place of a stream.
    """
    try:
        if frame.startswith(b"\xff\x4f\xff\x51"):
            right, lower, left, upper = struct.unpack_from(">IIII", frame, 8)
            size = (lower - upper, right - left)
        elif frame.startswith(b"\xff\xd8"):
            size = _jpeg_size(frame)
        elif frame.startswith(_JP2_BOX):
            raise DicomUnsupportedError("The frame is a JPEG 2000 file, not a stream.", "Export the picture again.")
        else:
            raise broken("a compressed frame does not begin as its coding says")
    except (struct.error, IndexError) as error:
        raise broken("a compressed frame is cut short") from error
    if size != (rows, columns):
        raise broken(f"its header promises {columns}x{rows} pixels, and the frame holds {size[1]}x{size[0]}")


def without_metadata(frame: bytes) -> bytes:
    """A JPEG without its APP1 segments: the orientation of a picture in DICOM is what DICOM says, not EXIF."""
    parts, position = [frame[:2]], 2
    for start, marker, end in _segments(frame):
        if marker != 0xE1:
            parts.append(frame[start:end])
        position = end
    return b"".join((*parts, frame[position:]))


def _jpeg_size(frame: bytes) -> tuple[int, int]:
    for start, marker, _ in _segments(frame):
        if marker in _JPEG_FRAMES:
            return struct.unpack_from(">HH", frame, start + 5)
    raise IndexError


def _segments(frame: bytes) -> list[tuple[int, int, int]]:
    """Start, marker and end of every segment before the coded data."""
    found, position = [], 2
    while position + 4 <= len(frame) and frame[position] == 0xFF:
        marker = frame[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == 0xDA or marker in _STANDALONE:
            break
        (length,) = struct.unpack_from(">H", frame, position + 2)
        end = position + 2 + length
        found.append((position, marker, end))
        position = end
    return found
