"""A comparison for people: in words, and as one picture of both."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_infer.compare.changes import Comparison
from edge_infer.output.picture import DARK, WHITE, draw_border, outline_colour
from edge_infer.output.wording import DISCLAIMER, decision, percent
from edge_infer.steps.resize import resize

CAUTION = (
    "Light, pressure, angle and the networks move these numbers too; docs/compare.md says how far for an unchanged "
    "lesion. No change is no reassurance."
)
_HEIGHT, _GAP, _STRIP = 480, 12, 34


def to_json(comparison: Comparison) -> str:
    """The comparison as one JSON object."""
    return json.dumps(comparison.to_dict(), indent=2, allow_nan=False) + "\n"


def to_text(comparison: Comparison) -> str:
    """The comparison in plain words for a terminal."""
    lines = [f"{comparison.first.source or 'first'} -> {comparison.second.source or 'second'}"]
    for label, words in _rows(comparison):
        for number, part in enumerate(textwrap.wrap(words, 73, break_long_words=False)):
            lines.append(f"  {label if number == 0 else '':<17}{part}")
    return "\n".join(lines) + "\n"


def _rows(comparison: Comparison) -> Iterator[tuple[str, str]]:
    first, second = comparison.first, comparison.second
    word = decision(second) if second.label else "undecided"
    yield "melanoma", f"{percent(first.melanoma_probability)} -> {percent(second.melanoma_probability)}: {word}"
    ratios = [f"x {comparison.area_ratio:.2f} aligned", f"x {comparison.pixel_area_ratio:.2f} in pixels"]
    if comparison.area_ratio_mm is not None:
        ratios.append(f"x {comparison.area_ratio_mm:.2f} in mm^2")
    yield "area", ", ".join(ratios)
    shared, new, lost = comparison.outline_overlap, comparison.new_share, comparison.lost_share
    yield "outline", f"{shared:.0%} shared; {new:.0%} of the second is new, {lost:.0%} of the first is gone"
    names = {"asymmetry_major": "long axis", "asymmetry_minor": "short axis"}
    moved = [f"{words} {comparison.changes[name]:+.2f}" for name, words in names.items() if name in comparison.changes]
    if moved:
        yield "asymmetry", ", ".join(moved)
    if "compactness" in comparison.changes:
        yield "border", f"compactness {comparison.changes['compactness']:+.2f}"
    if "colour_count" in comparison.changes:
        shares = [f"{name} {change:+.0%}" for name, change in comparison.colours.items() if abs(change) >= 0.01]
        yield "colours", f"{comparison.changes['colour_count']:+.0f} of 6{': ' if shares else ''}{', '.join(shares)}"
    found = comparison.alignment
    placed = f"{found.turn:+.0f} degrees, x {found.scale:.2f}; correlation {found.correlation:.2f}"
    yield "aligned", f"by {found.points} points: {placed}"
    for name, answer in (("first", first), ("second", second)):
        if answer.measurements is not None and answer.measurements.cut_off:
            yield "warning", f"In the {name} picture the lesion reaches the edge; areas and shapes are of what is seen."
    yield "", CAUTION
    yield "", DISCLAIMER


def draw_comparison(comparison: Comparison, pixels: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The first picture in the second's frame and the second beside it, each with its own outline; RGB uint8.

    The first outline stands in the second picture too, white and under the second's. Black is what the first does not
    show.
    """
    size = comparison.second.mask.shape if comparison.second.mask is not None else pixels[1].shape[:2]
    scale = _HEIGHT / size[0]
    moved = comparison.alignment.warp(pixels[0], (size[0], size[1]))
    left = resize(moved, _HEIGHT, round(size[1] * scale)).copy()
    right = resize(pixels[1], *left.shape[:2]).copy()
    for canvas in (left, right):
        draw_border(canvas, comparison.outline, WHITE, 2)
    if comparison.second.mask is not None:
        draw_border(right, comparison.second.mask, outline_colour(comparison.second), 2)
    both = np.hstack((left, np.full((_HEIGHT, _GAP, 3), DARK, np.uint8), right))
    strip = np.full((_STRIP, both.shape[1], 3), DARK, np.uint8)
    answers = (comparison.first, comparison.second)
    for x, name, answer in ((8, "first", answers[0]), (left.shape[1] + _GAP + 8, "second", answers[1])):
        words = f"{name}: melanoma {percent(answer.melanoma_probability)}"
        if name == "second":
            words += f", area x {comparison.area_ratio:.2f}; white: first outline"
        cv2.putText(strip, words, (x, 23), cv2.FONT_HERSHEY_SIMPLEX, 0.55, WHITE, 1, cv2.LINE_AA)
    return np.vstack((both, strip))
