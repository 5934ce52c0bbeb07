"""The corpus of worst cases: picture files that lie, are damaged, or are bombs, each made by a few lines.

`CASES` says what intake must make of each: the class of the typed error, or None where the picture can be used. They
are made and not stored, so that it can be read what is wrong with each.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_infer.errors import ImageDecodeError, ImageError, ImageTooLargeError, ImageUnsupportedError

PNG = b"\x89PNG\r\n\x1a\n"


class Case(NamedTuple):
    """One file.

    Attributes:
        make: gives its bytes.
        error: what opening it must raise; None: it must open.
        warning: a part of a warning that the opened picture must carry; None: any.
    """

    make: Callable[[], bytes]
    error: type[ImageError] | None = None
    warning: str | None = None


def pixels(height: int = 64, width: int = 80, seed: int = 0) -> NDArray[np.uint8]:
    """Noise: RGB uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(format: str, image: Image.Image | None = None, **options: Any) -> bytes:
    """A picture file of 80 x 64 pixels, or of this image."""
    stream = io.BytesIO()
    (image or Image.fromarray(pixels())).save(stream, format, **options)
    return stream.getvalue()


def chunk(kind: bytes, body: bytes, checksum: int | None = None) -> bytes:
    """A PNG chunk, by default with its right checksum."""
    stated = zlib.crc32(kind + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", stated)


def png_header(width: int, height: int, depth: int = 8, color: int = 2, interlaced: int = 0) -> bytes:
    """Signature and first chunk."""
    return PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced))


def png_of_zeros(width: int, height: int, depth: int = 8, color: int = 2) -> bytes:
    """A whole and true PNG of one value: some kilobytes for any number of pixels."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    row = bytes(1 + width * samples * depth // 8)
    packer, parts = zlib.compressobj(9), []
    for _ in range(height):
        parts.append(packer.compress(row))
    parts.append(packer.flush())
    return png_header(width, height, depth, color) + chunk(b"IDAT", b"".join(parts)) + chunk(b"IEND", b"")


def before_idat(extra: bytes, png: bytes | None = None) -> bytes:
    """A PNG with more chunks before its pixels."""
    data = png or encoded("PNG")
    at = data.index(b"IDAT") - 4
    return data[:at] + extra + data[at:]


def flipped(data: bytes, at: float, width: int = 1) -> bytes:
    """Bytes changed at a fraction of the file."""
    changed = bytearray(data)
    start = int(len(data) * at)
    for i in range(start, min(start + width, len(data))):
        changed[i] ^= 0xFF
    return bytes(changed)


def cut(data: bytes, share: float) -> bytes:
    """The first part of a file."""
    return data[: int(len(data) * share)]


def jpeg_with_size(width: int, height: int) -> bytes:
    """A JPEG whose header has another size than its pixels."""
    data = bytearray(encoded("JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def jpeg_with_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan stands there many times."""
    data = encoded("JPEG", progressive=True)
    markers = [i for i in range(len(data) - 1) if data[i] == 0xFF and data[i + 1] in (0xC4, 0xDA)]
    last = max(i for i in markers if data[i + 1] == 0xDA)
    tables = max(i for i in markers if i < last)
    return data[:-2] + data[tables:-2] * count + b"\xff\xd9"


