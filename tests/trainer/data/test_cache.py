"""What is cached is what the runtime would cut."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edge_infer.rules import Outside, RoiRule
from edge_infer.steps.crop import crop_roi, lesion_box, roi_box
from edge_infer.steps.mask import largest_region, restore_mask
from edge_infer.steps.resize import resize
from trainer.data import cache as module
from trainer.data.cache import cache_crops, cache_pictures
from trainer.data.ham10000 import Record, read_ham10000, read_image, read_mask
from trainer.data.transforms import augment_batch
from trainer.errors import DataError
from trainer.recipe import AugmentConfig

RULE = RoiRule(background="keep", margin=0.15)


def test_pictures_are_resized_as_in_use(drawn_records: list[Record], toy_cache: Path) -> None:
    records = drawn_records[:5]
    arrays = cache_pictures(records, 48, toy_cache)
    assert arrays.masks is not None
    for row, record in enumerate(records):
        np.testing.assert_array_equal(arrays.images[row], resize(read_image(record.image_path), 48, 48))
        np.testing.assert_array_equal(arrays.masks[row], restore_mask(read_mask(record.mask_path), 48, 48))


@pytest.mark.parametrize("background", ["keep", "zero"])
def test_crops_are_cut_as_in_use(drawn_records: list[Record], toy_cache: Path, background: str) -> None:
    rule = RoiRule(background=background, margin=0.15)  # type: ignore[arg-type]
    arrays = cache_crops(drawn_records[:5], 40, rule, folder=toy_cache)
    for row, record in enumerate(drawn_records[:5]):
        image, mask = read_image(record.image_path), largest_region(read_mask(record.mask_path))
        lesion = lesion_box(mask)
        assert lesion is not None
        box = roi_box(lesion, *mask.shape, rule.margin)
        np.testing.assert_array_equal(arrays.images[row], crop_roi(image, mask, box, rule, 40))
    np.testing.assert_array_equal(arrays.frames, np.tile([0, 0, 1, 1], (5, 1)))


def test_frame_of_a_wider_crop_is_the_serving_crop(drawn_records: list[Record], toy_cache: Path) -> None:
    wide = cache_crops(drawn_records, 160, RULE, margin=0.4, folder=toy_cache)
    serving = cache_crops(drawn_records, 64, RULE, folder=toy_cache)
    assert wide.frames is not None
    assert not np.allclose(wide.frames, [0, 0, 1, 1])
    pictures, _ = augment_batch(
        torch.from_numpy(np.array(wide.images)), None, torch.from_numpy(np.array(wide.frames)), AugmentConfig(), 64
    )
    framed = pictures.permute(0, 2, 3, 1).numpy() * 255
    off = np.abs(framed - serving.images).mean((1, 2, 3))
    assert off.max() < 4  # two resamplings of the same region
    shifted = np.abs(np.roll(framed, 4, axis=2) - serving.images).mean((1, 2, 3))
    assert (off < shifted).all()


@pytest.mark.parametrize("outside", ["clip", "cap", "reflect"])
def test_frames_fit_every_rule(drawn_records: list[Record], toy_cache: Path, outside: Outside) -> None:
    rule = RoiRule("keep", 0.6, outside)
    wide = cache_crops(drawn_records, 160, rule, margin=1.1, folder=toy_cache)
    serving = cache_crops(drawn_records, 64, rule, folder=toy_cache)
    assert wide.frames is not None
    assert not np.allclose(wide.frames, [0, 0, 1, 1])
    sides = wide.frames[:, 2:] - wide.frames[:, :2]
    assert np.allclose(sides[:, 0], sides[:, 1]) == (outside != "clip")
    pictures, _ = augment_batch(
        torch.from_numpy(np.array(wide.images)), None, torch.from_numpy(np.array(wide.frames)), AugmentConfig(), 64
    )
    off = np.abs(pictures.permute(0, 2, 3, 1).numpy() * 255 - serving.images).mean((1, 2, 3))
    assert off.max() < 4
    for row, record in enumerate(drawn_records[:5]):
        image, mask = read_image(record.image_path), largest_region(read_mask(record.mask_path))
        lesion = lesion_box(mask)
        assert lesion is not None
        box = roi_box(lesion, *mask.shape, rule.margin, outside)
        np.testing.assert_array_equal(serving.images[row], crop_roi(image, mask, box, rule, 64))


def test_second_use_reads_and_a_changed_picture_decodes_again(
    drawn_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(drawn_folder, tmp_path / "copy"))
    records = read_ham10000(folder)[:3]
    first = cache_pictures(records, 32, tmp_path / "cache").images.copy()
    decoded: list[Path] = []
    real = read_image
    monkeypatch.setattr(module, "read_image", lambda path: decoded.append(path) or real(path))
    np.testing.assert_array_equal(cache_pictures(records, 32, tmp_path / "cache").images, first)
    assert decoded == []
    assert cv2.imwrite(str(records[1].image_path), np.zeros((96, 128, 3), np.uint8))
    again = cache_pictures(records, 32, tmp_path / "cache").images
    assert len(decoded) == 3
    assert again[1].max() == 0
    np.testing.assert_array_equal(again[[0, 2]], first[[0, 2]])


def test_interrupted_cache_leaves_nothing_behind(drawn_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(drawn_folder, tmp_path / "copy"))
    records = read_ham10000(folder)[:3]
    records[2].image_path.write_bytes(b"no picture")
    with pytest.raises(DataError, match=records[2].image_id):
        cache_pictures(records, 32, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_empty_mask_is_refused(drawn_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(drawn_folder, tmp_path / "copy"))
    records = read_ham10000(folder)[:2]
    assert cv2.imwrite(str(records[1].mask_path), np.zeros((96, 128), np.uint8))
    with pytest.raises(DataError, match=f"{records[1].image_id}.* is empty"):
        cache_crops(records, 32, RULE, folder=tmp_path / "cache")


def test_no_picture_is_an_error(toy_cache: Path) -> None:
    with pytest.raises(DataError, match="no picture"):
        cache_pictures([], 32, toy_cache)
