"""Mask clean-up, boxes and the ROI."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_infer.geometry import Box
from edge_infer.rules import RoiRule
from edge_infer.steps.crop import crop_roi, lesion_box, roi_box
from edge_infer.steps.mask import clean_mask, largest_region, lesion_confidence, restore_lesion, restore_mask
from edge_infer.steps.resize import resize, to_batch

KEEP, ZERO = RoiRule("keep", 0.15), RoiRule("zero", 0.0)


def disc(height: int, width: int, x: int, y: int, radius: int) -> NDArray[np.uint8]:
    mask = np.zeros((height, width), np.uint8)
    cv2.circle(mask, (x, y), radius, 1, -1)
    return mask


def test_only_the_largest_region_stays_and_its_holes_close() -> None:
    probability = np.zeros((60, 80), np.float32)
    probability[10:50, 10:50] = 0.5
    probability[20:30, 20:30] = 0.1
    probability[5:15, 60:70] = 0.99
    mask = clean_mask(probability, 0.5)
    expected = np.zeros((60, 80), np.uint8)
    expected[10:50, 10:50] = 1
    np.testing.assert_array_equal(mask, expected)
    assert mask.dtype == np.uint8


def test_the_threshold_is_inclusive_and_nothing_above_it_is_empty() -> None:
    probability = np.full((10, 10), 0.5, np.float32)
    assert clean_mask(probability, 0.5).all()
    assert not clean_mask(probability, np.nextafter(0.5, 1)).any()
    assert lesion_box(clean_mask(probability, 0.6)) is None


def test_confidence_is_the_mean_inside() -> None:
    probability = np.array([[0.9, 0.7], [0.2, 0.1]], np.float32)
    assert lesion_confidence(probability, np.array([[1, 1], [0, 0]], np.uint8)) == pytest.approx(0.8)
    assert lesion_confidence(probability, np.zeros((2, 2), np.uint8)) == 0.0


def test_diagonal_neighbours_belong_together() -> None:
    mask = np.eye(12, dtype=np.uint8)
    np.testing.assert_array_equal(largest_region(mask), mask)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_clean_up_agrees_with_connected_components(seed: int) -> None:
    noise = np.random.default_rng(seed).random((40, 50)).astype(np.float32)
    raw = (cv2.GaussianBlur(noise, (0, 0), 2) > 0.5).astype(np.uint8)
    kept = largest_region(raw)
    count, _ = cv2.connectedComponents(kept, connectivity=8)
    assert count <= 2
    background, _ = cv2.connectedComponents(1 - np.pad(kept, 1), connectivity=4)
    assert background == 2, "a hole is left"
    _, labels = cv2.connectedComponents(raw, connectivity=8)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    # Everything kept of the raw mask is one component, plus components that lay in its holes.
    outer = np.unique(labels[(kept == 1) & (cv2.erode(kept, cross, borderValue=0) == 0)])
    assert len(outer) == 1 and outer[0] != 0
    assert kept[labels == outer[0]].all()
    np.testing.assert_array_equal(largest_region(kept), kept)


def test_restored_masks_keep_area_and_place() -> None:
    small = disc(224, 224, 100, 120, 50)
    large = restore_mask(small, 448, 672)
    assert set(np.unique(large)) == {0, 1}
    assert large.mean() == pytest.approx(small.mean(), rel=0.02)
    box, reference = lesion_box(large), lesion_box(small)
    assert box and reference
    assert box.x0 == pytest.approx(reference.x0 * 3, abs=3)
    assert box.y1 == pytest.approx(reference.y1 * 2, abs=2)


sides = st.integers(2, 300)


@given(sides, sides, st.data())
@settings(max_examples=200, deadline=None)
def test_the_roi_is_a_square_around_the_lesion(height: int, width: int, data: st.DataObject) -> None:
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    lesion = Box(x0, y0, data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height)))
    margin = data.draw(st.sampled_from([0.0, 0.1, 0.15, 0.5]))
    box = roi_box(lesion, height, width, margin)
    side = box.x1 - box.x0
    longest = max(lesion.x1 - lesion.x0, lesion.y1 - lesion.y0)
    assert side == box.y1 - box.y0 == math.ceil(round(longest * (1 + 2 * margin), 6))
    assert box.x0 <= lesion.x0 and box.y0 <= lesion.y0 and box.x1 >= lesion.x1 and box.y1 >= lesion.y1
    for low, high, limit in ((box.x0, box.x1, width), (box.y0, box.y1, height)):
        if side <= limit:
            assert low >= 0 and high <= limit
        else:
            assert low <= 0 and high >= limit


def test_an_roi_that_fits_is_centred() -> None:
    assert roi_box(Box(100, 100, 140, 120), 300, 300, 0.0) == Box(100, 90, 140, 130)


@pytest.mark.parametrize("place", [(150, 100), (12, 12), (290, 190), (150, 5)])
def test_a_round_lesion_stays_round_wherever_it_lies(place: tuple[int, int]) -> None:
    mask = disc(200, 300, *place, radius=60)
    image = np.repeat((mask * 255)[..., None], 3, axis=2)
    lesion = lesion_box(mask)
    assert lesion
    box = roi_box(lesion, 200, 300, KEEP.margin)
    roi = crop_roi(image, mask, box, KEEP, 128)
    around = np.pad(mask, 200)
    cut = around[200 + box.y0 : 200 + box.y1, 200 + box.x0 : 200 + box.x1]
    expected = resize(cut * np.uint8(255), 128, 128)
    np.testing.assert_array_equal(roi[..., 0], expected)
    assert roi.shape == (128, 128, 3) and roi.flags.c_contiguous


def test_an_roi_larger_than_the_picture_is_padded_with_black() -> None:
    image = np.full((40, 100, 3), 200, np.uint8)
    mask = np.ones((40, 100), np.uint8)
    box = roi_box(Box(0, 0, 100, 40), 40, 100, 0.0)
    assert box == Box(0, -30, 100, 70)
    roi = crop_roi(image, mask, box, KEEP, 100)
    assert (roi[:30] == 0).all() and (roi[30:70] == 200).all() and (roi[70:] == 0).all()


def test_the_published_rule_blackens_the_background() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(1, 255, (80, 120, 3), dtype=np.uint8)
    mask = disc(80, 120, 60, 40, 20)
    lesion = lesion_box(mask)
    assert lesion
    box = roi_box(lesion, 80, 120, ZERO.margin)
    size = box.x1 - box.x0
    roi = crop_roi(image, mask, box, ZERO, size)
    inside = mask[box.y0 : box.y1, box.x0 : box.x1] == 1
    np.testing.assert_array_equal(roi[inside], image[box.y0 : box.y1, box.x0 : box.x1][inside])
    assert not roi[~inside].any()
    kept = crop_roi(image, mask, box, RoiRule("keep", 0.0), size)
    assert kept[~inside].any()


def test_resize_averages_when_shrinking() -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(resize(stripes, 16, 16).astype(int) - 128).max() <= 1
    assert resize(stripes, 64, 64) is stripes
    assert resize(np.zeros((5, 7, 3), np.uint8), 9, 4).shape == (9, 4, 3)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_resize_averages_like_opencv_to_the_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = (int(side) for side in rng.integers(16, 200, 2))
    shape = (rows, columns, 3) if seed % 2 else (rows, columns)
    image = rng.integers(0, 256, shape, dtype=np.uint8)
    height, width = int(rng.integers(8, rows + 1)), int(rng.integers(8, columns + 1))
    if seed % 5 == 0:
        height, width = rows // 2, columns // 2
    expected = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(resize(image, height, width), expected)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_a_mask_is_restored_by_the_rule_of_resizing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = (cv2.GaussianBlur(rng.random((40, 50), dtype=np.float32), (0, 0), 3) > 0.5).astype(np.uint8)
    height, width = int(rng.integers(20, 90)), int(rng.integers(20, 90))
    expected = (resize(mask * np.uint8(255), height, width) >= 128).astype(np.uint8)
    found = restore_mask(mask, height, width)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_a_lesion_is_found_where_its_whole_mask_has_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns, height, width = (int(side) for side in rng.integers(1, 90, 4))
    y, x = np.mgrid[:rows, :columns]
    middle, radius = rng.uniform(-3, 93, 2), rng.uniform(0.2, 40, 2)
    mask = (((y - middle[0]) / radius[0]) ** 2 + ((x - middle[1]) / radius[1]) ** 2 < 1).astype(np.uint8)
    found, whole = restore_lesion(mask, height, width), restore_mask(mask, height, width)
    np.testing.assert_array_equal(found.mask, whole)
    assert found.box == lesion_box(whole) and found.pixels == whole.sum()


def test_batches_are_stacked_in_order() -> None:
    batch = to_batch([np.full((2, 3, 3), i, np.uint8) for i in range(4)])
    assert batch.shape == (4, 2, 3, 3) and batch.flags.c_contiguous
    assert [int(item.max()) for item in batch] == [0, 1, 2, 3]
    turned = np.arange(18, dtype=np.uint8).reshape(3, 2, 3).transpose(1, 0, 2)
    alone = to_batch([turned])
    assert alone.flags.c_contiguous
    np.testing.assert_array_equal(alone, turned[None])
