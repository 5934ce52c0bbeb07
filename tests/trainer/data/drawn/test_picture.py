"""Drawn pictures: the same from the same seed, of any size, classes as they lean; and a second look."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_infer.steps.quality import measure_quality
from edge_infer.steps.resize import resize
from trainer.data.drawn import BARE_SKIN, LOOKS, draw_picture, second_look


@pytest.mark.parametrize("kind", [*LOOKS, BARE_SKIN])
def test_same_seed_draws_the_same_picture(kind: str) -> None:
    first, again, other = (draw_picture(np.random.default_rng(seed), 120, 160, kind) for seed in (5, 5, 6))
    assert np.array_equal(first.image, again.image) and np.array_equal(first.mask, again.mask)
    assert not np.array_equal(first.image, other.image)
    assert first.image.shape == (120, 160, 3) and first.image.dtype == np.uint8
    assert first.mask.shape == (120, 160) and first.mask.dtype == np.uint8
    assert first.dx == kind


def test_bare_skin_has_no_lesion() -> None:
    assert not draw_picture(np.random.default_rng(0), 90, 120, BARE_SKIN).mask.any()


def test_melanoma_is_darker_than_nevus_and_more_irregular() -> None:
    def lean(kind: str) -> tuple[float, float]:
        brightness, roundness = [], []
        for seed in range(12):
            picture = draw_picture(np.random.default_rng(seed), 180, 240, kind, hairs=0, vignette=False)
            brightness.append(picture.image[picture.mask == 1].mean())
            contour = max(cv2.findContours(picture.mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0], key=len)
            roundness.append(4 * np.pi * cv2.contourArea(contour) / cv2.arcLength(contour, True) ** 2)
        return float(np.mean(brightness)), float(np.mean(roundness))

    (dark, jagged), (light, smooth) = lean("mel"), lean("nv")
    assert dark < light - 10
    assert jagged < smooth - 0.05


def test_pictures_count_as_sharp_and_evenly_lit() -> None:
    for seed in range(8):
        picture = draw_picture(np.random.default_rng(seed), hairs=0, vignette=False, artefacts=False)
        quality = measure_quality(resize(picture.image, 192, 256))
        assert quality.sharpness > 0.01
        assert 80 < quality.luminance < 220


@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 200), (450, 600), (900, 700)])
def test_any_size_can_be_drawn(height: int, width: int) -> None:
    picture = draw_picture(np.random.default_rng(1), height, width, "nv")
    assert picture.image.shape == (height, width, 3)
    assert picture.mask.any()


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind 'nevus'"):
        draw_picture(np.random.default_rng(0), kind="nevus")
    with pytest.raises(ValueError, match="at least 32"):
        draw_picture(np.random.default_rng(0), 10, 600)


def test_second_look_shows_the_same_lesion_elsewhere() -> None:
    first = draw_picture(np.random.default_rng(0), 180, 240, "nv")
    second = second_look(np.random.default_rng(1), first)
    assert second.dx == "nv"
    assert not np.array_equal(first.mask, second.mask)
    assert 0.7 < second.mask.sum() / first.mask.sum() < 1.6
