"""The typology angle is that of the skin: lesion, hair and a dark surround do not move it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from trainer.scoring.skin_tone import skin_group, typology_angle

LIGHT, BROWN = (222, 184, 160), (110, 80, 60)


def picture(colour: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    image = np.full((96, 96, 3), colour, np.uint8)
    mask = np.zeros((96, 96), np.uint8)
    cv2.circle(mask, (48, 48), 18, 1, -1)
    image[mask == 1] = (60, 30, 30)
    return image, mask


def angle_of(colour: tuple[int, int, int]) -> float:
    lightness, _, yellow = cv2.cvtColor(np.array([[colour]], np.float32) / 255, cv2.COLOR_RGB2LAB)[0, 0]
    return float(np.degrees(np.arctan((lightness - 50) / yellow)))


@pytest.mark.parametrize("colour", [LIGHT, BROWN])
def test_the_angle_is_that_of_the_skin_alone(colour: tuple[int, int, int]) -> None:
    image, mask = picture(colour)
    expected = angle_of(colour)
    assert typology_angle(image, mask) == pytest.approx(expected, abs=0.5)
    image[:, 10:13] = 20  # a hair
    surround = np.ones((96, 96), np.uint8)
    cv2.circle(surround, (48, 48), 44, 0, -1)
    image[surround == 1] = 3
    assert typology_angle(image, mask) == pytest.approx(expected, abs=0.5)


def test_lighter_skin_has_the_larger_angle_and_a_group() -> None:
    light, brown = (typology_angle(*picture(colour)) for colour in (LIGHT, BROWN))
    assert light is not None and brown is not None and light > brown
    assert skin_group(light) in ("light", "very light") and skin_group(brown) in ("brown", "dark")
    assert skin_group(None) == "unknown" and skin_group(-60.0) == "dark" and skin_group(30.0) == "intermediate"


def test_a_picture_that_is_all_lesion_has_no_estimate() -> None:
    image, _ = picture(LIGHT)
    assert typology_angle(image, np.ones((96, 96), np.uint8)) is None
