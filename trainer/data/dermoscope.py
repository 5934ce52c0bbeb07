"""What a dermoscope leaves in its pictures: the round field of its lens, the scale on its glass, bubbles in its gel.

Each is drawn for each picture on its own, in every source, so that none of them says where a picture comes from. All
take and give float32 RGB 0..1, shape (n, 3, s, s), and move no pixel, so that masks stay.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.recipe import AugmentConfig

_Layer = tuple[float, NDArray[np.float32]]  # a grey value, and its opacity, shape (s, s)
_Draw = Callable[[np.random.Generator, int], list[_Layer]]

RING_RADIUS = (0.85, 1.3)
"""Of the round field, as a share of half the side: below 1 it shows on all sides, above 1.41 nowhere."""
TICKS = (8, 40)
"""Marks of a scale over the picture's side."""
BUBBLES = 12
"""Most bubbles in one picture."""


def apply_dermoscope(images: Tensor, augment: AugmentConfig) -> Tensor:
    """Every change that the recipe asks for, from the skin to the lens."""
    if augment.bubbles:
        images = bubbles(images, augment.bubbles)
    if augment.ruler:
        images = ruler(images, augment.ruler)
    if augment.ring:
        images = ring(images, augment.ring)
    return images


def ring(images: Tensor, share: float) -> Tensor:
    """With probability `share` everything outside a circle near the middle is dark, with a more or less soft edge."""
    count, side = len(images), images.shape[-1]
    chosen = torch.rand(count) < share
    low, high = RING_RADIUS
    radius = low + (high - low) * torch.rand(count)
    centre = 0.12 * (2 * torch.rand(count, 2) - 1)
    softness = 0.01 + 0.06 * torch.rand(count)
    dark = 0.08 * torch.rand(count)
    line = (torch.arange(side) + 0.5) * (2 / side) - 1
    down, across = centre[:, 0, None, None], centre[:, 1, None, None]
    distance = ((line[None, :, None] - down) ** 2 + (line[None, None] - across) ** 2).sqrt()
    inside = torch.sigmoid((radius[:, None, None] - distance) / softness[:, None, None])
    inside = torch.where(chosen[:, None, None], inside, torch.ones(()))[:, None].to(images.device)
    return images * inside + dark[:, None, None, None].to(images.device) * (1 - inside)


def ruler(images: Tensor, share: float) -> Tensor:
    """With probability `share` a scale of dark or light marks along a line near one side, every fifth one longer."""
    return _drawn(images, share, _ruler)


def bubbles(images: Tensor, share: float) -> Tensor:
    """With probability `share` 1 to `BUBBLES` round bubbles: a dark rim, a bright reflection of the lamp."""
    return _drawn(images, share, _bubbles)


def _drawn(images: Tensor, share: float, draw: _Draw) -> Tensor:
    chosen = torch.nonzero(torch.rand(len(images)) < share).flatten().tolist()
    generator = np.random.default_rng(int(torch.randint(2**31, ())))
    if not chosen:
        return images
    images = images.clone()
    for row in chosen:
        for value, layer in draw(generator, images.shape[-1]):
            opacity = torch.from_numpy(layer).to(images.device)
            images[row] = images[row] * (1 - opacity) + value * opacity
    return images


def _ruler(generator: np.random.Generator, side: int) -> list[_Layer]:
    layer = np.zeros((side, side), np.uint8)
    count, place = int(generator.integers(*TICKS)), generator.uniform(0.03, 0.2) * side
    length, thickness = generator.uniform(0.02, 0.06) * side, max(1, round(side * generator.uniform(0.004, 0.01)))
    for tick in range(count + 1):
        along = round(tick * side / count)
        end = place + length * (2 if tick % 5 == 0 else 1)
        cv2.line(layer, (along, round(place)), (along, round(end)), 255, thickness, cv2.LINE_AA)
    if generator.random() < 0.5:
        cv2.line(layer, (0, round(place)), (side, round(place)), 255, thickness, cv2.LINE_AA)
    turned = np.rot90(layer, int(generator.integers(4)))
    value = generator.uniform(0.0, 0.2) if generator.random() < 0.75 else generator.uniform(0.8, 1.0)
    return [(float(value), _opacity(turned, generator.uniform(0.5, 0.95)))]


def _bubbles(generator: np.random.Generator, side: int) -> list[_Layer]:
    rims, lights = np.zeros((side, side), np.uint8), np.zeros((side, side), np.uint8)
    for _ in range(int(generator.integers(1, BUBBLES + 1))):
        x, y = (int(value) for value in generator.uniform(0, side, 2))
        radius = max(2, round(side * generator.uniform(0.01, 0.05)))
        cv2.circle(rims, (x, y), radius, 255, max(1, radius // 4), cv2.LINE_AA)
        shift = round(radius * 0.35)
        cv2.circle(lights, (x - shift, y - shift), max(1, radius // 3), 255, cv2.FILLED, cv2.LINE_AA)
    return [(0.25, _opacity(rims, generator.uniform(0.2, 0.5))), (0.97, _opacity(lights, generator.uniform(0.5, 0.9)))]


def _opacity(layer: NDArray[np.uint8], strength: float) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.ascontiguousarray(layer).astype(np.float32) * np.float32(strength / 255)
    return found