def jpeg_with_exif(exif: bytes) -> bytes:
    """A JPEG with this APP1 segment."""
    data = encoded("JPEG")
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def tiff(entries: list[tuple[int, int, int, int]], order: str = "<", tail: bytes = b"\0" * 4096) -> bytes:
    """A TIFF of one directory with these (tag, type, count, value)."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    body = struct.pack(order + "H", len(entries))
    body += b"".join(struct.pack(order + "HHII", *entry) for entry in entries)
    return head + body + struct.pack(order + "I", 0) + tail


def tiff_of_size(width: int, height: int, **more: int) -> bytes:
    """An uncompressed grey TIFF with one strip; `more` are further tags by name."""
    names = {"tile_width": 322, "tile_height": 323, "samples": 277, "bits": 258, "rows": 278, "photometric": 262}
    entries = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 200, 277: 1, 278: height, 279: width * height}
    entries |= {names[name]: value for name, value in more.items()}
    return tiff([(tag, 4, 1, min(value, 2**32 - 1)) for tag, value in sorted(entries.items())])


def bmp(width: int, height: int, depth: int = 24, compression: int = 0, offset: int = 54, tail: int = 20_000) -> bytes:
    """A BMP header and zeros."""
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, depth, compression, 0, 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 14 + 40 + tail, 0, 0, offset) + head + bytes(tail)


def webp_canvas(width: int, height: int) -> bytes:
    """A WebP whose extended header has another canvas than its one frame."""
    inner = encoded("WEBP")[12:]
    canvas = struct.pack("<I", 0) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + canvas + inner
    return b"RIFF" + struct.pack("<I", len(body)) + body


def rgba(alpha: NDArray[np.uint8], format: str = "PNG", **options: Any) -> bytes:
    """A picture with this alpha channel, shape (64, 80)."""
    return encoded(format, Image.fromarray(np.dstack([pixels(), alpha])), **options)


def animated(format: str) -> bytes:
    """Two frames; the first is the picture of `pixels`."""
    first, second = Image.fromarray(pixels()), Image.fromarray(pixels(seed=1))
    options = {"lossless": True} if format == "WEBP" else {}
    return encoded(format, first, save_all=True, append_images=[second], **options)


def exif_of_a_loop() -> bytes:
    """EXIF whose directory is followed by itself, with an orientation that does not exist."""
    entry = struct.pack("<HHII", 0x112, 3, 1, 99)
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1) + entry + struct.pack("<I", 8)


_DECODE, _LARGE = ImageDecodeError, ImageTooLargeError
_HOLE = np.full((64, 80), 255, np.uint8)
_HOLE[:8, :8] = 0
CASES: dict[str, Case] = {
    "empty": Case(lambda: b"", _DECODE),
    "one byte": Case(lambda: b"\xff", _DECODE),
    "text": Case(lambda: b"no picture\n" * 50, _DECODE),
    "zeros": Case(lambda: bytes(10_000), _DECODE),
    "zip": Case(lambda: b"PK\x03\x04" + bytes(100), _DECODE),
    "gif": Case(lambda: encoded("GIF", Image.fromarray(pixels()).convert("P")), _DECODE),
    "heic": Case(lambda: b"\0\0\0\x18ftypheic" + bytes(100), ImageUnsupportedError),
    "dicom": Case(lambda: bytes(128) + b"DICM" + bytes(100), _DECODE),
    **{f"{f} cut at half": Case(lambda f=f: cut(encoded(f), 0.5), _DECODE) for f in ("JPEG", "PNG", "BMP", "WEBP")},  # type: ignore[misc]
    **{f"{f} header alone": Case(lambda f=f: encoded(f)[:33], _DECODE) for f in ("JPEG", "PNG", "BMP", "WEBP", "TIFF")},  # type: ignore[misc]
    **{f"{f} then another": Case(lambda f=f: encoded(f) + encoded("JPEG")) for f in ("JPEG", "PNG", "BMP", "WEBP")},  # type: ignore[misc]
    **{f"{f} then zeros": Case(lambda f=f: encoded(f) + bytes(100_000)) for f in ("JPEG", "PNG", "BMP", "TIFF")},  # type: ignore[misc]
    # Headers that lie
    "png of 40,000 million pixels": Case(lambda: png_header(200_000, 200_000) + chunk(b"IDAT", b""), _LARGE),
    "png of 2^31 columns": Case(lambda: png_header(2**31 - 1, 1) + chunk(b"IDAT", b""), _LARGE),
    "png of no rows": Case(lambda: png_header(10, 0) + chunk(b"IDAT", b""), _DECODE),
    "png whose first chunk is no header": Case(
        lambda: PNG + chunk(b"tEXt", struct.pack(">II", 8, 8) + b"ab\0cdef") + png_header(80, 64)[8:], _DECODE
    ),
    "png with two headers": Case(lambda: before_idat(png_header(4000, 4000)[8:]), _DECODE),
    "png header with a wrong checksum": Case(lambda: flipped(encoded("PNG"), 29.0 / len(encoded("PNG")), 4), _DECODE),
    "png chunk of 4 GB": Case(lambda: before_idat(struct.pack(">I4s", 2**32 - 1, b"tEXt")), _DECODE),
    "png without pixels": Case(lambda: png_header(80, 64) + chunk(b"IEND", b""), _DECODE),
    "png of unknown compression": Case(lambda: encoded("PNG").replace(b"IHDR", b"IHDS", 1), _DECODE),
    "jpeg of 65,500 x 65,500": Case(lambda: jpeg_with_size(65_500, 65_500), _LARGE),
    "jpeg of ten times its rows": Case(lambda: jpeg_with_size(80, 640), warning="damaged"),
    "jpeg with bytes changed in the middle": Case(lambda: flipped(encoded("JPEG"), 0.6, 40), warning="damaged"),
    "jpeg of no rows": Case(lambda: jpeg_with_size(80, 0), _DECODE),
    "jpeg of two headers": Case(
        lambda: (
            (d := encoded("JPEG"))[:2]
            + b"\xff\xc0\x00\x11\x08\x00\x08\x00\x08\x03\x01\x22\0\x02\x11\1\x03\x11\1"
            + d[2:]
        ),
        _DECODE,
    ),
    "jpeg of endless fill bytes": Case(lambda: b"\xff\xd8" + b"\xff" * 200_000, _DECODE),
    "jpeg whose segment has no length": Case(lambda: b"\xff\xd8\xff\xe0\x00\x00" + bytes(100), _DECODE),
    "webp with a larger canvas": Case(lambda: webp_canvas(4000, 4000), _DECODE),
    "webp with a canvas of 2^48": Case(lambda: webp_canvas(2**24, 2**24), _LARGE),
    "bmp of 2^31 rows": Case(lambda: bmp(1, -(2**31)), _LARGE),
    "bmp larger than its file": Case(lambda: bmp(5000, 5000), _DECODE),
    "bmp whose pixels begin in its palette": Case(lambda: bmp(80, 64, depth=8), _DECODE),
    "bmp of unknown depth": Case(lambda: bmp(80, 64, depth=13), _DECODE),
    "bmp of unknown compression": Case(lambda: bmp(80, 64, compression=77), _DECODE),
    "tiff of 4,000 million columns": Case(lambda: tiff_of_size(2**32 - 1, 1), _LARGE),
    "tiff larger than its file": Case(lambda: tiff_of_size(5000, 5000), _DECODE),
    "tiff of endless tiles": Case(lambda: tiff_of_size(64, 64, tile_width=2**30, tile_height=2**30), _DECODE),
    "tiff of 65,535 samples": Case(lambda: tiff_of_size(64, 64, samples=65_535), _DECODE),
    "tiff of 0 bits": Case(lambda: tiff_of_size(64, 64, bits=0), _DECODE),
    "tiff of 77 bits": Case(lambda: tiff_of_size(64, 64, bits=77), _DECODE),
    "tiff without tags": Case(lambda: tiff([]), _DECODE),
    "tiff whose directory is far away": Case(lambda: b"II*\0\xff\xff\xff\x7f" + bytes(100), _DECODE),
    "bigtiff whose directory is past any file": Case(
        lambda: b"II+\0\x08\0\0\0" + struct.pack("<Q", 2**63 + 1) + bytes(100), _DECODE
    ),
    "tiff of 65,535 tags": Case(lambda: b"II*\0\x08\0\0\0\xff\xff" + bytes(12 * 65_535), _DECODE),
    # Bombs
    "png bomb within the limit": Case(lambda: png_of_zeros(4000, 4000)),
    "png bomb beyond the limit": Case(lambda: png_of_zeros(30_000, 4000, 8, 0), _LARGE),
    "png text bomb": Case(lambda: before_idat(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**7), 9)))),
    "png profile bomb": Case(
        lambda: before_idat(chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**7), 9))), warning="colour profile"
    ),
    "png of 20,000 chunks": Case(lambda: before_idat(chunk(b"tEXt", b"a\0b") * 20_000)),
    "jpeg of 1,000 scans": Case(lambda: jpeg_with_scans(1000), _DECODE),
    # What decoding leaves out
    "png with a wrong checksum in its text": Case(lambda: before_idat(chunk(b"tEXt", b"a\0b", 1))),
    "png with rubbish for a profile": Case(lambda: before_idat(chunk(b"iCCP", b"a\0\0rubbish")), warning="colour"),
    "png with a changed byte": Case(lambda: flipped(encoded("PNG"), 0.5), _DECODE),
    "palette png": Case(lambda: encoded("PNG", Image.fromarray(pixels()).convert("P")), warning="256 colours"),
    "palette png with a damaged palette": Case(
        lambda: flipped(d := encoded("PNG", Image.fromarray(pixels()).convert("P")), (d.index(b"PLTE") + 8) / len(d)),
        _DECODE,
    ),
    "16-bit png": Case(
        lambda: encoded("PNG", Image.fromarray(pixels()[..., 0].astype(np.uint16) * 257)), warning="16-bit"
    ),
    "png with opaque alpha": Case(lambda: rgba(np.full((64, 80), 255, np.uint8))),
    "png with half alpha": Case(lambda: rgba(np.full((64, 80), 128, np.uint8)), warning="Transparency"),
    "png with a hole": Case(lambda: rgba(_HOLE), _DECODE),
    "webp with a hole": Case(lambda: rgba(_HOLE, "WEBP", lossless=True), _DECODE),
    "tiff with a hole": Case(lambda: rgba(_HOLE, "TIFF"), _DECODE),
    "palette png with a hole": Case(
        lambda: encoded("PNG", Image.fromarray(pixels()).convert("P"), transparency=b"\0" * 256), _DECODE
    ),
    "animated png": Case(lambda: animated("PNG"), warning="first was used"),
    "animated webp": Case(lambda: animated("WEBP"), warning="first was used"),
    "tiff of two pages": Case(lambda: animated("TIFF"), warning="first was used"),
    "exif that loops": Case(lambda: jpeg_with_exif(exif_of_a_loop())),
    "exif of zeros": Case(lambda: jpeg_with_exif(b"Exif\0\0" + bytes(60_000))),
    "exif whose offsets are far away": Case(
        lambda: jpeg_with_exif(b"Exif\0\0MM\0*\x7f\xff\xff\xff" + b"\x01\x12" * 100),
    ),
    **{
        f"{format} of {w} x {h}": Case(lambda f=format, w=w, h=h: encoded(f, Image.fromarray(pixels(h, w))))  # type: ignore[misc]
        for format in ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
        for w, h in ((1, 1), (1, 3000), (3000, 1), (2, 1))
    },
}
