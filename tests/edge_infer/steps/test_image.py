"""Picture intake: every route and encoding gives the same upright RGB picture, or a typed error."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image, ImageCms

from edge_infer import errors
from edge_infer.steps.header import read_header
from edge_infer.steps.image import open_picture

LOSSLESS: dict[str, dict[str, Any]] = {"PNG": {}, "TIFF": {}, "BMP": {}, "WEBP": {"lossless": True}}
EXIF_FORMATS = ["PNG", "TIFF", "WEBP"]
ORIENTATION_TAG = 0x112
pictures = hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)))


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def blocks(height: int = 48, width: int = 64, seed: int = 0) -> NDArray[np.uint8]:
    """Flat 8x8 blocks of random colour: JPEG keeps them nearly exactly."""
    small = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    return small.repeat(8, axis=0).repeat(8, axis=1)


def stored_for(upright: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """What a camera stores so that a reader who applies `orientation` (EXIF 2.32, tag 0x0112) sees `upright`."""
    inverse = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    return np.ascontiguousarray(inverse[orientation](upright))


def with_exif(image: NDArray[np.uint8], format: str, orientation: int, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    return encode(Image.fromarray(image), format, exif=exif, **options)


@given(pixels=pictures, format=st.sampled_from(sorted(LOSSLESS)))
@settings(max_examples=60, deadline=None)
def test_path_bytes_and_array_give_the_same_picture(
    pixels: NDArray[np.uint8], format: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = encode(Image.fromarray(pixels), format, **LOSSLESS[format])
    path = tmp_path_factory.mktemp("intake") / "picture"
    path.write_bytes(data)
    for source in (path, str(path), data, bytearray(data), memoryview(data), pixels):
        picture = open_picture(source)  # type: ignore[arg-type]
        np.testing.assert_array_equal(picture.pixels, pixels)
        assert (picture.height, picture.width, picture.reduction) == (*pixels.shape[:2], 1)


@given(pixels=pictures, orientation=st.integers(1, 8), format=st.sampled_from(EXIF_FORMATS))
@settings(max_examples=80, deadline=None)
def test_exif_orientation_is_applied(pixels: NDArray[np.uint8], orientation: int, format: str) -> None:
    options = LOSSLESS[format]
    picture = open_picture(with_exif(stored_for(pixels, orientation), format, orientation, **options))
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert (picture.height, picture.width) == pixels.shape[:2]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_orientation_on_both_file_routes(orientation: int, progressive: bool, tmp_path: Path) -> None:
    upright = blocks()
    data = with_exif(
        stored_for(upright, orientation), "JPEG", orientation, quality=100, subsampling=0, progressive=progressive
    )
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    from_path, from_bytes = open_picture(path), open_picture(data)
    np.testing.assert_array_equal(from_path.pixels, from_bytes.pixels)
    assert np.abs(from_path.pixels.astype(int) - upright).max() <= 8


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("size", [(801, 1203), (1203, 801), (999, 1000), (1000, 999), (800, 800)])
def test_reduced_decoding_keeps_the_true_size(size: tuple[int, int], orientation: int) -> None:
    upright = np.zeros((*size, 3), np.uint8)
    upright[: size[0] // 2, : size[1] // 2] = 250
    data = with_exif(stored_for(upright, orientation), "JPEG", orientation, quality=95)
    picture = open_picture(data, min_side=100)
    assert (picture.height, picture.width) == size
    assert (picture.reduction > 1) == (abs(size[0] - size[1]) != 1)
    rows, columns = picture.pixels.shape[:2]
    assert abs(rows - size[0] / picture.reduction) <= 1
    assert abs(columns - size[1] / picture.reduction) <= 1
    assert picture.pixels[rows // 4, columns // 4].min() > 200
    assert picture.pixels[3 * rows // 4, 3 * columns // 4].max() < 50
    assert picture.at(1).pixels.shape[:2] == size


def test_reduction_never_goes_below_the_side_asked_for() -> None:
    data = encode(Image.fromarray(blocks(800, 1200)), "JPEG")
    for min_side, expected in ((801, 1), (401, 1), (400, 2), (200, 4), (100, 8), (10, 8)):
        assert open_picture(data, min_side=min_side).reduction == expected
    assert open_picture(encode(Image.fromarray(blocks(800, 1200)), "PNG"), min_side=10).reduction == 1


@pytest.mark.parametrize(
    ("mode", "format"),
    [
        ("L", "JPEG"),
        ("L", "PNG"),
        ("LA", "PNG"),
        ("P", "PNG"),
        ("1", "PNG"),
        ("RGBA", "PNG"),
        ("RGBA", "WEBP"),
        ("CMYK", "JPEG"),
        ("CMYK", "TIFF"),
        ("P", "BMP"),
        ("RGB", "BMP"),
        ("RGB", "TIFF"),
    ],
)
def test_every_sample_layout_becomes_rgb(mode: str, format: str) -> None:
    image = Image.fromarray(blocks()).convert(mode)
    if "A" in mode:
        image.putalpha(128)
    options = {"lossless": True} if format == "WEBP" else {"quality": 100} if format == "JPEG" else {}
    data = encode(image, format, **options)
    picture = open_picture(data)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert picture.pixels.dtype == np.uint8
    assert np.abs(picture.pixels.astype(int) - expected).max() <= 3
    assert any("Transparency" in warning for warning in picture.warnings) == (mode in ("RGBA", "LA"))


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_is_scaled_and_said(format: str) -> None:
    grey = blocks()[..., 0]
    picture = open_picture(encode(Image.fromarray(grey.astype(np.uint16) * 257), format))
    np.testing.assert_array_equal(picture.pixels, np.repeat(grey[..., None], 3, axis=2))
    assert any("16-bit" in warning for warning in picture.warnings)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_foreign_colour_profile_is_noted_and_srgb_is_not(format: str) -> None:
    image = Image.fromarray(blocks())
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    foreign = srgb.replace(b"sRGB", b"Foo ").replace("sRGB".encode("utf-16-be"), "Foo ".encode("utf-16-be"))
    noted = open_picture(encode(image, format, icc_profile=foreign)).warnings
    assert any("colour profile" in warning for warning in noted) or format == "PNG"
    assert open_picture(encode(image, format)).warnings == ()


def png_with_size(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"\0" * 10))
        + chunk(b"IEND", b"")
    )


JPEG = encode(Image.fromarray(blocks()), "JPEG")
HOSTILE_BYTES: dict[str, tuple[bytes, type[errors.ImageError]]] = {
    "empty": (b"", errors.ImageDecodeError),
    "text": (b"I am not a picture.\n" * 20, errors.ImageDecodeError),
    "truncated jpeg": (JPEG[: len(JPEG) // 2], errors.ImageDecodeError),
    "jpeg without its last bytes": (JPEG[:-20], errors.ImageDecodeError),
    "jpeg header only": (JPEG[:30], errors.ImageDecodeError),
    "three bytes": (b"\xff\xd8\xff", errors.ImageDecodeError),
    "huge header": (png_with_size(200_000, 200_000), errors.ImageTooLargeError),
    "zero size": (png_with_size(0, 10), errors.ImageDecodeError),
    "gif": (encode(Image.fromarray(blocks()), "GIF"), errors.ImageDecodeError),
    "heic": (b"\0\0\0\x18ftypheic" + b"\0" * 40, errors.ImageUnsupportedError),
    "dicom": (b"\0" * 128 + b"DICM" + b"\0" * 40, errors.ImageDecodeError),
    **{
        f"truncated {name.lower()}": (data[: len(data) * 6 // 10], errors.ImageDecodeError)
        for name, data in ((f, encode(Image.fromarray(blocks()), f, **o)) for f, o in LOSSLESS.items())
    },
}


@pytest.mark.parametrize("name", HOSTILE_BYTES)
def test_hostile_bytes(name: str) -> None:
    data, error = HOSTILE_BYTES[name]
    with pytest.raises(error) as caught:
        open_picture(data)
    assert type(caught.value) is error
    assert caught.value.message and caught.value.remedy


@given(st.integers(0, len(JPEG) - 1), st.integers(0, 255), st.sampled_from(["cut", "change"]))
@settings(max_examples=200, deadline=None)
def test_damaged_headers_never_raise_anything_else(position: int, value: int, how: str) -> None:
    for data in (
        JPEG,
        encode(Image.fromarray(blocks(16, 16)), "TIFF"),
        encode(Image.fromarray(blocks(16, 16)), "WEBP"),
    ):
        position = min(position, len(data) - 1)
        damaged = data[:position] if how == "cut" else data[:position] + bytes([value]) + data[position + 1 :]
        try:
            header = read_header(damaged)
        except errors.ImageDecodeError:
            continue
        assert header.width >= 1 and header.height >= 1


ARRAYS: dict[str, Any] = {
    "float": np.zeros((4, 4, 3), np.float32),
    "nan": np.full((4, 4, 3), np.nan),
    "uint16": np.zeros((4, 4, 3), np.uint16),
    "grey": np.zeros((4, 4), np.uint8),
    "rgba": np.zeros((4, 4, 4), np.uint8),
    "channels first": np.zeros((3, 4, 4), np.uint8),
    "batch": np.zeros((1, 4, 4, 3), np.uint8),
    "no rows": np.zeros((0, 4, 3), np.uint8),
    "a list": [[0, 0, 0]],
    "None": None,
    "a number": 3,
}


@pytest.mark.parametrize("name", ARRAYS)
def test_wrong_arrays(name: str) -> None:
    with pytest.raises(errors.ImageArrayError) as caught:
        open_picture(ARRAYS[name])
    assert "shape (height, width, 3)" in caught.value.remedy


def test_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.ImageNotFoundError, match="no file"):
        open_picture(tmp_path / "absent.jpg")
    with pytest.raises(errors.ImageNotFoundError, match="folder"):
        open_picture(tmp_path)
    with pytest.raises(errors.ImageNotFoundError, match="no file"):
        open_picture("a\0b.jpg")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(errors.ImageNotFoundError, match="regular file"):
        open_picture(tmp_path / "pipe")

    locked = tmp_path / "locked.jpg"
    locked.write_bytes(JPEG)

    def refuse(path: Path, flags: int) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    # The tests may run as root, whom no file mode stops.
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(errors.ImageAccessError, match="Permission denied"):
        open_picture(locked)


def test_pixel_limit_is_the_callers(tmp_path: Path) -> None:
    pixels = blocks()
    assert open_picture(pixels, max_pixels=48 * 64).height == 48
    for source in (pixels, encode(Image.fromarray(pixels), "PNG")):
        with pytest.raises(errors.ImageTooLargeError, match="64x48"):
            open_picture(source, max_pixels=48 * 64 - 1)
    bloated = tmp_path / "bloated.jpg"
    with bloated.open("wb") as stream:
        stream.truncate(2**27)
    with pytest.raises(errors.ImageTooLargeError, match="134 MB"):
        open_picture(bloated, max_pixels=1000)
