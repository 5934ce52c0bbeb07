"""What a picture file says about itself before anything is decoded: format, size, and what decoding will drop."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from edge_infer.errors import ImageDecodeError, ImageUnsupportedError
from edge_infer.steps.container import png_chunks

FORMATS = "JPEG, PNG, WebP, BMP, TIFF"
_CONVERT = "Convert the picture to JPEG or PNG first."
_AGAIN = "Export the picture again."
MAX_JPEG_SCANS = 64
"""Every scan of a progressive JPEG goes over the whole picture, so a small file with thousands of them takes hours."""
_QUICKER_AS_ARRAY = 1 << 18
"""From so many bytes on, NumPy counts pairs of bytes several times quicker than `bytes.count` does."""
_SOF_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TIFF_TYPE_FORMATS = {3: "H", 4: "I", 16: "Q"}


@dataclass(frozen=True)
class Header:
    """Facts from a file's header.

    Attributes:
        format: one of `FORMATS`.
        width: stored columns, before any EXIF rotation.
        height: stored rows.
        notes: what decoding to 8-bit RGB leaves out, in sentences for people.
        alpha: whether there is a channel, or a colour, of transparency.
    """

    format: str
    width: int
    height: int
    notes: tuple[str, ...] = ()
    alpha: bool = False


def read_header(data: bytes) -> Header:
    """Reads the header of an encoded picture.

    Raises:
        ImageDecodeError: empty, of no supported format, or damaged before the size is known.
    """
    if not data:
        raise ImageDecodeError("The picture is empty (0 bytes).", "Check that it was copied or downloaded completely.")
    try:
        if data.startswith(b"\xff\xd8\xff"):
            header = _jpeg(data)
        elif data.startswith(b"\x89PNG\r\n\x1a\n"):
            header = _png(data)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            header = _webp(data)
        elif data.startswith(b"BM"):
            header = _bmp(data)
        elif data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            header = _tiff(data)
        else:
            raise _unsupported(data)
    except (struct.error, IndexError, OverflowError) as error:
        raise ImageDecodeError(
            "The picture file ends before its size is known.", "Check that it was copied or downloaded completely."
        ) from error
    if header.width < 1 or header.height < 1:
        raise ImageDecodeError(f"The {header.format} header gives an empty size.", _AGAIN)
    return header


def _unsupported(data: bytes) -> ImageDecodeError:
    if data[4:8] == b"ftyp":
        brand = data[8:12].decode("ascii", "replace")
        return ImageUnsupportedError(f"AVIF pictures and films ({brand}) are not supported.", _CONVERT)
    if data[128:132] == b"DICM":
        return ImageDecodeError(
            "This is a DICOM file, which is read by `edge-infer diagnose` and `edge_infer.dicom` alone.",
            "Install 'edge-infer[dicom]' and give it to one of these, or export the picture as JPEG or PNG.",
        )
    if data[:4] == b"GIF8":
        return ImageDecodeError("GIF pictures are not supported: 256 colours are too few.", "Use the original photo.")
    return ImageDecodeError(f"This is no picture of a supported format ({FORMATS}).", _CONVERT)


def _is_srgb(profile: bytes) -> bool:
    return b"sRGB" in profile or "sRGB".encode("utf-16-be") in profile


def _notes(
    *, profile: bytes | None = None, deep: bool = False, more: bool = False, palette: bool = False
) -> tuple[str, ...]:
    notes = []
    if profile is not None and not _is_srgb(profile):
        notes.append("The embedded colour profile was not applied; colours may be off.")
    if palette:
        notes.append("The picture has at most 256 colours; finer shades were lost when it was saved.")
    if deep:
        notes.append("16-bit samples were reduced to 8 bits.")
    if more:
        notes.append("The file holds several pictures; the first was used.")
    return tuple(notes)


def _jpeg(data: bytes) -> Header:
    position, profile = 2, None
    while True:
        if data[position] != 0xFF:
            raise ImageDecodeError("The JPEG header is damaged.", _AGAIN)
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            position += 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        if marker in _SOF_MARKERS:
            height, width = struct.unpack_from(">HH", data, position + 5)
            _check_scans(data, position)
            return Header("JPEG", width, height, _notes(profile=profile))
        if marker in (0xD9, 0xDA) or length < 2:
            raise ImageDecodeError("The JPEG header is damaged: it gives no size.", _AGAIN)
        segment = data[position + 4 : position + 2 + length]
        if marker == 0xE2 and segment.startswith(b"ICC_PROFILE\0"):
            profile = (profile or b"") + segment
        position += 2 + length


def _check_scans(data: bytes, position: int) -> None:
    # In coded data 0xFF is never followed by 0xDA, so this counts scans, and at most a few chance pairs in metadata.
    if len(data) < _QUICKER_AS_ARRAY:
        scans = data.count(b"\xff\xda", position)
    else:
        coded = np.frombuffer(data, np.uint8, offset=position)
        scans = int(np.count_nonzero((coded[:-1] == 0xFF) & (coded[1:] == 0xDA)))
    if scans > MAX_JPEG_SCANS:
        raise ImageDecodeError(
            f"The JPEG picture has {scans} scans, more than the limit of {MAX_JPEG_SCANS}; no camera writes that.",
            _AGAIN,
        )


def _png(data: bytes) -> Header:
    if data[12:16] != b"IHDR":
        raise ImageDecodeError("The PNG header is damaged: it gives no size.", _AGAIN)
    width, height, depth, color = struct.unpack_from(">IIBB", data, 16)
    profile, alpha, animated = None, color in (4, 6), False
    for kind, position, _ in png_chunks(data):
        if kind == b"IDAT":
            break
        if kind == b"iCCP":
            # The profile itself is compressed; the chunk begins with its name.
            profile = data[position + 8 : position + 88]
        alpha, animated = alpha or kind == b"tRNS", animated or kind == b"acTL"
    notes = _notes(profile=profile, deep=depth == 16, more=animated, palette=color == 3)
    return Header("PNG", width, height, notes, alpha)


def grey_key(data: bytes) -> int | None:
    """The grey of a PNG that stands for transparency (its tRNS chunk), as a decoder gives it; None without one.

    OpenCV gives other transparency as a channel, and leaves this one out.
    """
    depth, color = data[24:26]
    for kind, position, length in png_chunks(data):
        if color != 0 or kind == b"IDAT":
            break
        if kind == b"tRNS" and length == 12 + 2:
            (sample,) = struct.unpack_from(">H", data, position + 8)
            most = (1 << depth) - 1
            return int(sample & most) * (255 // most if depth < 8 else 1)
    return None


def _webp(data: bytes) -> Header:
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header("WebP", width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Header("WebP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, alpha=bool(bits >> 28 & 1))
    if kind == b"VP8X":
        flags = data[20]
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        profile = data[: min(len(data), 8192)] if flags & 0x20 else None
        if len(data) < 30:
            raise IndexError
        return Header("WebP", width, height, _notes(profile=profile, more=bool(flags & 0x02)), bool(flags & 0x10))
    raise ImageDecodeError("The WebP header is damaged.", _AGAIN)


def _bmp(data: bytes) -> Header:
    (size,) = struct.unpack_from("<I", data, 14)
    if size == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    if size in (52, 56):
        raise ImageDecodeError("BMP headers of versions 2 and 3 are not supported.", _CONVERT)
    if size >= 40:
        (offset,), (depth,) = struct.unpack_from("<I", data, 10), struct.unpack_from("<H", data, 28)
        (used,) = struct.unpack_from("<I", data, 46)
        if depth <= 8 and offset < 14 + size + 4 * (used or 1 << depth):
            raise ImageDecodeError("The BMP header is damaged: its pixels begin inside its palette.", _AGAIN)
    return Header("BMP", abs(width), abs(height))


def _tiff(data: bytes) -> Header:
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    if big:
        (offset,) = struct.unpack_from(order + "Q", data, 8)
        (count,) = struct.unpack_from(order + "Q", data, offset)
        first, step, value_at = offset + 8, 20, 12
    else:
        (offset,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, offset)
        first, step, value_at = offset + 2, 12, 8
    if count > 4096:
        raise ImageDecodeError("The TIFF header is damaged.", _AGAIN)
    tags: dict[int, int] = {}
    lengths: dict[int, int] = {}
    for i in range(count):
        entry = first + i * step
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        (length,) = struct.unpack_from(order + ("Q" if big else "I"), data, entry + 4)
        if kind in _TIFF_TYPE_FORMATS and length == 1:
            (tags[tag],) = struct.unpack_from(order + _TIFF_TYPE_FORMATS[kind], data, entry + value_at)
        elif kind in (1, 7):
            (tags[tag],) = struct.unpack_from(order + ("Q" if big else "I"), data, entry + value_at)
        lengths[tag] = length
        if tag == 258 and kind == 3 and length > 1:
            at = entry + value_at
            if length * 2 > (8 if big else 4):
                (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, at)
            (tags[tag],) = struct.unpack_from(order + "H", data, at)
    end = first + count * step
    (following,) = struct.unpack_from(order + ("Q" if big else "I"), data, end)
    profile = data[tags[34675] : tags[34675] + lengths[34675]] if 34675 in tags else None
    notes = _notes(profile=profile, deep=tags.get(258, 8) == 16, more=following != 0, palette=tags.get(262) == 3)
    return Header("TIFF", tags.get(256, 0), tags.get(257, 0), notes, 338 in tags)
