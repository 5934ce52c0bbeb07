"""Pictures that vectors are made of: drawn from formulas alone, so that they are the same everywhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def noise(seed: int, *shape: int) -> Image:
    """Uniform noise, uint8."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def pattern(height: int, width: int) -> Image:
    """RGB with another gradient in each channel, an oval, and fine stripes: no symmetry hides a swapped axis."""
    y, x = np.mgrid[:height, :width] / np.array([height, width]).reshape(2, 1, 1)
    oval = ((y - 0.4) / 0.25) ** 2 + ((x - 0.55) / 0.3) ** 2 < 1
    stripes = 12 * np.sin(np.arange(width) * 1.3) + 8 * np.sin(np.arange(height) * 0.9)[:, None]
    channels = (90 + 120 * x, 60 + 130 * y, 40 + 90 * (1 - x) * (1 - y))
    picture = np.stack([np.where(oval, 0.5 * c, c) + stripes for c in channels], axis=-1)
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def skin(height: int, width: int, *, radius: float = 0.25) -> Image:
    """A dark lesion with a soft, lobed border on skin, with grain: passes as dermoscopy for most bundles."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    dy, dx = (y - 0.48 * height) / height, (x - 0.53 * width) / height
    angle, distance = np.arctan2(dy, dx), np.hypot(dy, dx)
    edge = radius * (1 + 0.12 * np.sin(3 * angle) + 0.06 * np.sin(5 * angle + 1))
    inside = 1 / (1 + np.exp((distance - edge) / 0.012))
    grain = np.random.default_rng(7).normal(0, 1, (3, height, width)).cumsum(1).cumsum(2)
    grain = 3 * (grain - grain.mean()) / max(float(grain.std()), 1.0) + np.random.default_rng(8).normal(
        0, 3, (height, width)
    )
    light = 1 - 0.12 * (distance / distance.max()) ** 2
    healthy, dark = np.array([205.0, 150.0, 132.0]), np.array([112.0, 72.0, 62.0])
    colour = healthy + inside[..., None] * (dark - healthy)
    picture = colour * light[..., None] + grain.transpose(1, 2, 0)
    result: Image = np.clip(np.round(picture), 0, 255).astype(np.uint8)
    return result


def disc(height: int, width: int, centre: tuple[float, float], radius: float) -> NDArray[np.bool_]:
    """Pixels whose centres lie within a circle."""
    y, x = np.mgrid[:height, :width]
    inside: NDArray[np.bool_] = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2
    return inside


def probability_map(inside: NDArray[np.bool_], *, high: float = 0.97, low: float = 0.02) -> NDArray[np.float32]:
    """A map with two values."""
    return np.where(inside, np.float32(high), np.float32(low))
