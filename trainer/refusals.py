"""Do the quality limits catch what they are for? Spoilt copies of real pictures, and how many of them are refused."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge_infer.bundle import InputSpec, QualityLimits
from edge_infer.image import open_picture
from edge_infer.preprocess import resize
from edge_infer.quality import Quality, measure_quality, quality_problem
from trainer.data.ham10000 import Record
from trainer.errors import DataError

Picture = NDArray[np.uint8]


def _blurred(fraction: float) -> Callable[[Picture], Picture]:
    """Gaussian blur whose sigma is this fraction of the picture's width."""
    return lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), fraction * image.shape[1]), np.uint8)


def _exposed(gain: float, offset: float = 0.0) -> Callable[[Picture], Picture]:
    return lambda image: np.clip(image * np.float32(gain) + np.float32(offset), 0, 255).astype(np.uint8)


SPOILT: dict[str, Callable[[Picture], Picture]] = {
    "unchanged": lambda image: image,
    "blur, sigma 0.5 % of the width": _blurred(0.005),
    "blur, sigma 1 % of the width": _blurred(0.01),
    "blur, sigma 2 % of the width": _blurred(0.02),
    "brightness x 0.3": _exposed(0.3),
    "brightness x 0.15": _exposed(0.15),
    "brightness x 2": _exposed(2.0),
    "brightness x 3": _exposed(3.0),
    "contrast x 0.1 around grey": _exposed(0.1, 115.0),
}


@dataclass(frozen=True)
class SpoiltPicture:
    """One spoilt copy: what was done, and its measures at the segmenter's input size."""

    image_id: str
    change: str
    quality: Quality


def spoil(records: Sequence[Record], spec: InputSpec, progress: bool = True) -> list[SpoiltPicture]:
    """Every change of `SPOILT` on every picture."""
    found = []
    for record in tqdm(records, desc="spoilt pictures", unit="img", disable=not progress):
        image = open_picture(record.image_path).pixels
        for change, apply in SPOILT.items():
            quality = measure_quality(resize(apply(image), spec.height, spec.width))
            found.append(SpoiltPicture(record.image_id, change, quality))
    return found


def refused(pictures: Sequence[SpoiltPicture], limits: QualityLimits) -> dict[str, float]:
    """Share of the copies that the limits refuse, by change."""
    shares: dict[str, list[bool]] = {}
    for picture in pictures:
        shares.setdefault(picture.change, []).append(quality_problem(picture.quality, limits) is not None)
    return {change: sum(flags) / len(flags) for change, flags in shares.items()}


def write_spoilt(path: Path, pictures: Sequence[SpoiltPicture]) -> None:
    """Writes the measures as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["image_id", "change", *Quality._fields])
        for picture in pictures:
            writer.writerow([picture.image_id, picture.change, *(f"{value:.6g}" for value in picture.quality)])


def read_spoilt(path: Path) -> list[SpoiltPicture]:
    """Reads what `write_spoilt` wrote.

    Raises:
        DataError: the file is missing or not such a table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return [
                SpoiltPicture(row["image_id"], row["change"], Quality(*(float(row[name]) for name in Quality._fields)))
                for row in csv.DictReader(stream)
            ]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            f"'{path}' is no table of spoilt pictures: {error}.", "Write it with `python -m trainer export`."
        ) from error
