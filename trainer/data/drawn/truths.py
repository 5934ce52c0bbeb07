"""Lesions drawn from formulas, whose ABCD numbers are known: what measures of outlines and colours are checked on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_infer.measurements.colours import COLOURS, REFERENCES

SIDE = 512
SKIN = (226, 178, 160)
WHITE = (236, 232, 228)
_FINER = 8
_ANGLES = np.linspace(0, 2 * np.pi, 4000, endpoint=False)


@dataclass(frozen=True, eq=False)
class Truth:
    """A drawn lesion and the numbers that follow from its formula.

    Attributes:
        name: in words.
        image: RGB uint8, shape (512, 512, 3).
        mask: uint8 0/1, shape (512, 512).
        values: by the names of `edge_infer.measurements.measure.KINDS`.
        colours: share of the lesion by colour.
    """

    name: str
    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    values: Mapping[str, float]
    colours: Mapping[str, float]


def truths() -> Iterator[Truth]:
    """Every drawn lesion with its truth."""
    brown = {"light brown": 1.0}
    for radius in (40.0, 120.0):
        yield _drawn(
            f"circle, radius {radius:.0f}",
            _polar(np.full_like(_ANGLES, radius)),
            {
                "asymmetry_major": 0.0,
                "asymmetry_minor": 0.0,
                "compactness": 1.0,
                "fractal_dimension": 1.0,
                "diameter_px": 2 * radius,
                "area_px": math.pi * radius**2,
            },
            brown,
        )
    for long, short, turn in ((150.0, 75.0, 0.0), (150.0, 75.0, 33.0), (170.0, 50.0, 70.0)):
        curve = np.stack((long * np.cos(_ANGLES), short * np.sin(_ANGLES)), 1)
        length = _length(curve)
        yield _drawn(
            f"ellipse, {2 * long:.0f} x {2 * short:.0f}, turned {turn:.0f} degrees",
            _turned(curve, turn),
            {
                "asymmetry_major": 0.0,
                "asymmetry_minor": 0.0,
                "fractal_dimension": 1.0,
                "compactness": length**2 / (4 * math.pi * math.pi * long * short),
                "diameter_px": 2 * long,
                "area_px": math.pi * long * short,
            },
            {"dark brown": 1.0},
        )
    radius = 150.0
    half = np.stack((radius * np.cos(_ANGLES / 2), radius * np.sin(_ANGLES / 2)), 1)
    yield _drawn(
        "half disc, folded over its long axis",
        _turned(half - (0, 4 * radius / (3 * math.pi)), 20.0),
        {
            "asymmetry_major": _half_disc_asymmetry(),
            "asymmetry_minor": 0.0,
            "compactness": (math.pi + 2) ** 2 / (2 * math.pi**2),
            "diameter_px": 2 * radius,
            "area_px": math.pi * radius**2 / 2,
        },
        {"black": 1.0},
    )
    for waves in (3, 7):
        curve = _polar(130 * (1 + 0.12 * np.cos(waves * _ANGLES)))
        area = math.pi * 130**2 * (1 + 0.12**2 / 2)
        yield _drawn(
            f"{waves} waves of 12 %",
            curve,
            {"compactness": _length(curve) ** 2 / (4 * math.pi * area), "area_px": area},
            {"red": 1.0},
        )
    yield _drawn("Koch snowflake, 5 steps", _koch(5), {"fractal_dimension": math.log(4) / math.log(3)}, brown)
    for shares in ((0.5, 0.3, 0.2), (0.4, 0.3, 0.2, 0.1), (0.3, 0.2, 0.2, 0.1, 0.1, 0.1)):
        names = ("light brown", "dark brown", "blue-grey", "black", "red", "white")[: len(shares)]
        yield _drawn(
            f"disc of {len(shares)} colours",
            _polar(np.full_like(_ANGLES, 150.0)),
            {"colour_count": float(len(shares))},
            dict(zip(names, shares, strict=True)),
        )


def fill(curve: NDArray[np.float64], side: int = SIDE) -> NDArray[np.uint8]:
    """The mask of a closed curve of points (x, y): pixels that are at least half inside."""
    fine = np.zeros((side * _FINER, side * _FINER), np.uint8)
    cv2.fillPoly(fine, [np.round(curve * _FINER + (_FINER - 1) / 2).astype(np.int32)], 255)
    shares: NDArray[np.uint8] = cv2.resize(fine, (side, side), interpolation=cv2.INTER_AREA)
    return (shares >= 128).astype(np.uint8)


def _drawn(name: str, curve: NDArray[np.float64], values: Mapping[str, float], colours: Mapping[str, float]) -> Truth:
    """A curve around the origin, filled; colours lie in it as sectors of its angle about the centre of the picture."""
    mask = fill(curve + (SIDE - 1) / 2 + np.array([0.3, -0.2]))
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    angle = (np.arctan2(rows, columns) / (2 * np.pi)) % 1
    image = np.full((SIDE, SIDE, 3), SKIN, np.uint8)
    start = 0.0
    for colour, share in colours.items():
        sector = (mask == 1) & (angle >= start) & (angle < start + share + 1e-9)
        image[sector] = WHITE if colour == "white" else REFERENCES[colour]
        start += share
    shares = {name: colours.get(name, 0.0) for name in COLOURS}
    return Truth(name, image, mask, {"colour_count": float(len(colours)), **values}, shares)


def _polar(radius: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack((radius * np.cos(_ANGLES), radius * np.sin(_ANGLES)), 1)


def _turned(curve: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    turn = math.radians(degrees)
    rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    return np.asarray(curve @ rotation)


def _length(curve: NDArray[np.float64]) -> float:
    return float(np.hypot(*(np.roll(curve, -1, axis=0) - curve).T).sum())


def _half_disc_asymmetry() -> float:
    """Of a half disc folded over the line through its centre of mass: widths at both sides, integrated."""
    centre = 4 / (3 * math.pi)
    heights = np.linspace(-1, 2, 300_001)

    def width(y: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where((y >= 0) & (y <= 1), 2 * np.sqrt(np.clip(1 - y**2, 0, None)), 0)

    difference = np.abs(width(heights) - width(2 * centre - heights)).sum() * (heights[1] - heights[0])
    return float(difference / 2 / (math.pi / 2))


def _koch(steps: int) -> NDArray[np.float64]:
    points = np.array([0, 0.5 + math.sqrt(0.75) * 1j, 1, 0], complex)
    for _ in range(steps):
        start, third = points[:-1], np.diff(points) / 3
        peak = start + third + third * np.exp(1j * math.pi / 3)
        points = np.append(np.stack((start, start + third, peak, start + 2 * third), 1).ravel(), points[-1])
    curve = np.stack((points.real, points.imag), 1)
    curve = curve - curve.mean(0)
    return np.asarray(curve / np.abs(curve).max() * 215)
