"""A lesion: its outline, which is the mask, and the pigment, network, vessels and dots inside."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.data.drawn.brush import Field, blur, jitter, lay, noise, smoothstep
from trainer.data.drawn.looks import Look


def lesion_shape(rng: np.random.Generator, height: int, width: int, look: Look) -> NDArray[np.uint8]:
    """A closed curve r(angle) with random low harmonics, stretched, turned, and filled; well inside the picture."""
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    order = np.arange(2, 19)
    amplitude = rng.normal(0, 1, order.size) * look.irregularity / order**0.9
    phase = rng.uniform(0, 2 * np.pi, order.size)
    waves = (amplitude[:, None] * np.cos(order[:, None] * angle + phase[:, None])).sum(0)
    radius = min(height, width) * rng.uniform(*look.radius) * np.clip(1 + waves, 0.35, 1.9)
    ratio = np.sqrt(rng.uniform(1, look.elongation))
    x, y = radius * np.cos(angle) * ratio, radius * np.sin(angle) / ratio
    turn = rng.uniform(0, 2 * np.pi)
    x, y = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    fit = min(1.0, 0.45 * width / np.abs(x).max(), 0.45 * height / np.abs(y).max())
    x, y = x * fit, y * fit

    def place(curve: NDArray[np.float64], side: int) -> NDArray[np.float64]:
        edge = 0.04 * side
        centre = side * (0.5 + rng.normal(0, 0.05))
        return np.asarray(curve + np.clip(centre, edge - curve.min(), side - edge - curve.max()))

    points = np.stack((place(x, width), place(y, height)), 1)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.round(points).astype(np.int32)], 1)
    return mask


def paint_lesion(rng: np.random.Generator, planes: Field, mask: NDArray[np.uint8], look: Look, unit: float) -> None:
    """Paints a lesion of this outline over skin, in place."""
    height, width = mask.shape
    radius = float(np.sqrt(mask.sum() / np.pi))
    sigma = max(0.8, radius * look.softness * rng.uniform(0.6, 1.4))
    solid = mask.astype(np.float32)
    body = blur(mask, sigma)
    core = blur(mask, max(1.0, radius * 0.35))
    speckle = noise(rng, height, width, 9 * unit, 3)
    # The pigment thins out in patches towards the border; the outline stays where the mask has it.
    body = np.clip(body + speckle * np.float32(0.10) * (body * (1 - body) * 4), 0, 1).astype(np.float32)

    base = jitter(rng, look.pigments[0], 10)
    tone = noise(rng, height, width, max(6.0, 0.6 * radius), 4)
    opacity = np.float32(look.strength) * body * (0.72 + 0.28 * core)
    lay(planes, base, opacity)
    planes += (tone + speckle) * body * np.float32(7)

    others = list(look.pigments[1:])
    count = int(rng.integers(look.extra_pigments[0], look.extra_pigments[1] + 1))
    for index in rng.permutation(len(others))[:count]:
        patch = noise(rng, height, width, max(8.0, radius * rng.uniform(0.5, 1.1)), 3)
        level = rng.uniform(-0.3, 0.5)
        alpha = (
            smoothstep(patch + speckle * np.float32(0.25), level, level + 1.5)
            * body
            * np.float32(rng.uniform(0.55, 0.9))
        )
        lay(planes, jitter(rng, others[index], 8), alpha)

    dark = np.clip(base * 0.5, 10, 255)
    if rng.random() < look.network:
        mesh = smoothstep(-np.abs(noise(rng, height, width, 9 * unit)), -0.8, 0.0)
        lay(planes, dark, mesh * body * core * np.float32(rng.uniform(0.3, 0.6)))
    if rng.random() < look.vessels:
        vessels = smoothstep(-np.abs(noise(rng, height, width, 0.5 * radius, 2)), -0.10, 0.0)
        lay(planes, (168, 48, 60), vessels * body * np.float32(rng.uniform(0.4, 0.7)))
    if rng.random() < look.dots:
        layer = np.zeros((height, width), np.uint8)
        rows, columns = np.nonzero(mask)
        for _ in range(int(rng.integers(12, 60))):
            at = int(rng.integers(rows.size))
            size = max(1, round(rng.uniform(1.2, 4.2) * unit))
            cv2.circle(layer, (int(columns[at]), int(rows[at])), size, int(rng.integers(120, 255)), cv2.FILLED)
        alpha = cv2.GaussianBlur(layer, (0, 0), max(0.6, unit)).astype(np.float32) / np.float32(255)
        lay(planes, dark * np.float32(0.8), alpha * solid * np.float32(0.8))
