"""HEIC: decoded with the extra, refused by name without it, and no more dangerous than other files."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_infer.errors import ImageDecodeError, ImageTooLargeError, ImageUnsupportedError
from edge_infer.steps.image import open_picture


@pytest.fixture(scope="module")
def heif() -> Any:
    return pytest.importorskip("pillow_heif", reason="the extra [heif] is not installed")


def written(heif: Any, image: NDArray[np.uint8], **options: Any) -> bytes:
    mode = "RGBA" if image.shape[2] == 4 else "RGB"
    target = io.BytesIO()
    heif.from_bytes(mode, image.shape[1::-1], image.tobytes()).save(target, quality=95, **options)
    return target.getvalue()


def test_it_is_decoded(heif: Any, nevus: NDArray[np.uint8]) -> None:
    picture = open_picture(written(heif, nevus))
    assert (picture.height, picture.width, picture.warnings) == (*nevus.shape[:2], ())
    assert np.abs(picture.pixels.astype(int) - nevus).mean() < 3


def test_it_is_turned_upright(heif: Any, nevus: NDArray[np.uint8]) -> None:
    image = pytest.importorskip("PIL.Image")
    exif = image.Exif()
    exif[0x0112] = 6
    picture = open_picture(written(heif, nevus, exif=exif.tobytes()))
    assert picture.pixels.shape == (nevus.shape[1], nevus.shape[0], 3)
    assert np.abs(picture.pixels.astype(int) - np.rot90(nevus, -1)).mean() < 3


def test_transparent_pixels_are_refused(heif: Any, nevus: NDArray[np.uint8]) -> None:
    alpha = np.full(nevus.shape[:2], 255, np.uint8)
    assert open_picture(written(heif, np.dstack([nevus, alpha]))).warnings == ()
    alpha[:40, :40] = 0
    with pytest.raises(ImageDecodeError, match="HEIC picture is transparent"):
        open_picture(written(heif, np.dstack([nevus, alpha])))


def test_too_large_cut_and_other_files_are_refused(heif: Any, nevus: NDArray[np.uint8]) -> None:
    data = written(heif, nevus)
    with pytest.raises(ImageTooLargeError):
        open_picture(data, max_pixels=1000)
    with pytest.raises(ImageDecodeError):
        open_picture(data[: len(data) // 2])
    with pytest.raises(ImageUnsupportedError, match="libheif cannot open"):
        open_picture(data[:40] + bytes(200))


def test_without_the_extra_it_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageUnsupportedError, match=r"edge-infer\[heif\]"):
        open_picture(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
