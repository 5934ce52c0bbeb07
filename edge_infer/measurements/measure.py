"""All ABCD numbers of one picture, with what the probability map says of their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_infer.measurements import shape
from edge_infer.measurements.colours import colour_map, colour_shares, count_colours
from edge_infer.steps.mask import clean_mask, restore_mask
from edge_infer.steps.resize import resize

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Thresholds whose outlines say how far a number may move; see `measure`."""
LONGEST_SIDE = 512
"""Masks and pictures are measured with the longer side reduced to this many pixels; lengths are in original pixels."""


class Kind(NamedTuple):
    """One number: its name in JSON and CSV, what people read, and its unit."""

    name: str
    title: str
    unit: str


KINDS = (
    Kind("asymmetry_major", "asymmetry over the long axis", "share"),
    Kind("asymmetry_minor", "asymmetry over the short axis", "share"),
    Kind("compactness", "border, perimeter^2 / (4 pi area)", "ratio"),
    Kind("fractal_dimension", "border, fractal dimension", "dimension"),
    Kind("colour_count", "colours of the six", "count"),
    Kind("diameter_px", "greatest diameter", "px"),
    Kind("area_px", "area", "px^2"),
    Kind("diameter_mm", "greatest diameter", "mm"),
    Kind("area_mm2", "area", "mm^2"),
)


class Measured(NamedTuple):
    """A number, and the least and the greatest value that outlines between `LEVELS` give; None where one gives none."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Measurements:
    """ABCD numbers of one lesion.

    Attributes:
        values: by name, see `KINDS`; what cannot be measured is absent: a fractal dimension of few pixels, colours
            without skin around, millimetres without a scale.
        colours: share of the lesion by colour, see `edge_infer.measurements.colours.COLOURS`.
        mm_per_pixel: of the original picture, as the caller stated it.
        cut_off: the lesion reaches the picture's edge: the numbers are of the part that is seen.
    """

    values: Mapping[str, Measured]
    colours: Mapping[str, float]
    mm_per_pixel: float | None = None
    cut_off: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        units = {kind.name: kind.unit for kind in KINDS}
        return {
            "values": {name: {**found._asdict(), "unit": units[name]} for name, found in self.values.items()},
            "colours": dict(self.colours),
            "mm_per_pixel": self.mm_per_pixel,
            "cut_off": self.cut_off,
        }


def measure(
    pixels: NDArray[np.uint8],
    probability: NDArray[np.float32],
    threshold: float,
    size: tuple[int, int],
    mm_per_pixel: float | None = None,
) -> Measurements | None:
    """Measures the lesion of a probability map.

    The values are those of the map's contour at the bundle's threshold: the outline of `Diagnosis.mask`, without the
    steps that its pixels have. Low and high are the extremes over the outlines at `LEVELS`: the map is read as a random
    set whose outline is one of its own contours, each as likely as the next (Vorob'ev; Molchanov 2005, chapter 2), so
    these five stand for the middle 80 %. That is the segmenter's own doubt about where the border runs: nothing is said
    about what it is sure of and wrong about, and roughness finer than its map is lost to both.

    Args:
        pixels: RGB uint8, the whole picture at any size.
        probability: float32 (rows, columns) in 0..1, of the whole picture, stretched to any size.
        threshold: a pixel belongs to the lesion from here on.
        size: height and width of the original picture.
        mm_per_pixel: of the original picture; None where unknown.

    Returns:
        The numbers; None where the map has no lesion.
    """
    rows, columns = _working(size)
    # The map is enlarged before it is cut: a mask that is enlarged has steps, and steps lengthen the border.
    fine: NDArray[np.float32] = cv2.resize(probability, (columns, rows), interpolation=cv2.INTER_LINEAR)
    outlines = [clean_mask(fine, level) for level in (threshold, *LEVELS)]
    return _measure(pixels, outlines, size, mm_per_pixel)


def measure_mask(
    pixels: NDArray[np.uint8], mask: NDArray[np.uint8], mm_per_pixel: float | None = None
) -> Measurements | None:
    """Measures a lesion whose outline is known: uint8 0/1 at the picture's own size. No uncertainty is given."""
    size = mask.shape[0], mask.shape[1]
    return _measure(pixels, [restore_mask(mask, *_working(size))], size, mm_per_pixel)


def _working(size: tuple[int, int]) -> tuple[int, int]:
    share = min(1.0, LONGEST_SIDE / max(size))
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))


def _measure(
    pixels: NDArray[np.uint8], outlines: Sequence[NDArray[np.uint8]], size: tuple[int, int], scale: float | None
) -> Measurements | None:
    mask = outlines[0]
    if not cv2.countNonZero(mask):
        return None
    small = resize(pixels, *mask.shape)
    colours = colour_map(small, mask)
    length = math.sqrt(size[0] * size[1] / mask.size)
    found = [_numbers(outline, colours, length, scale) for outline in outlines]
    values = {}
    for name, value in found[0].items():
        if value is None:
            continue
        others = [numbers.get(name) for numbers in found[1:]]
        known = [other for other in others if other is not None]
        whole = bool(others) and len(known) == len(others)
        values[name] = Measured(value, min(value, *known), max(value, *known)) if whole else Measured(value)
    shares = {} if colours is None else colour_shares(colours, mask)
    return Measurements(MappingProxyType(values), MappingProxyType(shares), scale, shape.touches_edge(mask))


def _numbers(
    mask: NDArray[np.uint8], colours: NDArray[np.uint8] | None, length: float, scale: float | None
) -> dict[str, float | None]:
    if not cv2.countNonZero(mask):
        return {}
    folded = shape.asymmetry(mask)
    across, area = shape.diameter(mask) * length, cv2.countNonZero(mask) * length**2
    return {
        "asymmetry_major": folded.major,
        "asymmetry_minor": folded.minor,
        "compactness": shape.compactness(mask),
        "fractal_dimension": shape.fractal_dimension(mask),
        "colour_count": None if colours is None else float(count_colours(colour_shares(colours, mask))),
        "diameter_px": across,
        "area_px": area,
        "diameter_mm": None if scale is None else across * scale,
        "area_mm2": None if scale is None else area * scale**2,
    }
