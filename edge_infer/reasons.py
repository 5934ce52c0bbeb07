"""Why a picture gets no probability."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a picture is indeterminate; all but UNCERTAIN leave it without a probability."""

    NO_LESION = "no_lesion"
    LESION_UNCERTAIN = "lesion_uncertain"
    LESION_TOO_SMALL = "lesion_too_small"
    LESION_FILLS_FRAME = "lesion_fills_frame"
    PICTURE_TOO_SMALL = "picture_too_small"
    BLANK = "blank"
    UNIFORM = "uniform"
    TOO_DARK = "too_dark"
    OVEREXPOSED = "overexposed"
    BLURRED = "blurred"
    NOT_DERMOSCOPY = "not_dermoscopy"
    UNCERTAIN = "uncertain"


Problem = tuple[Reason, str]
"""Why a picture gets no probability: typed, and in a sentence for people."""
