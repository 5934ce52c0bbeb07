"""Dermoscopy-like pictures that the project draws itself, with exact lesion masks.

They stand in for patients' pictures wherever those may not go: the repository's examples, tests, and previews of the
training pipeline. They are no medical data: each class merely leans towards its own colours, border and patterns, so
that a toy classifier has something to learn. Everything follows from the random generator that is passed in.

    python -m trainer.data.drawn examples                            # the drawn pictures in examples/
    python -m trainer.data.drawn dataset FOLDER --lesions 200        # a data set in HAM10000's layout
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
Field = NDArray[np.float32]

BARE_SKIN = "skin"
HEIGHT, WIDTH = 450, 600


@dataclass(frozen=True)
class Look:
    """How a class leans.

    Attributes:
        share: its share of a data set.
        pigments: RGB colours, the first one covers the lesion and the others appear in patches.
        extra_pigments: how many of the others, from and to (inclusive).
        radius: mean lesion radius as a fraction of the picture's shorter side, from and to.
        irregularity: relative amplitude of the border's waves.
        elongation: largest ratio of the two axes.
        softness: width of the border's transition as a fraction of the radius.
        network: chance of a pigment network.
        dots: chance of dots and globules.
        vessels: chance of vessels inside the lesion.
        strength: how opaque the pigment is, 0..1.
    """

    share: float
    pigments: tuple[Colour, ...]
    extra_pigments: tuple[int, int]
    radius: tuple[float, float]
    irregularity: float
    elongation: float
    softness: float
    network: float = 0.0
    dots: float = 0.0
    vessels: float = 0.0
    strength: float = 0.9


LOOKS: dict[str, Look] = {
    "akiec": Look(
        0.06, ((196, 118, 106), (222, 182, 160), (168, 92, 84)), (1, 2), (0.20, 0.33), 0.12, 1.5, 0.22, 0, 0.3, 0.6, 0.7
    ),
    "bcc": Look(
        0.08,
        ((205, 132, 132), (112, 100, 128), (232, 198, 196)),
        (1, 2),
        (0.17, 0.30),
        0.10,
        1.4,
        0.14,
        0,
        0.5,
        0.9,
        0.75,
    ),
    "bkl": Look(
        0.14,
        ((152, 104, 72), (186, 138, 88), (118, 84, 70)),
        (1, 2),
        (0.18, 0.34),
        0.11,
        1.7,
        0.07,
        0.15,
        0.6,
        0,
        0.85,
    ),
    "df": Look(0.04, ((176, 116, 96), (232, 204, 194)), (1, 1), (0.14, 0.24), 0.05, 1.2, 0.30, 0.5, 0, 0, 0.75),
    "mel": Look(
        0.16,
        ((84, 50, 44), (38, 28, 32), (86, 90, 118), (140, 72, 62), (150, 112, 106)),
        (2, 4),
        (0.22, 0.37),
        0.14,
        1.8,
        0.08,
        0.5,
        0.7,
        0.1,
        0.97,
    ),
    "nv": Look(
        0.47,
        ((130, 78, 58), (98, 56, 46), (164, 106, 78)),
        (0, 1),
        (0.12, 0.30),
        0.05,
        1.4,
        0.11,
        0.6,
        0.35,
        0,
        0.92,
    ),
    "vasc": Look(
        0.05, ((158, 36, 62), (104, 24, 62), (196, 70, 86)), (1, 2), (0.10, 0.20), 0.06, 1.3, 0.06, 0, 0, 0, 0.95
    ),
}
"""The seven classes of HAM10000."""

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
        kind = str(rng.choice(list(LOOKS), p=_shares()))
    elif kind != BARE_SKIN and kind not in LOOKS:
        raise ValueError(f"unknown kind '{kind}'; one of: {', '.join((*LOOKS, BARE_SKIN))}")
    unit = min(height / HEIGHT, width / WIDTH)
    planes = _skin(rng, height, width, unit)
    mask = np.zeros((height, width), np.uint8)
    if kind != BARE_SKIN:
        look = LOOKS[kind]
        mask = _lesion_shape(rng, height, width, look)
        _paint_lesion(rng, planes, mask, look, unit)
    if artefacts:
        _draw_artefacts(rng, planes, unit)
    chance = rng.random()
    count = hairs if hairs is not None else int(rng.integers(6, 30)) if chance < 0.25 else int(rng.integers(0, 4))
    _draw_hairs(rng, planes, count, unit)
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
    return DrawnPicture(_to_uint8(image * gain.astype(np.float32) + noise), mask.astype(np.uint8), picture.dx)


def _shares() -> NDArray[np.float64]:
    shares = np.array([look.share for look in LOOKS.values()])
    return np.asarray(shares / shares.sum())


def _to_uint8(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.clip(image, 0, 255).astype(np.uint8)


def _noise(rng: np.random.Generator, height: int, width: int, cell: float, octaves: int = 1) -> Field:
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


def _smoothstep(field: Field, low: float, high: float) -> Field:
    t = np.clip((field - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def _blur(mask: NDArray[np.uint8], sigma: float) -> Field:
    """A 0/1 mask with a border as soft as a Gaussian of this many pixels; wide ones are computed on a small copy."""
    height, width = mask.shape
    step = max(1, int(sigma // 3))
    small = cv2.resize(
        mask * np.uint8(255), (max(1, width // step), max(1, height // step)), interpolation=cv2.INTER_AREA
    )
    blurred = cv2.GaussianBlur(small, (0, 0), max(0.5, sigma / step))
    grown = cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(grown * np.float32(1 / 255), np.float32)


def _lay(planes: Field, colour: Sequence[float] | NDArray[np.floating], alpha: Field) -> None:
    """Lays a colour over a picture (3, height, width) in place, as opaque as `alpha` says pixel by pixel."""
    for plane, value in zip(planes, colour, strict=True):
        plane += (np.float32(value) - plane) * alpha


def _jitter(rng: np.random.Generator, colour: Colour, spread: float) -> NDArray[np.float32]:
    tone = rng.normal(0, spread) + rng.normal(0, spread / 2, 3)
    return np.clip(np.asarray(colour) + tone, 8, 250).astype(np.float32)


def _skin(rng: np.random.Generator, height: int, width: int, unit: float) -> Field:
    base = _jitter(rng, _SKINS[rng.integers(len(_SKINS))], 7)
    mottle = _noise(rng, height, width, 60 * unit, 4)
    red = _noise(rng, height, width, 34 * unit, 3)
    grain = _noise(rng, height, width, 4.5 * unit, 2)
    strength = rng.uniform(0.5, 1.3)
    # Skin lines: noise stretched along one direction.
    turn = np.deg2rad(rng.uniform(0, 180))
    reach = np.array((np.cos(turn), np.sin(turn))) * 4
    kernel = np.zeros((9, 9), np.float32)
    cv2.line(kernel, _point(4 - reach), _point(4 + reach), 1.0, 1)
    lines = cv2.filter2D(_noise(rng, height, width, 3.2 * unit), -1, kernel / kernel.sum())
    grey = mottle * np.float32(4.5 * strength) + grain * np.float32(2.2) + lines * np.float32(rng.uniform(1.5, 4))
    red *= np.float32(4.0 * strength)
    planes = np.stack([np.float32(v) + grey + red * np.float32(k) for v, k in zip(base, (0.3, -1, -0.8), strict=True)])
    if rng.random() < 0.35:
        vessels = _smoothstep(-np.abs(_noise(rng, height, width, 26 * unit, 2)), -0.16, 0.0)
        _lay(planes, base + np.array((-6, -48, -40)), vessels * np.float32(rng.uniform(0.12, 0.35)))
    for _ in range(int(rng.integers(0, 5))):  # freckles
        _lay(planes, base - np.array((24, 40, 48)), _spot(rng, height, width, unit))
    return np.asarray(planes, np.float32)


def _spot(rng: np.random.Generator, height: int, width: int, unit: float) -> Field:
    spot = np.zeros((height, width), np.uint8)
    centre = int(rng.uniform(0, width)), int(rng.uniform(0, height))
    axes = max(1, round(rng.uniform(3, 9) * unit)), max(1, round(rng.uniform(3, 7) * unit))
    cv2.ellipse(spot, centre, axes, rng.uniform(0, 180), 0, 360, 255, cv2.FILLED)
    blurred = cv2.GaussianBlur(spot, (0, 0), max(0.8, 3 * unit))
    return np.asarray(blurred.astype(np.float32) * np.float32(rng.uniform(0.15, 0.5) / 255), np.float32)


def _lesion_shape(rng: np.random.Generator, height: int, width: int, look: Look) -> NDArray[np.uint8]:
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


def _paint_lesion(rng: np.random.Generator, planes: Field, mask: NDArray[np.uint8], look: Look, unit: float) -> None:
    height, width = mask.shape
    radius = float(np.sqrt(mask.sum() / np.pi))
    sigma = max(0.8, radius * look.softness * rng.uniform(0.6, 1.4))
    solid = mask.astype(np.float32)
    body = _blur(mask, sigma)
    core = _blur(mask, max(1.0, radius * 0.35))
    speckle = _noise(rng, height, width, 9 * unit, 3)
    # The pigment thins out in patches towards the border; the outline stays where the mask has it.
    body = np.clip(body + speckle * np.float32(0.10) * (body * (1 - body) * 4), 0, 1).astype(np.float32)

    base = _jitter(rng, look.pigments[0], 10)
    tone = _noise(rng, height, width, max(6.0, 0.6 * radius), 4)
    opacity = np.float32(look.strength) * body * (0.72 + 0.28 * core)
    _lay(planes, base, opacity)
    planes += (tone + speckle) * body * np.float32(7)

    others = list(look.pigments[1:])
    count = int(rng.integers(look.extra_pigments[0], look.extra_pigments[1] + 1))
    for index in rng.permutation(len(others))[:count]:
        patch = _noise(rng, height, width, max(8.0, radius * rng.uniform(0.5, 1.1)), 3)
        level = rng.uniform(-0.3, 0.5)
        alpha = (
            _smoothstep(patch + speckle * np.float32(0.25), level, level + 1.5)
            * body
            * np.float32(rng.uniform(0.55, 0.9))
        )
        _lay(planes, _jitter(rng, others[index], 8), alpha)

    dark = np.clip(base * 0.5, 10, 255)
    if rng.random() < look.network:
        mesh = _smoothstep(-np.abs(_noise(rng, height, width, 9 * unit)), -0.8, 0.0)
        _lay(planes, dark, mesh * body * core * np.float32(rng.uniform(0.3, 0.6)))
    if rng.random() < look.vessels:
        vessels = _smoothstep(-np.abs(_noise(rng, height, width, 0.5 * radius, 2)), -0.10, 0.0)
        _lay(planes, (168, 48, 60), vessels * body * np.float32(rng.uniform(0.4, 0.7)))
    if rng.random() < look.dots:
        layer = np.zeros((height, width), np.uint8)
        rows, columns = np.nonzero(mask)
        for _ in range(int(rng.integers(12, 60))):
            at = int(rng.integers(rows.size))
            size = max(1, round(rng.uniform(1.2, 4.2) * unit))
            cv2.circle(layer, (int(columns[at]), int(rows[at])), size, int(rng.integers(120, 255)), cv2.FILLED)
        alpha = cv2.GaussianBlur(layer, (0, 0), max(0.6, unit)).astype(np.float32) / np.float32(255)
        _lay(planes, dark * np.float32(0.8), alpha * solid * np.float32(0.8))


def _draw_artefacts(rng: np.random.Generator, planes: Field, unit: float) -> None:
    """Gel reflections, air bubbles and ruler marks, in place and sparingly."""
    height, width = planes.shape[1:]
    if rng.random() < 0.35:  # reflections: short bright strokes
        shine = np.zeros((height, width), np.uint8)
        middle = np.array((rng.uniform(0, width), rng.uniform(0, height)))
        for _ in range(int(rng.integers(4, 22))):
            start = middle + rng.normal(0, 60 * unit, 2)
            end = start + rng.normal(0, 7 * unit, 2)
            cv2.line(shine, _point(start), _point(end), 255, 1, cv2.LINE_AA)
        alpha = cv2.GaussianBlur(shine, (0, 0), 0.8).astype(np.float32) / np.float32(255)
        _lay(planes, (250, 244, 246), alpha * np.float32(0.8))
    if rng.random() < 0.15:  # air bubbles: bright rings
        rings = np.zeros((height, width), np.uint8)
        for _ in range(int(rng.integers(1, 6))):
            centre = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
            cv2.circle(rings, centre, max(2, round(rng.uniform(4, 12) * unit)), 255, 1, cv2.LINE_AA)
        alpha = cv2.GaussianBlur(rings, (0, 0), 0.7).astype(np.float32) / np.float32(255)
        _lay(planes, (246, 236, 236), alpha * np.float32(0.7))
    if rng.random() < 0.10:  # ruler marks along the lower edge
        step = max(4, round(22 * unit))
        for i, column in enumerate(range(step, width, step)):
            length = round((26 if i % 5 == 0 else 14) * unit)
            planes[:, height - length :, column : column + max(1, round(unit))] = 60


def _point(xy: NDArray[np.float64]) -> tuple[int, int]:
    return round(float(xy[0])), round(float(xy[1]))


def _draw_hairs(rng: np.random.Generator, planes: Field, count: int, unit: float) -> None:
    if not count:
        return
    height, width = planes.shape[1:]
    layer = np.zeros((height, width), np.uint8)
    common = rng.uniform(0, 2 * np.pi)
    t = np.linspace(0, 1, 24)[:, None]
    for _ in range(count):
        angle = common + rng.normal(0, 0.7)
        length = rng.uniform(0.25, 0.9) * width
        start = np.array((rng.uniform(-0.1, 1.1) * width, rng.uniform(-0.1, 1.1) * height))
        end = start + length * np.array((np.cos(angle), np.sin(angle)))
        bend = (start + end) / 2 + rng.normal(0, 0.15 * length, 2)
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
        thickness = max(1, round(rng.uniform(0.8, 2.4) * unit))
        shift = 4
        points = np.round(curve * 2**shift).astype(np.int32)
        cv2.polylines(layer, [points], False, int(rng.integers(170, 255)), thickness, cv2.LINE_AA, shift)
    alpha = cv2.GaussianBlur(layer, (0, 0), 0.6).astype(np.float32) / np.float32(255)
    _lay(planes, _jitter(rng, (64, 48, 44), 14), alpha * np.float32(0.9))


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
        light = light * (1 - np.float32(0.92) * _smoothstep(distance, edge - 0.14, edge + 0.03))
    grain = rng.standard_normal((height, width), dtype=np.float32) * np.float32(1.5)
    return np.dstack([_to_uint8(plane * light + grain) for plane in planes])


def draw_dataset(
    folder: Path,
    lesions: int,
    seed: int = 0,
    *,
    height: int = HEIGHT,
    width: int = WIDTH,
    second_looks: float = 0.3,
    split: Sequence[float] = (0.7, 0.1, 0.2),
) -> None:
    """Writes a data set in HAM10000's layout.

    `images/ISIC_*.jpg`, `masks/ISIC_*_segmentation.png` (0 and 255) and `metadata.csv` with the data set's own columns
    and `split`. Every class comes up at least once in each split where there are lesions enough.

    Args:
        folder: made where it is missing.
        lesions: how many lesions.
        seed: of the random generator.
        height: rows of the pictures.
        width: columns of the pictures.
        second_looks: share of the lesions that are photographed twice.
        split: shares of train, val and test, by lesion.
    """
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "masks").mkdir(exist_ok=True)
    names = np.array(["train", "val", "test"])
    cycle = [(dx, name) for name in names for dx in LOOKS]
    kinds = [
        cycle[i] if i < len(cycle) <= lesions else (rng.choice(list(LOOKS), p=_shares()), rng.choice(names, p=split))
        for i in range(lesions)
    ]
    rows: list[dict[str, object]] = []
    for lesion, (dx, part) in enumerate(kinds):
        pictures = [draw_picture(rng, height, width, str(dx))]
        if rng.random() < second_looks:
            pictures.append(second_look(rng, pictures[0]))
        person = {
            "age": float(rng.integers(4, 18) * 5) if rng.random() < 0.97 else "",
            "sex": str(rng.choice(["female", "male"])),
            "localization": str(rng.choice(["back", "trunk", "face", "lower extremity", "upper extremity", "abdomen"])),
        }
        for picture in pictures:
            image_id = f"ISIC_{9_000_000 + len(rows):07d}"
            _write(folder / "images" / f"{image_id}.jpg", picture.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
            _write(folder / "masks" / f"{image_id}_segmentation.png", picture.mask * 255, [])
            identity = {"lesion_id": f"HAM_{9_000_000 + lesion:07d}", "image_id": image_id}
            rows.append({**identity, "dx": dx, "dx_type": "drawn", **person, "split": part})
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as stream:
        columns = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "split"]
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write(path: Path, image: NDArray[np.uint8], options: list[int]) -> None:
    encoded, data = cv2.imencode(path.suffix, image, options)
    if not encoded:
        raise RuntimeError(f"OpenCV cannot encode '{path.name}'")
    path.write_bytes(data.tobytes())


def draw_examples() -> dict[str, NDArray[np.uint8]]:
    """The drawn pictures of `examples/` by file name: RGB uint8, 450x600."""

    def draw(seed: int, kind: str, hairs: int = 0, vignette: bool = False, artefacts: bool = True) -> NDArray[np.uint8]:
        rng = np.random.default_rng(seed)
        return draw_picture(rng, kind=kind, hairs=hairs, vignette=vignette, artefacts=artefacts).image

    blurred = cv2.GaussianBlur(draw(11, "nv"), (0, 0), 18)
    return {
        "nevus-like.jpg": draw(102, "nv", hairs=2),
        "irregular-border.jpg": draw(104, "mel", hairs=3),
        "yellow-brown.jpg": draw(101, "bkl"),
        "hairy-round-view.jpg": draw(100, "nv", hairs=16, vignette=True),
        "no-lesion.jpg": draw(313, BARE_SKIN, artefacts=False),
        "blurred.jpg": blurred.astype(np.uint8),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: `examples` and `dataset`."""
    parser = argparse.ArgumentParser(prog="python -m trainer.data.drawn", description="Draw dermoscopy-like pictures.")
    commands = parser.add_subparsers(dest="command", required=True)
    examples = commands.add_parser("examples", help="write the repository's example pictures")
    examples.add_argument("--folder", type=Path, default=Path("examples"))
    dataset = commands.add_parser("dataset", help="write a data set in HAM10000's layout")
    dataset.add_argument("folder", type=Path)
    dataset.add_argument("--lesions", type=int, default=200)
    dataset.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    if chosen.command == "examples":
        chosen.folder.mkdir(parents=True, exist_ok=True)
        for name, image in draw_examples().items():
            _write(chosen.folder / name, image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    else:
        draw_dataset(chosen.folder, chosen.lesions, chosen.seed)


if __name__ == "__main__":
    main()
