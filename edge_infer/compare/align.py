"""Brings one picture onto another of the same lesion: points are matched, and a turn, a scale and a shift fitted.

SIFT points (Lowe 2004), his ratio test, RANSAC over similarities, then checks: enough points agree, spread over the
picture, and the pictures look alike where both show something. What fails one is refused: a wrong alignment makes
changes up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_infer.errors import NotComparableError
from edge_infer.steps.resize import resize

LONGEST_SIDE = 640
_RATIO = 0.8
_REPROJECTION = 3.0
LEAST_INLIERS = 8
"""Points that agree with one similarity. Pictures of two lesions have fewer: see `docs/compare.md`."""
LEAST_SPREAD = 0.06
"""Their standard deviation, in the narrower direction, as a share of the longer side."""
LEAST_CORRELATION = 0.55
"""Of the smoothed pictures where they overlap."""
LEAST_OVERLAP = 0.25
"""What both see, as a share of the picture that shows less."""
MOST_SCALE = 4.0
_REMEDY = "Take both pictures straight from above, with the same lesion in the middle and the same lens."


@dataclass(frozen=True, eq=False)
class Alignment:
    """How the first picture lies on the second.

    Attributes:
        matrix: float64 (2, 3): pixels (x, y) of the first to pixels of the second.
        points: how many pairs of points agree.
        correlation: of the smoothed grey pictures where they overlap, -1 to 1.
        overlap: what both see, as a share of the picture that shows less.
    """

    matrix: NDArray[np.float64]
    points: int
    correlation: float
    overlap: float

    @property
    def scale(self) -> float:
        """Pixels of the second for one of the first."""
        return float(np.hypot(self.matrix[0, 0], self.matrix[1, 0]))

    @property
    def turn(self) -> float:
        """Degrees, clockwise as seen."""
        return math.degrees(math.atan2(self.matrix[1, 0], self.matrix[0, 0]))

    def warp(self, image: NDArray[np.uint8], size: tuple[int, int], nearest: bool = False) -> NDArray[np.uint8]:
        """The first picture, or its mask, in the second's frame of this height and width; 0 where there is nothing."""
        flags = cv2.INTER_NEAREST if nearest else cv2.INTER_AREA
        warped: NDArray[np.uint8] = cv2.warpAffine(image, self.matrix, (size[1], size[0]), flags=flags)
        return warped


def align(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Alignment:
    """Finds how the first picture lies on the second; RGB uint8 of any sizes.

    Raises:
        NotComparableError: nothing says reliably how.
    """
    (a, grow_a), (b, grow_b) = _working(first), _working(second)
    pairs = _matches(a, b)
    if pairs is None or len(pairs[0]) < LEAST_INLIERS:
        raise _refused(f"only {0 if pairs is None else len(pairs[0])} points look alike")
    # RANSAC is the one step of chance; its seed is fixed, so that the same pictures give the same answer.
    cv2.setRNGSeed(1)
    matrix, inliers = cv2.estimateAffinePartial2D(
        *pairs, method=cv2.RANSAC, ransacReprojThreshold=_REPROJECTION, maxIters=5000, confidence=0.999
    )
    count = 0 if inliers is None else int(inliers.sum())
    if matrix is None or count < LEAST_INLIERS:
        raise _refused(f"only {count} points agree, of {len(pairs[0])} that look alike; {LEAST_INLIERS} are needed")
    agreeing = pairs[1][inliers.ravel() == 1]
    spread = math.sqrt(max(float(np.linalg.eigvalsh(np.cov(agreeing.T))[0]), 0.0)) / LONGEST_SIDE
    if spread < LEAST_SPREAD:
        raise _refused("the points that agree lie close together or in a line")
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if not 1 / MOST_SCALE <= scale <= MOST_SCALE:
        raise _refused(f"one would be {max(scale, 1 / scale):.1f} times as large as the other")
    correlation, overlap = _likeness(a, b, matrix)
    if overlap < LEAST_OVERLAP:
        raise _refused(f"they share only {100 * overlap:.0f} % of what they show")
    if correlation < LEAST_CORRELATION:
        raise _refused(f"laid on each other they correlate by {correlation:.2f}; {LEAST_CORRELATION} are needed")
    whole = matrix.astype(np.float64)
    # Pixel centres stand half a pixel inside: x_full = (x + 0.5) * grow - 0.5.
    turn = whole[:, :2] * (grow_b / grow_a)
    shift = grow_b * (whole[:, 2] + 0.5 - whole[:, :2] @ np.array([0.5, 0.5])) - 0.5 + turn @ np.array([0.5, 0.5])
    return Alignment(np.column_stack((turn, shift)), count, correlation, overlap)


def _refused(why: str) -> NotComparableError:
    return NotComparableError(f"The pictures cannot be aligned: {why}.", _REMEDY)


def _working(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """The picture in grey at the size of working, and how many of its own pixels one of these is."""
    grow = max(image.shape[:2]) / LONGEST_SIDE
    rows, columns = (max(1, round(side / grow)) for side in image.shape[:2])
    grey: NDArray[np.uint8] = cv2.cvtColor(resize(image, rows, columns), cv2.COLOR_RGB2GRAY)
    return grey, grow


def _matches(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Points (n, 2) of both that look alike and like no other."""
    finder = cv2.SIFT.create(nfeatures=2000, contrastThreshold=0.015)
    (points_a, looks_a), (points_b, looks_b) = (finder.detectAndCompute(_even(grey), None) for grey in (a, b))
    if looks_a is None or looks_b is None or len(looks_b) < 2:
        return None
    found = [
        (points_a[best.queryIdx].pt, points_b[best.trainIdx].pt)
        for best, *rest in cv2.BFMatcher(cv2.NORM_L2).knnMatch(looks_a, looks_b, k=2)
        if rest and best.distance < _RATIO * rest[0].distance
    ]
    # One point of the second for several of the first is a repeated pattern, not a place.
    targets: dict[tuple[float, float], int] = {}
    for _, target in found:
        targets[target] = targets.get(target, 0) + 1
    kept = [pair for pair in found if targets[pair[1]] == 1]
    if not kept:
        return None
    first, second = (np.array(points, np.float32) for points in zip(*kept, strict=True))
    return first, second


def _even(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Local contrast evened out, so that pale skin has points too."""
    evened: NDArray[np.uint8] = cv2.createCLAHE(clipLimit=3.0, tileGridSize=(8, 8)).apply(grey)
    return evened


def _likeness(a: NDArray[np.uint8], b: NDArray[np.uint8], matrix: NDArray[np.float64]) -> tuple[float, float]:
    """Correlation of the smoothed pictures where both are, and that part's share of the picture that shows less."""
    size = (b.shape[1], b.shape[0])
    moved = cv2.warpAffine(cv2.GaussianBlur(a, (0, 0), 3).astype(np.float32), matrix, size)
    there = cv2.warpAffine(np.ones(a.shape, np.uint8), matrix, size, flags=cv2.INTER_NEAREST) == 1
    if np.count_nonzero(there) < 100:
        return 0.0, 0.0
    area = a.size * float(np.abs(np.linalg.det(matrix[:, :2])))
    overlap = float(np.count_nonzero(there)) / min(area, b.size)
    still = cv2.GaussianBlur(b, (0, 0), 3).astype(np.float32)
    x, y = moved[there] - moved[there].mean(), still[there] - still[there].mean()
    return float((x * y).sum() / max(math.sqrt(float((x * x).sum() * (y * y).sum())), 1e-6)), overlap
