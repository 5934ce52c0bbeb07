"""Dermoscopic pictures as another dermatoscope would show them: other colours, and a round field of view."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def vary(image: Picture, rng: np.random.Generator) -> Picture:
    """A copy with another white balance and brightness and, for every second, a round field of view."""
    changed = image.astype(np.float32)
    if rng.random() < 0.5:
        changed = round_view(changed, rng)
    gains = rng.uniform(0.9, 1.1, 3) * rng.uniform(0.8, 1.2)
    return np.asarray(np.clip(changed * gains, 0, 255), np.uint8)


def round_view(image: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.float32]:
    """The picture (of 4:3, squeezed to any shape) with a dark surround, as through a dermatoscope without zoom."""
    height, width = image.shape[:2]
    y = (np.arange(height) + 0.5)[:, None] / height - 0.5
    x = (np.arange(width) + 0.5)[None, :] / width - 0.5
    distance = np.hypot(x, y * 3 / 4)
    inside = np.clip((rng.uniform(0.45, 0.62) - distance) / 0.01 + 0.5, 0, 1)[..., None]
    return np.asarray(image * inside + rng.uniform(0, 12) * (1 - inside), np.float32)
