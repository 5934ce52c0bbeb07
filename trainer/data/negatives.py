"""Pictures that are no dermoscopy: photographs that libraries ship, and documents, drawings and textures drawn by code.

Those that a rule is fitted to (`trainer.choices.familiarity`, `trainer.choices.appearance`) and those that it is tested
on show different things: no photograph and no kind of drawing is in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.errors import DataError

Picture = NDArray[np.uint8]
Use = Literal["fit", "test"]

_HEIGHT, _WIDTH = 384, 512
_SMALLEST_WINDOW = 100

# Package and folder of each photograph, and how its name ends.
_PHOTOGRAPHS: dict[Use, dict[str, tuple[str, ...]]] = {
    "fit": {
        "skimage/data": (
            *("astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "chessboard_RGB.png"),
            *("clock_motion.png", "coffee.png", "coins.png", "color.png", "gravel.png", "horse.png", "logo.png"),
            *("hubble_deep_field.jpg", "microaneurysms.png", "moon.png", "motorcycle_left.png", "motorcycle_right.png"),
            *("phantom.png", "text.png"),
        )
    },
    "test": {
        "skimage/data": ("grass.png", "ihc.png", "page.png", "retina.jpg", "rocket.jpg"),
        "sklearn/datasets/images": ("china.jpg", "flower.jpg"),
        "matplotlib/mpl-data/sample_data": ("grace_hopper.jpg", "logo2.png", "Minduka_Present_Blue_Pack.png"),
    },
}


@dataclass(frozen=True)
class Negative:
    """A picture that is no dermoscopy: what it is ("photograph", "drawn document", ...), its source, and its pixels."""

    what: str
    source: str
    image: Picture


def negatives(use: Use, drawn: int = 40) -> Iterator[Negative]:
    """All pictures of one use: every photograph whole and in windows, and drawings of each kind.

    Args:
        use: "fit" or "test".
        drawn: drawings of each kind.

    Raises:
        DataError: a library that ships photographs is not installed.
    """
    for source, image in _photographs(use):
        for number, window in enumerate(_windows(image)):
            yield Negative("photograph", f"{source}#{number}", window)
    for what, draw in _DRAWINGS[use].items():
        for seed in range(drawn):
            yield Negative(what, f"{what}-{seed}", draw(np.random.default_rng(seed)))


def _photographs(use: Use) -> Iterator[tuple[str, Picture]]:
    for folder, names in _PHOTOGRAPHS[use].items():
        package, _, inside = folder.partition("/")
        for name in names:
            try:
                data = files(package).joinpath(inside, name).read_bytes()
            except (ModuleNotFoundError, OSError) as error:
                raise DataError(
                    f"The photograph '{name}' of {package} is not there: {error}.",
                    "Install the trainer's requirements: pip install 'edge-infer[trainer]'.",
                ) from error
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
            if image is None:
                raise DataError(f"The photograph '{name}' of {package} cannot be read.", "Install the package again.")
            yield f"{package}/{name}", np.asarray(image, np.uint8)


def _windows(image: Picture) -> Iterator[Picture]:
    """The picture, four windows of 60 % of its sides and nine of 35 %, as far as they have 100 pixels."""
    height, width = image.shape[:2]
    yield image
    for fraction, steps in ((0.6, 2), (0.35, 3)):
        high, wide = int(height * fraction), int(width * fraction)
        if min(high, wide) < _SMALLEST_WINDOW:
            continue
        for i in range(steps):
            for j in range(steps):
                y, x = round((height - high) * i / (steps - 1)), round((width - wide) * j / (steps - 1))
                yield np.ascontiguousarray(image[y : y + high, x : x + wide])


def _colour(rng: np.random.Generator, low: int = 0, high: int = 256) -> tuple[int, int, int]:
    red, green, blue = (int(v) for v in rng.integers(low, high, 3))
    return red, green, blue


def _canvas(colour: tuple[int, int, int]) -> Picture:
    return np.full((_HEIGHT, _WIDTH, 3), colour, np.uint8)


def _document(rng: np.random.Generator) -> Picture:
    """Lines of letters on paper."""
    white = int(rng.integers(225, 256))
    image = _canvas((white, white, int(white * rng.choice((1.0, 0.94)))))
    letters = list("abcdefghij klmno pqrstuvw xyz")
    y = 20.0
    while y < _HEIGHT - 10:
        size = rng.uniform(0.3, 0.9)
        text = "".join(rng.choice(letters) for _ in range(rng.integers(10, 60)))
        font = int(rng.choice((cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX)))
        place = (int(rng.integers(10, 40)), int(y))
        cv2.putText(image, text, place, font, size, _colour(rng, 0, 90), int(rng.integers(1, 3)), cv2.LINE_AA)
        y += 30 * size + rng.integers(6, 25)
    return image


def _chart(rng: np.random.Generator) -> Picture:
    """Coloured bars on axes."""
    image = _canvas((250, 250, 250))
    for i in range(rng.integers(3, 9)):
        x = 40 + i * 50
        cv2.rectangle(image, (x, int(rng.integers(50, 300))), (x + 35, 340), _colour(rng, 20, 230), -1)
    cv2.line(image, (30, 340), (500, 340), (0, 0, 0), 2)
    cv2.line(image, (30, 20), (30, 340), (0, 0, 0), 2)
    return image


def _drawing(rng: np.random.Generator) -> Picture:
    """Circles, rectangles and lines in any colour on a plain ground."""
    image = _canvas(_colour(rng, 120))
    for _ in range(rng.integers(3, 15)):
        colour, kind = _colour(rng), int(rng.integers(3))
        first, second = ((int(rng.integers(_WIDTH)), int(rng.integers(_HEIGHT))) for _ in range(2))
        thickness = int(rng.choice((-1, 2, 5)))
        if kind == 0:
            cv2.circle(image, first, int(rng.integers(10, 120)), colour, thickness)
        elif kind == 1:
            cv2.rectangle(image, first, second, colour, thickness)
        else:
            cv2.line(image, first, second, colour, 2 * abs(thickness))
    return image


def _texture(rng: np.random.Generator) -> Picture:
    """Waves, chequers, noise or clouds between two colours, with some grain."""
    first, second = np.array(_colour(rng)), np.array(_colour(rng))
    y, x = np.mgrid[0:_HEIGHT, 0:_WIDTH]
    kind = int(rng.integers(4))
    if kind == 0:
        share = (np.sin(x * rng.uniform(0.02, 0.4) + y * rng.uniform(-0.3, 0.3)) + 1) / 2
    elif kind == 1:
        share = ((x // rng.integers(8, 60) + y // rng.integers(8, 60)) % 2).astype(float)
    elif kind == 2:
        share = rng.random((_HEIGHT, _WIDTH))
    else:
        share = np.zeros((_HEIGHT, _WIDTH))
        for octave in range(1, 8):
            noise = rng.random((2**octave + 1, 2**octave + 1))
            share += cv2.resize(noise, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_CUBIC) / 2 ** (octave * 0.7)
        share = (share - share.min()) / np.ptp(share)
    mixed = share[..., None] * first + (1 - share[..., None]) * second
    return np.asarray(np.clip(mixed + rng.normal(0, 4, mixed.shape), 0, 255), np.uint8)


def _clouds(rng: np.random.Generator, octaves: int = 4) -> NDArray[np.float64]:
    """Smooth noise around 0, shape of a picture, with a deviation of 1."""
    total = np.zeros((_HEIGHT, _WIDTH))
    for octave in range(1, octaves + 1):
        noise = rng.normal(size=(2**octave + 1, 2**octave + 1))
        total += cv2.resize(noise, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_CUBIC) / octave
    return np.asarray((total - total.mean()) / total.std())


def _skin_tone(rng: np.random.Generator) -> NDArray[np.float64]:
    """Red, green and blue of skin, from light to dark, in daylight or under a warm or cold lamp."""
    tone = np.array((224.0, 177.0, 150.0)) * rng.uniform(0.35, 1.05) ** np.array((0.7, 1.0, 1.15))
    return tone * rng.uniform(0.88, 1.12, 3)


def _spots(image: Picture, rng: np.random.Generator, inside: NDArray[np.bool_], tone: NDArray[np.float64]) -> None:
    """Small moles where `inside` holds, in place."""
    rows, columns = np.nonzero(inside)
    for _ in range(rng.integers(2, 12)):
        at = int(rng.integers(len(rows)))
        axes = (int(rng.integers(2, 9)), int(rng.integers(2, 7)))
        red, green, blue = (int(v) for v in tone * rng.uniform(0.35, 0.75))
        centre = int(columns[at]), int(rows[at])
        cv2.ellipse(image, centre, axes, float(rng.integers(180)), 0, 360, (red, green, blue), -1, cv2.LINE_AA)


def _skin_from_afar(rng: np.random.Generator) -> Picture:
    """Skin as a phone sees it: several small moles, light from one side, a shadow, at the edge cloth or background."""
    tone = _skin_tone(rng)
    y, x = np.mgrid[0:_HEIGHT, 0:_WIDTH] / _WIDTH - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(0.1, 0.5) * (x * np.cos(angle) + y * np.sin(angle)) + 0.03 * _clouds(rng)
    image = np.asarray(np.clip(tone * light[..., None], 0, 255), np.uint8)
    edge = x * np.cos(angle + 2) + y * np.sin(angle + 2) + 0.03 * _clouds(rng, 3) > rng.uniform(0.1, 0.6)
    _spots(image, rng, ~edge if not edge.all() else np.ones_like(edge), tone)
    image[edge] = _colour(rng)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.0)), np.uint8)
    return np.asarray(np.clip(image + rng.normal(0, rng.uniform(1, 6), image.shape), 0, 255), np.uint8)


def _limb(rng: np.random.Generator) -> Picture:
    """An arm or a finger before a background, with moles: skin takes a strip of the picture."""
    tone, back = _skin_tone(rng), np.array(_colour(rng), np.float64)
    y, x = np.mgrid[0:_HEIGHT, 0:_WIDTH] / _WIDTH - 0.5
    angle, width = rng.uniform(0, np.pi), rng.uniform(0.12, 0.3)
    across = (x * np.cos(angle) + y * np.sin(angle) + rng.uniform(-0.15, 0.15)) / width
    inside = np.abs(across) < 1
    round_light = np.sqrt(np.clip(1 - across**2, 0.05, 1))[..., None]
    image = np.where(inside[..., None], tone * (0.5 + 0.5 * round_light), back * (1 + 0.1 * _clouds(rng))[..., None])
    picture = np.asarray(np.clip(image, 0, 255), np.uint8)
    _spots(picture, rng, np.abs(across) < 0.8, tone)
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 2.0)), np.uint8)
    return np.asarray(np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255), np.uint8)


def _histology(rng: np.random.Generator) -> Picture:
    """Stained tissue under a microscope: pink ground with fibres, violet nuclei in clusters, white gaps."""
    ground = np.array((232.0, 175.0, 205.0)) * rng.uniform(0.85, 1.05, 3)
    image = np.asarray(np.clip(ground * (1 + 0.08 * _clouds(rng, 6))[..., None], 0, 255), np.uint8)
    image[_clouds(rng, 5) > rng.uniform(1.0, 2.0)] = (244, 240, 245)
    dense = _clouds(rng, 4)
    size = rng.uniform(2, 7)
    for _ in range(int(rng.integers(300, 1500))):
        y, x = int(rng.integers(_HEIGHT)), int(rng.integers(_WIDTH))
        if dense[y, x] < rng.normal():
            continue
        axes = (max(1, int(size * rng.uniform(0.6, 1.5))), max(1, int(size * rng.uniform(0.5, 1.0))))
        red, green, blue = (int(v) for v in np.array((95, 60, 140)) * rng.uniform(0.7, 1.3))
        cv2.ellipse(image, (x, y), axes, float(rng.integers(180)), 0, 360, (red, green, blue), -1, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.2)), np.uint8)


def _screen(rng: np.random.Generator) -> Picture:
    """A program's windows: bars, buttons, lines of text, a picture that is a plain area."""
    image = _canvas(_colour(rng, 20, 120))
    for _ in range(rng.integers(1, 4)):
        x, y = int(rng.integers(0, 250)), int(rng.integers(0, 180))
        right, low = x + int(rng.integers(150, 260)), y + int(rng.integers(100, 200))
        cv2.rectangle(image, (x, y), (right, low), _colour(rng, 220), -1)
        cv2.rectangle(image, (x, y), (right, y + 18), _colour(rng, 40, 200), -1)
        for line in range(y + 35, low - 8, 16):
            text = "".join(rng.choice(list("abcdefghij klmnop")) for _ in range(rng.integers(5, 30)))
            cv2.putText(image, text, (x + 8, line), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (30, 30, 30), 1, cv2.LINE_AA)
        cv2.rectangle(image, (right - 60, low - 25), (right - 8, low - 8), _colour(rng, 60, 230), -1)
    return image


_DRAWINGS: dict[Use, dict[str, Callable[[np.random.Generator], Picture]]] = {
    "fit": {
        "drawn document": _document,
        "drawn texture": _texture,
        "drawn skin from afar": _skin_from_afar,
        "drawn histology": _histology,
    },
    "test": {"drawn chart": _chart, "drawn shapes": _drawing, "drawn limb": _limb, "drawn screen": _screen},
}
