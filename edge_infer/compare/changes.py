"""What changed from one picture of a lesion to another: area, outline, shape, colours, probability."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_infer.compare.align import Alignment, align
from edge_infer.diagnosis import Diagnosis
from edge_infer.errors import NotComparableError
from edge_infer.measurements.colours import COLOURS

MEASURED = ("asymmetry_major", "asymmetry_minor", "compactness", "fractal_dimension", "colour_count")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two answers for one lesion and what lies between them. Every change is the second less the first.

    Attributes:
        first, second: the diagnoses, with measurements.
        alignment: how the first picture lies on the second.
        area_ratio: the second outline's area over that of the first one laid on it. A closer camera does not change it,
            and neither does growth that takes the skin with it; see `docs/compare.md`.
        pixel_area_ratio: of the areas in each picture's own pixels: right for pictures of one lens and distance.
        area_ratio_mm: the same in square millimetres, where both scales are known.
        outline_overlap: what both outlines share over what either has (intersection over union), on the second.
        new_share: of the second outline, what lies outside the first.
        lost_share: of the first outline, what lies outside the second.
        changes: of the numbers in `MEASURED`, as far as both pictures have them.
        colours: change of each colour's share.
        probability: change of the melanoma probability.
        outline: uint8 0/1, the first picture's lesion in the second's frame.
    """

    first: Diagnosis
    second: Diagnosis
    alignment: Alignment
    area_ratio: float
    pixel_area_ratio: float
    area_ratio_mm: float | None
    outline_overlap: float
    new_share: float
    lost_share: float
    changes: MappingProxyType[str, float]
    colours: MappingProxyType[str, float]
    probability: float
    outline: NDArray[np.uint8]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "first": self.first.to_dict(),
            "second": self.second.to_dict(),
            "alignment": {
                "matrix": [[float(value) for value in row] for row in self.alignment.matrix],
                "scale": self.alignment.scale,
                "turn_degrees": self.alignment.turn,
                "points": self.alignment.points,
                "correlation": self.alignment.correlation,
                "overlap": self.alignment.overlap,
            },
            "changes": {
                "melanoma_probability": self.probability,
                "area_ratio": self.area_ratio,
                "pixel_area_ratio": self.pixel_area_ratio,
                "area_ratio_mm": self.area_ratio_mm,
                "outline_overlap": self.outline_overlap,
                "new_share": self.new_share,
                "lost_share": self.lost_share,
                **dict(self.changes),
                "colours": dict(self.colours),
            },
        }


def compare(first: Diagnosis, second: Diagnosis, pixels: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> Comparison:
    """Compares two answers.

    Args:
        first, second: with measurements, of one bundle.
        pixels: both pictures, RGB uint8 at their own sizes.

    Raises:
        NotComparableError: one has no probability, or they cannot be aligned.
    """
    for place, answer in (("first", first), ("second", second)):
        if answer.mask is None or answer.measurements is None or answer.melanoma_probability is None:
            why = answer.message or "It was not measured."
            raise NotComparableError(f"The {place} picture has no answer to compare: {why}", "Take it again.")
    alignment = align(*pixels)
    one, two = first.mask, second.mask
    assert one is not None and two is not None
    size = two.shape[0], two.shape[1]
    outline = alignment.warp(one, size, nearest=True)
    area_one = cv2.countNonZero(one) * alignment.scale**2
    area_two = float(cv2.countNonZero(two))
    seen = float(cv2.countNonZero(outline))
    if seen < 0.5 * area_one:
        raise NotComparableError(
            "Most of the first picture's lesion lies outside the second picture.",
            "Take both pictures with the whole lesion in the middle.",
        )
    shared = float(cv2.countNonZero(outline & two))
    if not shared:
        raise NotComparableError(
            "Aligned, the two outlines do not touch: another lesion was found in the second picture.",
            "Take both pictures with the same lesion in the middle.",
        )
    before, after = first.measurements, second.measurements
    assert before is not None and after is not None
    assert first.melanoma_probability is not None and second.melanoma_probability is not None
    known = [name for name in MEASURED if name in before.values and name in after.values]
    scales = before.mm_per_pixel, after.mm_per_pixel
    pixel_ratio = area_two / cv2.countNonZero(one)
    return Comparison(
        first=first,
        second=second,
        alignment=alignment,
        area_ratio=area_two / area_one,
        pixel_area_ratio=pixel_ratio,
        area_ratio_mm=None if scales[0] is None or scales[1] is None else pixel_ratio * (scales[1] / scales[0]) ** 2,
        outline_overlap=shared / (seen + area_two - shared),
        new_share=1 - shared / area_two,
        lost_share=1 - shared / seen,
        changes=MappingProxyType({name: after.values[name].value - before.values[name].value for name in known}),
        colours=MappingProxyType(
            {name: after.colours[name] - before.colours[name] for name in COLOURS}
            if before.colours and after.colours
            else {}
        ),
        probability=second.melanoma_probability - first.melanoma_probability,
        outline=outline,
    )
