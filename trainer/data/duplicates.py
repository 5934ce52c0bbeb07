"""Pictures that look alike although they are listed as different lesions, in two sources or two splits.

Such a pair leaks: a network is measured on what it has learnt from. Sizes, squashing, recompression and light may
differ between the two; crops and mirror images are not found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.data.ham10000 import Record

HASH_SIDE = 16
MAX_DISTANCE = 40
"""Bits of 256 in which the hashes of two alike pictures may differ."""
MIN_CORRELATION = 0.85
"""Least correlation of the fine detail of two pictures, where both are lit."""

_CELLS = 48
_DARK = 40
"""Grey value of the surround that some dermatoscopes leave black: its edge is alike in all their pictures."""
_RIM = 9
_SMOOTH = 3.0
_LEAST_CELLS = 200
_ROWS = 512
_NO_SPLIT = "no split"


@dataclass(frozen=True)
class Look:
    """A picture, small.

    Attributes:
        bits: difference hash, bool, shape (256,): whether each cell of the shrunken grey picture is brighter than its
            right one.
        detail: grey values less their surroundings' mean, 0 where it is dark, float32, shape (2304,).
        lit: bool, shape (2304,): where the picture shows skin, away from a black surround.
    """

    bits: NDArray[np.bool_]
    detail: NDArray[np.float32]
    lit: NDArray[np.bool_]

    def correlation(self, other: Look) -> float:
        """Of the detail of two pictures where both are lit, -1..1; 0 where that is too little to tell."""
        both = self.lit & other.lit
        if both.sum() < _LEAST_CELLS:
            return 0.0
        one, two = (item.detail[both] - item.detail[both].mean() for item in (self, other))
        return float(one @ two / np.sqrt((one @ one) * (two @ two) + 1e-9))


@dataclass(frozen=True)
class Alike:
    """A pair as lists show it.

    Attributes:
        first, second: image ids.
        first_source, second_source: where each is from.
        first_split, second_split: as the metadata prescribe, "no split" where they do not.
        correlation: see `Look.correlation`, `MIN_CORRELATION`..1.
    """

    first: str
    first_source: str
    first_split: str
    second: str
    second_source: str
    second_split: str
    correlation: float

    def __str__(self) -> str:
        """The pair in one line."""
        first = f"{self.first} ({self.first_source}, {self.first_split})"
        return f"{first} = {self.second} ({self.second_source}, {self.second_split}): {self.correlation:.3f}"


class Pair(NamedTuple):
    """Two records that look alike, and the correlation of their pictures."""

    first: Record
    second: Record
    correlation: float


def look(image: NDArray[np.uint8]) -> Look:
    """Of an RGB picture, uint8, shape (h, w, 3)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA)
    cells = cv2.resize(grey, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA).astype(np.float32)
    lit = cv2.erode((cells > _DARK).astype(np.float32), np.ones((_RIM, _RIM)), borderValue=1)
    weight = np.maximum(cv2.GaussianBlur(lit, (0, 0), _SMOOTH), 1e-3)
    detail = (cells - cv2.GaussianBlur(cells * lit, (0, 0), _SMOOTH) / weight) * lit
    return Look((small[:, :-1] > small[:, 1:]).ravel(), detail.ravel(), lit.ravel() > 0)


def near_duplicates(records: Sequence[Record], looks: Sequence[Look]) -> list[Pair]:
    """Pairs of different lesions, in two sources or two splits, most alike first.

    Args:
        records: the pictures.
        looks: of each, in the same order.
    """
    if not records:
        return []
    signs = np.where(np.stack([item.bits for item in looks]), 1, -1).astype(np.float32)
    least = signs.shape[1] - 2 * MAX_DISTANCE
    found: list[Pair] = []
    for start in range(0, len(records), _ROWS):
        close = signs[start : start + _ROWS] @ signs[start:].T >= least
        for row, column in zip(*np.nonzero(close), strict=True):
            one, other = start + int(row), start + int(column)
            first, second = records[one], records[other]
            apart = (first.source, first.split) != (second.source, second.split)
            if one < other and apart and first.lesion_id != second.lesion_id:
                alike = looks[one].correlation(looks[other])
                if alike >= MIN_CORRELATION:
                    found.append(Pair(first, second, alike))
    return sorted(found, key=lambda pair: -pair.correlation)


def alike(records: Sequence[Record], looks: Sequence[Look]) -> list[Alike]:
    """What `near_duplicates` finds, as lists show it."""
    return [
        Alike(
            *(first.image_id, first.source, first.split or _NO_SPLIT),
            *(second.image_id, second.source, second.split or _NO_SPLIT),
            correlation,
        )
        for first, second, correlation in near_duplicates(records, looks)
    ]
