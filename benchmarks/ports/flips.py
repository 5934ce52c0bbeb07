"""What decoding a large JPEG at a fraction of its size changes: this runtime does so, browsers and phones do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from edge_infer.bundle.manifest import Manifest
from edge_infer.conformance import encode
from edge_infer.diagnoser import Diagnoser, decide
from edge_infer.diagnosis import Diagnosis
from edge_infer.steps.image import open_picture

LARGE = 12_000_000
"""Pixels of a phone's picture: smaller ones are enlarged to it."""
QUALITY = 90


@dataclass(frozen=True)
class Twice:
    """One large picture, decoded at a fraction and in full."""

    picture: str
    reduced: Diagnosis
    full: Diagnosis

    @property
    def moved(self) -> float | None:
        """How far the probability moved, where both have one."""
        first, second = self.reduced.melanoma_probability, self.full.melanoma_probability
        return None if first is None or second is None else abs(first - second)


@dataclass(frozen=True)
class Flips:
    """All pictures with one bundle."""

    manifest: Manifest
    bundle_sha256: str
    pictures: tuple[Twice, ...]

    def flipped(self, point: str) -> int:
        """Decisions that differ at an operating point."""
        return sum(self._label(each.reduced, point) != self._label(each.full, point) for each in self.pictures)

    def _label(self, diagnosis: Diagnosis, point: str) -> str | None:
        probability = diagnosis.melanoma_probability
        if probability is None:
            return None
        return decide(probability, self.manifest.operating_point(point), None)[0]

    def row(self) -> str:
        """Its line in the table."""
        moved = np.array([each.moved for each in self.pictures if each.moved is not None])
        reasons = sum(each.reduced.reason != each.full.reason for each in self.pictures)
        points = ", ".join(f"{point.name} {self.flipped(point.name)}" for point in self.manifest.operating_points)
        median, most, largest = np.quantile(moved, [0.5, 0.95, 1]) if moved.size else (0.0, 0.0, 0.0)
        return (
            f"| `{self.manifest.name}` {self.bundle_sha256[:12]} | {len(self.pictures)} | {len(moved)} | {points} "
            f"| {reasons} | {median:.2g} | {most:.2g} | {largest:.2g} |"
        )


HEAD = (
    "| bundle | pictures | with a probability | decisions flipped, by operating point | reasons changed | median "
    "| 95th percentile | largest |\n| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: |"
)


def large_jpeg(picture: Path) -> bytes:
    """The file where it is a JPEG of `LARGE` pixels or more; otherwise enlarged to them, with colour at half size."""
    pixels = open_picture(picture).pixels
    height, width = pixels.shape[:2]
    if height * width >= LARGE and picture.suffix.lower() in (".jpg", ".jpeg"):
        return picture.read_bytes()
    scale = max(1.0, (LARGE / (height * width)) ** 0.5)
    size = (round(width * scale), round(height * scale))
    return encode.jpeg(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), QUALITY, halved=True)


def count_flips(bundles: Sequence[Path], pictures: Sequence[Path], progress: Callable[[str], None]) -> list[Flips]:
    """Diagnoses each picture from its file, and from its pixels at full size."""
    opened = [Diagnoser.load(bundle, providers=["cpu"], threads=1) for bundle in bundles]
    found: list[list[Twice]] = [[] for _ in opened]
    try:
        for number, picture in enumerate(pictures, 1):
            data = large_jpeg(picture)
            pixels = open_picture(data).pixels
            for diagnoser, twice in zip(opened, found, strict=True):
                reduced, full = (_light(diagnoser.diagnose(image)) for image in (data, pixels))
                twice.append(Twice(picture.name, reduced, full))
            if number % 10 == 0:
                progress(f"{number} of {len(pictures)}")
        return [
            Flips(diagnoser.manifest, diagnoser.bundle.sha256, tuple(twice))
            for diagnoser, twice in zip(opened, found, strict=True)
        ]
    finally:
        for diagnoser in opened:
            diagnoser.close()


def _light(diagnosis: Diagnosis) -> Diagnosis:
    """Without its mask, which has as many pixels as the picture."""
    return replace(diagnosis, mask=None, roi=None)


def table(flips: Sequence[Flips]) -> str:
    """Markdown."""
    return "\n".join([HEAD, *(each.row() for each in flips)])
