"""One picture, from skin to sensor noise, and a second photograph of the same lesion."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.data.drawn.artefacts import draw_artefacts, draw_hairs
from trainer.data.drawn.brush import Field, smoothstep, to_uint8
from trainer.data.drawn.lesion import lesion_shape, paint_lesion
from trainer.data.drawn.looks import BARE_SKIN, LOOKS, chances
from trainer.data.drawn.skin import draw_skin

HEIGHT, WIDTH = 450, 600


@dataclass(frozen=True, eq=False)
class DrawnPicture:
    """One drawn picture.

    Attributes:
        image: RGB uint8, shape (height, width, 3).
        mask: uint8 0/1, shape (height, width): the lesion exactly as it was drawn; all zero for bare skin.
        dx: HAM10000's name of the class, or "skin" where there is no lesion.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    dx: str


def draw_picture(
    rng: np.random.Generator,
    height: int = HEIGHT,
    width: int = WIDTH,
    kind: str | None = None,
    *,
    hairs: int | None = None,
    vignette: bool | None = None,
    artefacts: bool = True,
) -> DrawnPicture:
    """Draws one picture; the same state of `rng` gives the same picture.

    Args:
        rng: the only source of chance.
        height: rows, at least 32.
        width: columns, at least 32.
        kind: one of HAM10000's seven classes, "skin" for skin without a lesion, None for a class at its usual share.
        hairs: how many; None leaves it to chance.
        vignette: whether the field of view is round and dark outside; None leaves it to chance.
        artefacts: allow air bubbles, ruler marks and gel reflections.

    Raises:
        ValueError: an unknown kind, or a side below 32 pixels.
    """
    if min(height, width) < 32:
        raise ValueError(f"height and width must be at least 32, got {height}x{width}")
    if kind is None:
        kind = str(rng.choice(list(LOOKS), p=chances()))
    elif kind != BARE_SKIN and kind not in LOOKS:
        raise ValueError(f"unknown kind '{kind}'; one of: {', '.join((*LOOKS, BARE_SKIN))}")
    unit = min(height / HEIGHT, width / WIDTH)
    planes = draw_skin(rng, height, width, unit)
    mask = np.zeros((height, width), np.uint8)
    if kind != BARE_SKIN:
        look = LOOKS[kind]
        mask = lesion_shape(rng, height, width, look)
        paint_lesion(rng, planes, mask, look, unit)
    if artefacts:
        draw_artefacts(rng, planes, unit)
    chance = rng.random()
    count = hairs if hairs is not None else int(rng.integers(6, 30)) if chance < 0.25 else int(rng.integers(0, 4))
    draw_hairs(rng, planes, count, unit)
    photograph = _light(rng, planes, rng.random() < 0.15 if vignette is None else vignette)
    return DrawnPicture(photograph, mask, kind)


def second_look(rng: np.random.Generator, picture: DrawnPicture) -> DrawnPicture:
    """Another photograph of the same lesion: turned, shifted, scaled, and lit a little differently."""
    height, width = picture.mask.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-40, 40), rng.uniform(0.95, 1.15))
    turn[:, 2] += rng.uniform(-0.04, 0.04, 2) * (width, height)
    image = cv2.warpAffine(picture.image, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    mask = cv2.warpAffine(picture.mask, turn, (width, height), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    gain = rng.uniform(0.93, 1.07) * rng.uniform(0.98, 1.02, 3)
    noise = rng.normal(0, 1.5, image.shape).astype(np.float32)
    return DrawnPicture(to_uint8(image * gain.astype(np.float32) + noise), mask.astype(np.uint8), picture.dx)


def _light(rng: np.random.Generator, planes: Field, vignette: bool) -> NDArray[np.uint8]:
    """Uneven light, the round field of view, and sensor noise."""
    height, width = planes.shape[1:]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * np.float32(height / width)
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    distance = np.sqrt(x * x + y * y)
    tilt = rng.normal(0, 0.03, 2)
    light = 1 - np.float32(rng.uniform(0.02, 0.14)) * distance**2 + np.float32(tilt[0]) * x + np.float32(tilt[1]) * y
    if vignette:
        edge = rng.uniform(1.0, 1.12)
        light = light * (1 - np.float32(0.92) * smoothstep(distance, edge - 0.14, edge + 0.03))
    grain = rng.standard_normal((height, width), dtype=np.float32) * np.float32(1.5)
    return np.dstack([to_uint8(plane * light + grain) for plane in planes])
