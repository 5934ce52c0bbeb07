"""Boxes in pixels."""

from __future__ import annotations

from typing import NamedTuple


class Box(NamedTuple):
    """A half-open rectangle in pixels: columns x0..x1-1, rows y0..y1-1. An ROI may reach outside the picture."""

    x0: int
    y0: int
    x1: int
    y1: int
