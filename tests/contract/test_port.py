"""`exported/README.md`, followed to the letter in plain numpy without OpenCV, gives what the runtime computes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_infer.geometry import Box
from edge_infer.rules import RoiRule
from edge_infer.steps.crop import crop_roi, lesion_box, roi_box
from edge_infer.steps.mask import clean_mask, restore_mask
from edge_infer.steps.quality import measure_quality
from edge_infer.steps.resize import resize
from trainer.data.drawn import draw_picture

Floats = NDArray[np.float64]


def area_weights(n: int, new: int) -> Floats:
    """Step 2, along one axis: the share of source pixel j in output pixel i."""
    edges = np.arange(new + 1) * n / new
    pixels = np.arange(n)
    inside = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.maximum(inside, 0) * new / n


def bilinear_weights(n: int, new: int) -> Floats:
    """Step 2, along one axis."""
    y = (np.arange(new) + 0.5) * n / new - 0.5
    low = np.floor(y).astype(int)
    weights = np.zeros((new, n))
    np.add.at(weights, (np.arange(new), np.clip(low, 0, n - 1)), 1 - (y - low))
    np.add.at(weights, (np.arange(new), np.clip(low + 1, 0, n - 1)), y - low)
    return weights


def port_resize(image: NDArray[np.uint8], height: int, width: int) -> Floats:
    rows, columns = image.shape[:2]
    weigh = area_weights if height <= rows and width <= columns else bilinear_weights
    planes = image.reshape(rows, columns, -1).astype(np.float64)
    result = np.einsum("ir,rcx,jc->ijx", weigh(rows, height), planes, weigh(columns, width))
    return np.round(result).reshape(height, width, *image.shape[2:])


def port_region(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Step 4: what the outside (4-connected) cannot reach around a region is filled; Pick's theorem gives the area."""
    labels = label(mask.astype(bool), diagonal=True)
    best, best_area = np.zeros_like(mask), -1.0
    for number in range(1, labels.max() + 1):
        padded = np.pad(labels == number, 1)
        outside = label(~padded, diagonal=False)
        filled = outside != outside[0, 0]
        corners = [filled[:-1, :-1], filled[:-1, 1:], filled[1:, :-1], filled[1:, 1:]]
        count = sum(corner.astype(int) for corner in corners)
        area = (count == 4).sum() + (count == 3).sum() / 2  # the polygon's unit squares and triangles
        if area >= best_area:
            best, best_area = filled[1:-1, 1:-1].astype(np.uint8), float(area)
    return best


def label(mask: NDArray[np.bool_], *, diagonal: bool) -> NDArray[np.int_]:
    """Connected regions, numbered in reading order of their first pixels."""
    labels = np.zeros(mask.shape, int)
    steps = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0) and (diagonal or 0 in (y, x))]
    for start in zip(*np.nonzero(mask), strict=True):
        if labels[start]:
            continue
        labels[start] = labels.max() + 1
        stack = [start]
        while stack:
            y, x = stack.pop()
            for dy, dx in steps:
                near = (y + dy, x + dx)
                if 0 <= near[0] < mask.shape[0] and 0 <= near[1] < mask.shape[1] and mask[near] and not labels[near]:
                    labels[near] = labels[start]
                    stack.append(near)
    return labels


def port_square(lesion: Box, height: int, width: int, margin: float) -> tuple[int, int, int]:
    side = math.ceil(round(max(lesion.x1 - lesion.x0, lesion.y1 - lesion.y0) * (1 + 2 * margin), 6))

    def place(low: int, high: int, limit: int) -> int:
        start = math.floor((low + high - side) / 2)
        slack = limit - side
        return min(max(start, min(0, slack)), max(0, slack))

    return place(lesion.x0, lesion.x1, width), place(lesion.y0, lesion.y1, height), side


def noise(seed: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 99), *(st.integers(2, 70) for _ in range(4)))
def test_resize(seed: int, rows: int, columns: int, height: int, width: int) -> None:
    image = noise(seed, rows, columns, 3)
    assert np.abs(port_resize(image, height, width) - resize(image, height, width)).max() <= 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 9999), st.sampled_from([0.3, 0.45, 0.6]))
def test_clean_up(seed: int, density: float) -> None:
    coarse = np.random.default_rng(seed).random((14, 18)) < density
    mask = coarse.astype(np.uint8)
    assert np.array_equal(port_region(mask), clean_mask(mask.astype(np.float32), 0.5))


def test_of_equal_regions_the_last_in_reading_order_stays() -> None:
    mask = np.zeros((12, 12), np.float32)
    mask[1:4, 1:4] = mask[1:4, 7:10] = mask[7:10, 2:5] = 1
    assert lesion_box(clean_mask(mask, 0.5)) == Box(2, 7, 5, 10)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_square_and_crop(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(8, 60)), data.draw(st.integers(8, 60))
    x0, y0 = data.draw(st.integers(0, width - 2)), data.draw(st.integers(0, height - 2))
    lesion = Box(x0, y0, data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height)))
    margin = data.draw(st.sampled_from([0.0, 0.1, 0.15, 0.5]))
    left, top, side = port_square(lesion, height, width, margin)
    assert roi_box(lesion, height, width, margin) == Box(left, top, left + side, top + side)
    image, mask = noise(height, height, width, 3), np.zeros((height, width), np.uint8)
    mask[lesion.y0 : lesion.y1, lesion.x0 : lesion.x1] = 1
    for background in ("keep", "zero"):
        shown = image * mask[..., None] if background == "zero" else image
        canvas = np.zeros((side, side, 3), np.uint8)
        for y in range(side):
            for x in range(side):
                if 0 <= top + y < height and 0 <= left + x < width:
                    canvas[y, x] = shown[top + y, left + x]
        box = roi_box(lesion, height, width, margin)
        found = crop_roi(image, mask, box, RoiRule(background, margin), 24)
        assert np.abs(port_resize(canvas, 24, 24) - found).max() <= 1


def test_mask_at_the_pictures_size() -> None:
    picture = draw_picture(np.random.default_rng(3), 90, 120, "mel")
    small = (port_resize(picture.mask * np.uint8(255), 56, 56) >= 128).astype(np.uint8)
    port = port_resize(small * np.uint8(255), 90, 120) >= 128
    assert (port != restore_mask(small, 90, 120).astype(bool)).mean() < 0.002


def test_quality() -> None:
    image = draw_picture(np.random.default_rng(5), 96, 96, "nv").image
    grey = np.round(image @ np.array([0.299, 0.587, 0.114]))
    mirrored = np.pad(grey, 1, mode="reflect")
    around = mirrored[:-2, 1:-1] + mirrored[2:, 1:-1] + mirrored[1:-1, :-2] + mirrored[1:-1, 2:]
    expected = (grey.mean(), grey.std(), (around - 4 * grey).var() / grey.var())
    assert tuple(measure_quality(image)) == pytest.approx(expected, rel=2e-3)
