"""Augmentations that cover or mix pictures of a batch; masks follow where pixels of another picture come in.

All take float32 RGB 0..1, shape (n, 3, s, s), and masks, uint8 0/1, shape (n, s, s), and return new tensors.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

CUTOUT_AREA = (0.02, 0.2)
"""Smallest and largest rectangle that is blacked out, as a share of the picture."""
_HAIR_COLOURS = ((0.12, 0.09, 0.07), (0.32, 0.22, 0.14), (0.55, 0.45, 0.33))


def mosaic(images: Tensor, masks: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """With probability `share` a picture becomes four pictures of the batch at half size (Bochkovskiy et al., 2020)."""
    side = images.shape[-1]
    half = side // 2
    chosen = torch.nonzero(torch.rand(len(images)) < share).flatten().tolist()
    sources = torch.randint(len(images), (len(images), 4))
    if not chosen:
        return images, masks
    small = F.interpolate(images, size=(half, half), mode="area")
    small_masks = (F.interpolate(masks[:, None].float(), size=(half, half), mode="area") >= 0.5).to(torch.uint8)[:, 0]
    images, masks = images.clone(), masks.clone()
    for row in chosen:
        for corner, source in enumerate(sources[row].tolist()):
            y, x = (corner // 2) * (side - half), (corner % 2) * (side - half)
            images[row, :, y : y + half, x : x + half] = small[source]
            masks[row, y : y + half, x : x + half] = small_masks[source]
    return images, masks


def cutmix(images: Tensor, masks: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """With probability `share` a rectangle is replaced by that of another picture (Yun et al., ICCV 2019)."""
    count, side = len(images), images.shape[-1]
    chosen = torch.nonzero(torch.rand(count) < share).flatten().tolist()
    partners = (torch.arange(count) + torch.randint(1, max(2, count), (count,))) % count
    boxes = _boxes(count, side, (0.0, 1.0))
    mixed, mixed_masks = images.clone(), masks.clone()
    for row in chosen:
        y0, y1, x0, x1 = boxes[row]
        mixed[row, :, y0:y1, x0:x1] = images[partners[row], :, y0:y1, x0:x1]
        mixed_masks[row, y0:y1, x0:x1] = masks[partners[row], y0:y1, x0:x1]
    return mixed, mixed_masks


def cutout(images: Tensor, share: float) -> Tensor:
    """With probability `share` a rectangle is blacked out (DeVries and Taylor, 2017)."""
    chosen = torch.nonzero(torch.rand(len(images)) < share).flatten().tolist()
    boxes = _boxes(len(images), images.shape[-1], CUTOUT_AREA)
    images = images.clone()
    for row in chosen:
        y0, y1, x0, x1 = boxes[row]
        images[row, :, y0:y1, x0:x1] = 0
    return images


def hairs(images: Tensor, most: int) -> Tensor:
    """Draws 0 to `most` curved hairs over each picture."""
    generator = np.random.default_rng(int(torch.randint(2**31, ())))
    covered = images.clone()
    for row in range(len(images)):
        layer = _hair_layer(generator, images.shape[-1], int(generator.integers(0, most + 1)))
        colour = torch.tensor(_HAIR_COLOURS[generator.integers(len(_HAIR_COLOURS))], device=images.device)
        opacity = torch.from_numpy(layer).to(images.device)
        covered[row] = covered[row] * (1 - opacity) + colour[:, None, None] * opacity
    return covered


def _hair_layer(generator: np.random.Generator, side: int, count: int) -> NDArray[np.float32]:
    """Opacity of the hairs, shape (side, side), 0..0.9: quadratic Bezier curves."""
    layer = np.zeros((side, side), np.uint8)
    steps = np.linspace(0, 1, 16)[:, None]
    for _ in range(count):
        start, middle, end = generator.uniform(-0.1, 1.1, (3, 2)) * side
        middle = (start + end) / 2 + (middle - side / 2) * 0.3
        curve = (1 - steps) ** 2 * start + 2 * steps * (1 - steps) * middle + steps**2 * end
        thickness = max(1, round(side * generator.uniform(0.003, 0.01)))
        cv2.polylines(layer, [curve.round().astype(np.int32)], False, 230, thickness, cv2.LINE_AA)
    opacity: NDArray[np.float32] = layer.astype(np.float32) / np.float32(255)
    return opacity


def _boxes(count: int, side: int, area: tuple[float, float]) -> list[tuple[int, int, int, int]]:
    """Random rectangles y0, y1, x0, x1 with an area of the given share of the picture and a ratio of 1/2 to 2."""
    shares = area[0] + (area[1] - area[0]) * torch.rand(count)
    ratios = torch.exp((2 * torch.rand(count) - 1) * np.log(2))
    heights = (shares * ratios).sqrt().clamp(max=1) * side
    widths = (shares / ratios).sqrt().clamp(max=1) * side
    places = torch.rand(count, 2)
    boxes = []
    for height, width, (down, right) in zip(heights.tolist(), widths.tolist(), places.tolist(), strict=True):
        tall, wide = max(1, round(height)), max(1, round(width))
        y, x = round(down * (side - tall)), round(right * (side - wide))
        boxes.append((y, y + tall, x, x + wide))
    return boxes
