"""Overlays, masks and PNGs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_infer.diagnoser import Diagnoser
from edge_infer.diagnosis import MELANOMA, NOT_MELANOMA, Diagnosis
from edge_infer.output.picture import draw_overlay, encode_png, mask_picture
from edge_infer.reasons import Reason

ORANGE, BLUE, YELLOW = (230, 159, 0), (86, 180, 233), (240, 228, 66)


@pytest.fixture(scope="module")
def diagnoser(toy_bundle: Path) -> Iterator[Diagnoser]:
    with Diagnoser.load(toy_bundle) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def answer(diagnoser: Diagnoser, nevus: NDArray[np.uint8]) -> Diagnosis:
    diagnosis = diagnoser.diagnose(nevus)
    assert diagnosis.status == "ok" and diagnosis.mask is not None and diagnosis.roi_box is not None
    return diagnosis


def count(image: NDArray[np.uint8], colour: tuple[int, int, int]) -> int:
    return int((image == np.array(colour)).all(-1).sum())


def near(image: NDArray[np.uint8], row: int, column: int, colour: tuple[int, int, int], reach: int = 3) -> bool:
    patch = image[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]
    return count(patch, colour) > 0


def enlarge(diagnosis: Diagnosis, picture: NDArray[np.uint8], factor: int) -> tuple[Diagnosis, NDArray[np.uint8]]:
    """The same answer for the picture with every pixel repeated."""
    assert diagnosis.mask is not None and diagnosis.roi_box is not None
    box = diagnosis.roi_box
    grown = replace(
        diagnosis,
        mask=diagnosis.mask.repeat(factor, 0).repeat(factor, 1),
        roi_box=type(box)(*(value * factor for value in box)),
        image_size=(picture.shape[0] * factor, picture.shape[1] * factor),
    )
    return grown, picture.repeat(factor, 0).repeat(factor, 1)


@pytest.mark.parametrize("factor", [1, 2, 7])
def test_outline_and_square_are_where_they_belong_at_any_size(
    answer: Diagnosis, nevus: NDArray[np.uint8], factor: int
) -> None:
    diagnosis, picture = enlarge(answer, nevus, factor)
    overlay = draw_overlay(picture, diagnosis)
    assert diagnosis.mask is not None and diagnosis.roi_box is not None
    scale = overlay.shape[1] / picture.shape[1]
    colour = ORANGE if diagnosis.label == MELANOMA else BLUE
    contour = max(cv2.findContours(diagnosis.mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0], key=len)[:, 0]
    for column, row in contour[:: len(contour) // 12]:
        assert near(overlay, round(row * scale), round(column * scale), colour, reach=6)
    x0, y0, x1, y1 = (round(value * scale) for value in diagnosis.roi_box)
    for row, column in ((y0, (x0 + x1) // 2), (y1, (x0 + x1) // 2), ((y0 + y1) // 2, x0), ((y0 + y1) // 2, x1)):
        if 8 < row < overlay.shape[0] and 8 < column < overlay.shape[1] - 8:
            assert near(overlay, row, column, (255, 255, 255), reach=4)
    assert max(overlay.shape[:2]) < 2600
    assert overlay.shape[1] >= 480


def test_colour_of_the_answer(answer: Diagnosis, nevus: NDArray[np.uint8]) -> None:
    looks = {
        ORANGE: replace(answer, label=MELANOMA),
        BLUE: replace(answer, label=NOT_MELANOMA),
        YELLOW: replace(answer, status="indeterminate", reason=Reason.BLURRED, message="Blurred.", label=None),
    }
    for colour, diagnosis in looks.items():
        overlay = draw_overlay(nevus, diagnosis)
        assert count(overlay, colour) > 300
        assert all(count(overlay, other) == 0 for other in looks if other != colour)


@pytest.mark.parametrize("shape", [(1, 1), (40, 40), (20, 3000), (3000, 20), (450, 600), (3000, 4000)])
def test_caption_fits_pictures_of_any_shape(answer: Diagnosis, shape: tuple[int, int]) -> None:
    picture = np.full((*shape, 3), 180, np.uint8)
    diagnosis = replace(
        answer,
        mask=None,
        roi_box=None,
        warnings=("A long warning that has to be broken into several lines, or it would be cut off. " * 3,),
        bundle="a" * 300,
    )
    overlay = draw_overlay(picture, diagnosis)
    assert overlay.dtype == np.uint8 and overlay.shape[1] >= 480
    margin = overlay[-60:, -4:]
    assert (margin == margin[0, 0]).all(), "no letter touches the edge"


def test_caption_shows_the_words(answer: Diagnosis, nevus: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    put_text = cv2.putText

    def spy(image: NDArray[np.uint8], text: str, *rest: object) -> object:
        written.append(text)
        return put_text(image, text, *rest)

    monkeypatch.setattr(cv2, "putText", spy)
    draw_overlay(nevus, replace(answer, melanoma_probability=0.234, label=NOT_MELANOMA))
    text = " ".join(written)
    for part in (
        "Melanoma 23.4 %",
        "not suspicious (threshold 40.0 %)",
        '"balanced"',
        "bundle toy",
        "Research use only",
    ):
        assert part in text
    written.clear()
    draw_overlay(nevus, Diagnosis(status="indeterminate", reason=Reason.TOO_DARK, message="Mean brightness 3."))
    text = " ".join(written)
    assert "Indeterminate: picture too dark" in text and "Mean brightness 3." in text
    assert "%" not in text


def test_the_picture_given_is_not_drawn_on(answer: Diagnosis, nevus: NDArray[np.uint8]) -> None:
    before = nevus.copy()
    draw_overlay(nevus, answer)
    assert np.array_equal(nevus, before)


def test_mask_picture(answer: Diagnosis) -> None:
    mask = mask_picture(answer)
    assert mask is not None and answer.mask is not None
    assert np.array_equal(mask > 127, answer.mask == 1) and set(np.unique(mask)) == {0, 255}
    nothing = mask_picture(Diagnosis(status="indeterminate", reason=Reason.NO_LESION, image_size=(5, 7)))
    assert nothing is not None and nothing.shape == (5, 7) and not nothing.any()
    assert mask_picture(Diagnosis(status="indeterminate", reason=Reason.BLURRED, image_size=(5, 7))) is None


def test_png_keeps_every_pixel(nevus: NDArray[np.uint8]) -> None:
    for image in (nevus, nevus[..., 0].copy()):
        decoded = cv2.imdecode(np.frombuffer(encode_png(image), np.uint8), cv2.IMREAD_UNCHANGED)
        assert decoded is not None
        assert np.array_equal(decoded[..., ::-1] if image.ndim == 3 else decoded, image)
