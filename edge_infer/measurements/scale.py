"""Millimetres a pixel."""

from __future__ import annotations

import math

from edge_infer.errors import InputError


def check_scale(mm_per_pixel: float | None) -> None:
    """Refuses a scale that is none.

    Raises:
        InputError: not above 0, or not finite.
    """
    if mm_per_pixel is not None and not (math.isfinite(mm_per_pixel) and mm_per_pixel > 0):
        raise InputError(
            f"{mm_per_pixel} millimetres a pixel is no scale.",
            "Photograph a ruler with the same lens and divide its millimetres by its pixels.",
        )
