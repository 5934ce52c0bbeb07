"""The generator of dermoscopy-like pictures: deterministic, exact masks, HAM10000's layout."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_infer.steps.mask import largest_region
from edge_infer.steps.quality import measure_quality
from edge_infer.steps.resize import resize
from trainer.data.drawn import BARE_SKIN, LOOKS, draw_dataset, draw_examples, draw_picture, main, second_look


@pytest.mark.parametrize("kind", [*LOOKS, BARE_SKIN])
def test_same_seed_draws_the_same_picture(kind: str) -> None:
    first, again, other = (draw_picture(np.random.default_rng(seed), 120, 160, kind) for seed in (5, 5, 6))
    assert np.array_equal(first.image, again.image) and np.array_equal(first.mask, again.mask)
    assert not np.array_equal(first.image, other.image)
    assert first.image.shape == (120, 160, 3) and first.image.dtype == np.uint8
    assert first.mask.shape == (120, 160) and first.mask.dtype == np.uint8
    assert first.dx == kind


@pytest.mark.parametrize("seed", range(20))
def test_mask_is_one_filled_region_inside_the_picture(seed: int) -> None:
    mask = draw_picture(np.random.default_rng(seed), 180, 240).mask
    assert set(np.unique(mask)) == {0, 1}
    assert 0.005 < mask.mean() < 0.7
    # A curve that crosses itself can leave single pixels hanging on by a corner; the clean-up must find nothing else.
    assert np.abs(largest_region(mask).astype(int) - mask).sum() <= 0.01 * mask.sum()
    assert not mask[0].any() and not mask[-1].any() and not mask[:, 0].any() and not mask[:, -1].any()


@pytest.mark.parametrize("kind", sorted(LOOKS))
def test_lesion_is_seen_where_the_mask_says(kind: str) -> None:
    differences = []
    for seed in range(8):
        picture = draw_picture(np.random.default_rng(seed), 225, 300, kind, hairs=0, vignette=False, artefacts=False)
        lesion = picture.mask.astype(bool)
        differences.append(picture.image[lesion].mean(0) - picture.image[~lesion].mean(0))
    assert np.mean(np.linalg.norm(differences, axis=1)) > 15


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


def test_dataset_has_the_layout_of_ham10000(tmp_path: Path) -> None:
    draw_dataset(tmp_path, 24, seed=3, height=60, width=80)
    with (tmp_path / "metadata.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "split"]
    assert {(row["dx"], row["split"]) for row in rows} >= {(dx, s) for dx in LOOKS for s in ("train", "val", "test")}
    assert len({row["lesion_id"] for row in rows}) == 24 < len(rows)
    split_of: dict[str, str] = {}
    for row in rows:
        assert split_of.setdefault(row["lesion_id"], row["split"]) == row["split"]
        image = cv2.imread(str(tmp_path / "images" / f"{row['image_id']}.jpg"))
        mask = cv2.imread(str(tmp_path / "masks" / f"{row['image_id']}_segmentation.png"), cv2.IMREAD_UNCHANGED)
        assert image is not None and image.shape == (60, 80, 3)
        assert mask is not None and mask.shape == (60, 80) and set(np.unique(mask)) == {0, 255}


def test_drawn_examples_in_the_repository_are_what_the_generator_draws(tmp_path: Path) -> None:
    main(["examples", "--folder", str(tmp_path)])
    stored = Path(__file__).parents[3] / "examples"
    assert (
        {path.name for path in tmp_path.iterdir()}
        == {path.name for path in stored.glob("*.jpg") if "ISIC_" not in path.name}
        == set(draw_examples())
    )
    for path in tmp_path.iterdir():
        assert path.stat().st_size < 60_000
        drawn, kept = (cv2.imread(str(folder / path.name)).astype(float) for folder in (tmp_path, stored))
        assert np.abs(drawn - kept).mean() < 2
