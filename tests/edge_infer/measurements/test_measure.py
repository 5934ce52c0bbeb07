"""ABCD numbers: on drawn lesions with known truth, their uncertainty, and what they may not depend on."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_infer.errors import InputError
from edge_infer.measurements import shape
from edge_infer.measurements.colours import REFERENCES, colour_map, colour_shares, count_colours
from edge_infer.measurements.measure import LEVELS, measure, measure_mask
from edge_infer.measurements.scale import check_scale
from trainer.data.drawn.truths import SKIN, Truth, truths

TRUTHS = list(truths())
TOLERANCE = {
    "asymmetry_major": 0.01,
    "asymmetry_minor": 0.01,
    "compactness": 0.01,
    "fractal_dimension": 0.04,
    "colour_count": 0.0,
    "diameter_px": 1.5,
    "area_px": 100.0,
}


@pytest.mark.parametrize("drawn", TRUTHS, ids=lambda drawn: drawn.name)
def test_drawn_lesions_measure_what_their_formulas_say(drawn: Truth) -> None:
    found = measure_mask(drawn.image, drawn.mask)
    assert found is not None
    for name, truth in drawn.values.items():
        if name in found.values:
            assert found.values[name].value == pytest.approx(truth, abs=TOLERANCE[name]), name
        else:
            assert name == "fractal_dimension" and drawn.mask.sum() < 96**2
    for colour, share in drawn.colours.items():
        assert found.colours[colour] == pytest.approx(share, abs=0.02), colour
    assert not found.cut_off


def cone(height: int, width: int, inner: float, outer: float) -> NDArray[np.float32]:
    """A map that falls from 1 to 0 between two radii around the middle: each contour is a circle of known radius."""
    rows, columns = np.mgrid[:height, :width]
    radius = np.hypot(rows - (height - 1) / 2, columns - (width - 1) / 2)
    return np.clip((outer - radius) / (outer - inner), 0, 1).astype(np.float32)


def test_low_and_high_are_those_of_the_contours() -> None:
    probability = cone(300, 300, 60, 100)
    found = measure(np.full((300, 300, 3), SKIN, np.uint8), probability, 0.5, (300, 300))
    assert found is not None
    radii = {level: 100 - 40 * level for level in (0.5, *LEVELS)}
    area, across = found.values["area_px"], found.values["diameter_px"]
    assert area == pytest.approx([math.pi * radii[level] ** 2 for level in (0.5, 0.9, 0.1)], rel=0.01)
    assert across == pytest.approx([2 * radii[level] for level in (0.5, 0.9, 0.1)], abs=1.5)
    assert found.values["compactness"].high == pytest.approx(1.0, abs=0.01)


def test_a_number_that_some_outline_lacks_has_no_range() -> None:
    faint = cone(300, 300, 60, 100) * np.float32(0.8)  # nothing is left at 0.9
    found = measure(np.full((300, 300, 3), SKIN, np.uint8), faint, 0.5, (300, 300))
    assert found is not None and found.values["area_px"].low is None and found.values["area_px"].value > 0


def test_no_lesion_has_no_numbers() -> None:
    empty = np.zeros((64, 64), np.float32)
    assert measure(np.full((64, 64, 3), SKIN, np.uint8), empty, 0.5, (64, 64)) is None


def test_a_square_map_of_a_wide_picture_is_stretched_back() -> None:
    picture = np.full((300, 600, 3), SKIN, np.uint8)
    stretched = cv2.resize(cone(300, 600, 99, 101), (224, 224), interpolation=cv2.INTER_AREA)
    found = measure(picture, stretched, 0.5, (300, 600))
    assert found is not None
    assert found.values["compactness"].value == pytest.approx(1.0, abs=0.02)
    assert found.values["diameter_px"].value == pytest.approx(200, abs=4)


def test_millimetres_follow_from_the_scale_alone() -> None:
    drawn = TRUTHS[1]
    plain, scaled = measure_mask(drawn.image, drawn.mask), measure_mask(drawn.image, drawn.mask, 0.02)
    assert plain is not None and scaled is not None
    assert "diameter_mm" not in plain.values and "area_mm2" not in plain.values
    assert scaled.values["diameter_mm"].value == pytest.approx(0.02 * plain.values["diameter_px"].value)
    assert scaled.values["area_mm2"].value == pytest.approx(0.02**2 * plain.values["area_px"].value)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_a_scale_that_is_none_is_refused(scale: float) -> None:
    with pytest.raises(InputError, match="no scale"):
        check_scale(scale)


def test_numbers_do_not_depend_on_size_and_turn() -> None:
    mask = TRUTHS[5].mask  # the half disc
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0)
    turned = cv2.warpAffine(soft, cv2.getRotationMatrix2D((256, 256), 57, 0.7), (512, 512), flags=cv2.INTER_CUBIC)
    other = (turned >= 0.5).astype(np.uint8)
    for a, b in zip(shape.asymmetry(mask), shape.asymmetry(other), strict=True):
        assert a == pytest.approx(b, abs=0.01)
    assert shape.compactness(mask) == pytest.approx(shape.compactness(other), rel=0.02)
    assert shape.diameter(other) == pytest.approx(0.7 * shape.diameter(mask), abs=2)


def test_a_lesion_at_the_edge_is_told() -> None:
    mask = np.zeros((200, 200), np.uint8)
    cv2.circle(mask, (10, 100), 40, 1, cv2.FILLED)
    found = measure_mask(np.full((200, 200, 3), SKIN, np.uint8), mask)
    assert found is not None and found.cut_off


def test_white_is_what_is_lighter_than_the_skin_around() -> None:
    lesion = np.zeros((200, 200), np.uint8)
    cv2.circle(lesion, (100, 100), 50, 1, cv2.FILLED)
    for skin, white in ((SKIN, True), ((250, 246, 244), False)):
        picture = np.full((200, 200, 3), skin, np.uint8)
        picture[lesion == 1] = (236, 232, 228)
        found = colour_map(picture, lesion)
        assert found is not None
        shares = colour_shares(found, lesion)
        assert (shares["white"] > 0.9) == white
        assert count_colours(shares) == int(white), "what looks like skin has none of the six"


def test_a_speck_of_colour_does_not_count() -> None:
    lesion = np.zeros((300, 300), np.uint8)
    cv2.circle(lesion, (150, 150), 100, 1, cv2.FILLED)
    picture = np.full((300, 300, 3), SKIN, np.uint8)
    picture[lesion == 1] = REFERENCES["light brown"]
    cv2.circle(picture, (150, 150), 15, REFERENCES["black"], cv2.FILLED)  # 2 %
    found = colour_map(picture, lesion)
    assert found is not None
    shares = colour_shares(found, lesion)
    assert 0.01 < shares["black"] < 0.03 and count_colours(shares) == 1


def test_without_skin_around_no_colour_is_counted() -> None:
    lesion = np.ones((100, 100), np.uint8)
    found = measure_mask(np.full((100, 100, 3), REFERENCES["black"], np.uint8), lesion)
    assert found is not None and "colour_count" not in found.values and not found.colours
