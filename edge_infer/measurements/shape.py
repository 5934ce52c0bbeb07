"""Numbers of an outline: area, asymmetry, compactness, fractal dimension, diameter. Masks are uint8 0/1, one region."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

_EVEN, _ODD, _CORNER = 0.980, 1.406, 0.091
"""Weights of straight steps, diagonal steps and corners in a chain code (Vossepoel and Smeulders 1982)."""
_FINEST, _COARSEST, _RADII = 1 / 48, 1 / 12, 8
"""Widths of the border's sausage, as shares of the diameter of the circle of equal area, and how many."""
_LEAST_RADIUS = 2.0


class Asymmetry(NamedTuple):
    """What does not cover itself when the lesion is folded over its long and its short axis, as shares of its area."""

    major: float
    minor: float


def asymmetry(mask: NDArray[np.uint8]) -> Asymmetry:
    """Folds the lesion over the principal axes through its centre of mass (Stoecker, Li and Moss 1992).

    Of each axis: half the area where the lesion and its mirror image differ, over the lesion's area. 0: the halves
    cover each other; 1: they share nothing. Of a shape without a longer direction (a circle, a square) the axes are
    arbitrary.

    Examples:
        >>> bar = np.zeros((9, 21), np.uint8)
        >>> bar[3:6, 3:18] = 1
        >>> asymmetry(bar)
        Asymmetry(major=0.0, minor=0.0)
    """
    moments = cv2.moments(mask, binaryImage=True)
    x, y = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
    angle = 0.5 * math.atan2(2 * moments["mu11"], moments["mu20"] - moments["mu02"])
    rows, columns = np.nonzero(mask)
    reach = math.ceil(float(np.hypot(columns - x, rows - y).max())) + 2
    solid = mask.astype(np.float32)

    def placed(turn: NDArray[np.float64]) -> NDArray[np.float32]:
        """The lesion with its centre in the middle of a canvas, after a turn about it."""
        shift = np.array([reach, reach]) - turn @ (x, y)
        canvas: NDArray[np.float32] = cv2.warpAffine(
            solid, np.column_stack((turn, shift)), (2 * reach + 1, 2 * reach + 1), flags=cv2.INTER_LINEAR
        ).astype(np.float32)
        return canvas

    along = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    upright = placed(along)
    area = float(upright.sum())
    major, minor = (float(np.abs(upright - upright[flip]).sum()) / (2 * area) for flip in (np.s_[::-1], np.s_[:, ::-1]))
    return Asymmetry(major, minor)


def perimeter(mask: NDArray[np.uint8]) -> float:
    """Length of the outer border in pixels, without the bias of counting pixel edges.

    The chain code of the border's pixels, weighed (Vossepoel and Smeulders 1982), runs through their centres: half a
    pixel inside of the border, so pi is added (Steiner's formula).
    """
    contour = _contour(mask)
    steps = np.roll(contour, -1, axis=0) - contour
    odd = int(np.count_nonzero(steps.all(axis=1)))
    corners = int(np.count_nonzero((steps != np.roll(steps, 1, axis=0)).any(axis=1)))
    return _EVEN * (len(steps) - odd) + _ODD * odd - _CORNER * corners + math.pi


def compactness(mask: NDArray[np.uint8]) -> float:
    """Perimeter squared over 4 pi times the area (Golston, Stoecker et al. 1992): 1 for a circle, more for others."""
    return perimeter(mask) ** 2 / (4 * math.pi * cv2.countNonZero(mask))


def fractal_dimension(mask: NDArray[np.uint8]) -> float | None:
    """Minkowski-Bouligand dimension of the border, by dilation (Flook 1978): 1 smooth, above 1 rough at every scale.

    The area within r of the border grows as r to the power of 2 minus the dimension. The slope is fitted by least
    squares over eight radii, from 1/48 to 1/12 of the diameter of the circle of equal area.

    Returns:
        The dimension; None where the lesion has too few pixels for the smallest radius.
    """
    diameter = 2 * math.sqrt(cv2.countNonZero(mask) / math.pi)
    if diameter * _FINEST < _LEAST_RADIUS:
        return None
    radii = diameter * np.geomspace(_FINEST, _COARSEST, _RADII)
    pad = math.ceil(radii[-1]) + 2
    wide = cv2.copyMakeBorder(mask, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0)
    inside, outside = (
        cv2.distanceTransform(part, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[part == 1] - 0.5
        for part in (wide, (1 - wide).astype(np.uint8))
    )
    near = np.sort(np.concatenate((inside, outside)))
    areas = np.searchsorted(near, radii)
    return float(2 - np.polyfit(np.log(radii), np.log(areas), 1)[0])


def diameter(mask: NDArray[np.uint8]) -> float:
    """The greatest distance between two pixels of the lesion, centre to centre (largest Feret diameter).

    Examples:
        >>> diameter(np.ones((1, 5), np.uint8))
        4.0
    """
    hull = cv2.convexHull(_contour(mask)[:, None, :]).reshape(-1, 2).astype(np.float64)
    across = hull[:, None] - hull[None]
    return float(np.sqrt((across**2).sum(-1)).max())


def touches_edge(mask: NDArray[np.uint8]) -> bool:
    """Whether the lesion reaches the picture's edge, so that part of it may be missing."""
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def _contour(mask: NDArray[np.uint8]) -> NDArray[np.int32]:
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points: NDArray[np.int32] = max(contours, key=len).reshape(-1, 2)
    return points
