"""What every part of a picture is painted with: smooth noise, soft edges, layers of colour."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.data.drawn.looks import Colour

Field = NDArray[np.float32]


def to_uint8(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Levels cut to 0..255, fractions cut off."""
    return np.clip(image, 0, 255).astype(np.uint8)


def noise(rng: np.random.Generator, height: int, width: int, cell: float, octaves: int = 1) -> Field:
    """Smooth noise, roughly standard normal, whose largest features are `cell` pixels wide."""
    coarse = cell / 2 ** (octaves - 1) >= 8  # no detail is lost at half the resolution
    rows, columns = (height // 2 + 1, width // 2 + 1) if coarse else (height, width)
    total = np.zeros((rows, columns), np.float32)
    power = 0.0
    for octave in range(octaves):
        size = max(cell / 2**octave, 1.0)
        shape = (max(2, round(height / size) + 1), max(2, round(width / size) + 1))
        weight = 0.6**octave
        grid = rng.standard_normal(shape, dtype=np.float32) * np.float32(weight)
        total += cv2.resize(grid, (columns, rows), interpolation=cv2.INTER_CUBIC)
        power += weight**2
    total *= np.float32(1 / (0.75 * power**0.5))
    return np.asarray(cv2.resize(total, (width, height), interpolation=cv2.INTER_LINEAR)) if coarse else total


def smoothstep(field: Field, low: float, high: float) -> Field:
    """0 below `low`, 1 above `high`, a soft step between."""
    t = np.clip((field - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def blur(mask: NDArray[np.uint8], sigma: float) -> Field:
    """A 0/1 mask with a border as soft as a Gaussian of this many pixels; wide ones are computed on a small copy."""
    height, width = mask.shape
    step = max(1, int(sigma // 3))
    small = cv2.resize(
        mask * np.uint8(255), (max(1, width // step), max(1, height // step)), interpolation=cv2.INTER_AREA
    )
    blurred = cv2.GaussianBlur(small, (0, 0), max(0.5, sigma / step))
    grown = cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(grown * np.float32(1 / 255), np.float32)


def lay(planes: Field, colour: Sequence[float] | NDArray[np.floating], alpha: Field) -> None:
    """Lays a colour over a picture (3, height, width) in place, as opaque as `alpha` says pixel by pixel."""
    for plane, value in zip(planes, colour, strict=True):
        plane += (np.float32(value) - plane) * alpha


def jitter(rng: np.random.Generator, colour: Colour, spread: float) -> NDArray[np.float32]:
    """A colour a little lighter or darker, and of a little other hue."""
    tone = rng.normal(0, spread) + rng.normal(0, spread / 2, 3)
    return np.clip(np.asarray(colour) + tone, 8, 250).astype(np.float32)


def point(xy: NDArray[np.float64]) -> tuple[int, int]:
    """Whole pixels, as OpenCV draws between them."""
    return round(float(xy[0])), round(float(xy[1]))
