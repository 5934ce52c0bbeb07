"""Skin: its tone and mottling, lines, vessels and freckles."""

from __future__ import annotations

import cv2
import numpy as np

from trainer.data.drawn.brush import Field, jitter, lay, noise, point, smoothstep
from trainer.data.drawn.looks import Colour

_SKINS: tuple[Colour, ...] = (
    (226, 172, 176),
    (220, 186, 176),
    (228, 150, 146),
    (214, 176, 152),
    (206, 186, 192),
    (232, 158, 172),
    (196, 152, 132),
    (212, 162, 166),
)


def draw_skin(rng: np.random.Generator, height: int, width: int, unit: float) -> Field:
    """Bare skin, planes of shape (3, height, width); `unit` is what one pixel of a 450x600 picture becomes."""
    base = jitter(rng, _SKINS[rng.integers(len(_SKINS))], 7)
    mottle = noise(rng, height, width, 60 * unit, 4)
    red = noise(rng, height, width, 34 * unit, 3)
    grain = noise(rng, height, width, 4.5 * unit, 2)
    strength = rng.uniform(0.5, 1.3)
    # Skin lines: noise stretched along one direction.
    turn = np.deg2rad(rng.uniform(0, 180))
    reach = np.array((np.cos(turn), np.sin(turn))) * 4
    kernel = np.zeros((9, 9), np.float32)
    cv2.line(kernel, point(4 - reach), point(4 + reach), 1.0, 1)
    lines = cv2.filter2D(noise(rng, height, width, 3.2 * unit), -1, kernel / kernel.sum())
    grey = mottle * np.float32(4.5 * strength) + grain * np.float32(2.2) + lines * np.float32(rng.uniform(1.5, 4))
    red *= np.float32(4.0 * strength)
    planes = np.stack([np.float32(v) + grey + red * np.float32(k) for v, k in zip(base, (0.3, -1, -0.8), strict=True)])
    if rng.random() < 0.35:
        vessels = smoothstep(-np.abs(noise(rng, height, width, 26 * unit, 2)), -0.16, 0.0)
        lay(planes, base + np.array((-6, -48, -40)), vessels * np.float32(rng.uniform(0.12, 0.35)))
    for _ in range(int(rng.integers(0, 5))):  # freckles
        lay(planes, base - np.array((24, 40, 48)), _spot(rng, height, width, unit))
    return np.asarray(planes, np.float32)


def _spot(rng: np.random.Generator, height: int, width: int, unit: float) -> Field:
    spot = np.zeros((height, width), np.uint8)
    centre = int(rng.uniform(0, width)), int(rng.uniform(0, height))
    axes = max(1, round(rng.uniform(3, 9) * unit)), max(1, round(rng.uniform(3, 7) * unit))
    cv2.ellipse(spot, centre, axes, rng.uniform(0, 180), 0, 360, 255, cv2.FILLED)
    blurred = cv2.GaussianBlur(spot, (0, 0), max(0.8, 3 * unit))
    return np.asarray(blurred.astype(np.float32) * np.float32(rng.uniform(0.15, 0.5) / 255), np.float32)
