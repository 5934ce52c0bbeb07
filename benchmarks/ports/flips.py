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
from edge_infer.steps.image import Picture, open_picture
from edge_infer.steps.work import StepRules

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
    """All pictures with one bundle, decoded down to one least side."""

    manifest: Manifest
    bundle_sha256: str
    side: int
    pictures: tuple[Twice, ...]

    def flipped(self, point: str) -> int:
        """Decisions that differ at an operating point."""
        return len(self._flipped(point))

    def _flipped(self, point: str) -> list[Twice]:
        return [each for each in self.pictures if self._label(each.reduced, point) != self._label(each.full, point)]

    def named(self) -> list[str]:
        """A line for each decision that differs: how far both probabilities lie from the threshold."""
        return [
            f"| {each.picture} | `{self.manifest.name}` | {self.side} | {point.name} | {point.threshold:.4f} "
            f"| {_probability(each.reduced)} | {_probability(each.full)} |"
            for point in self.manifest.operating_points
            for each in self._flipped(point.name)
        ]

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
            f"| `{self.manifest.name}` {self.bundle_sha256[:12]} | {self.side} | {len(self.pictures)} | {len(moved)} "
            f"| {points} | {reasons} | {median:.2g} | {most:.2g} | {largest:.2g} |"
        )


HEAD = (
    "| bundle | least side | pictures | with a probability | decisions flipped, by operating point | reasons changed "
    "| median | 95th percentile | largest |\n| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: |"
)
NAMED = (
    "| picture | bundle | least side | operating point | threshold | at a fraction | in full |\n"
    "| --- | --- | ---: | --- | ---: | ---: | ---: |"
)


def _probability(diagnosis: Diagnosis) -> str:
    found = diagnosis.melanoma_probability
    return str(diagnosis.reason) if found is None else f"{found:.4f}"


@dataclass(frozen=True)
class _Reduced:
    """A JPEG that is decoded down to this least side, whatever the runtime's own is."""

    data: bytes
    side: int
    name: str | None = None

    def open_picture(self, max_pixels: int) -> Picture:
        return open_picture(self.data, max_pixels=max_pixels, min_side=self.side)


def large_jpeg(picture: Path) -> bytes:
    """The file where it is a JPEG of `LARGE` pixels or more; otherwise enlarged to them, with colour at half size."""
    pixels = open_picture(picture).pixels
    height, width = pixels.shape[:2]
    if height * width >= LARGE and picture.suffix.lower() in (".jpg", ".jpeg"):
        return picture.read_bytes()
    scale = max(1.0, (LARGE / (height * width)) ** 0.5)
    size = (round(width * scale), round(height * scale))
    return encode.jpeg(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), QUALITY, halved=True)


def count_flips(
    bundles: Sequence[Path], pictures: Sequence[Path], progress: Callable[[str], None], sides: Sequence[int] = ()
) -> list[Flips]:
    """Diagnoses each picture from its file, and from its pixels at full size.

    Args:
        bundles: folders.
        pictures: files.
        progress: is told how far it got.
        sides: least sides that reduced pictures keep; without any, the runtime's own.
    """
    opened = [Diagnoser.load(bundle, providers=["cpu"], threads=1) for bundle in bundles]
    found: dict[tuple[Diagnoser, int], list[Twice]] = {
        (diagnoser, side): [] for diagnoser in opened for side in (sides or [_own_side(diagnoser.manifest)])
    }
    try:
        for number, picture in enumerate(pictures, 1):
            data = large_jpeg(picture)
            pixels = open_picture(data).pixels
            for diagnoser in opened:
                full = _light(diagnoser.diagnose(pixels))
                for (other, side), twice in found.items():
                    if other is diagnoser:
                        twice.append(Twice(picture.name, _light(diagnoser.diagnose(_Reduced(data, side))), full))
            if number % 10 == 0:
                progress(f"{number} of {len(pictures)}")
        return [
            Flips(diagnoser.manifest, diagnoser.bundle.sha256, side, tuple(twice))
            for (diagnoser, side), twice in found.items()
        ]
    finally:
        for diagnoser in opened:
            diagnoser.close()


def _own_side(manifest: Manifest) -> int:
    m = manifest
    rules = StepRules(m.segmenter.input, m.classifier.input, m.quality, m.dermoscopy, m.mask, m.roi, m.familiarity)
    return rules.decode_side


def _light(diagnosis: Diagnosis) -> Diagnosis:
    """Without its mask, which has as many pixels as the picture."""
    return replace(diagnosis, mask=None, roi=None)


def table(flips: Sequence[Flips]) -> str:
    """Markdown."""
    named = [line for each in flips for line in each.named()]
    told = ["", "The decisions that differ, with both probabilities:", "", NAMED, *named] if named else []
    return "\n".join([HEAD, *(each.row() for each in flips), *told])
