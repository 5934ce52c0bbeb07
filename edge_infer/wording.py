"""The words that cards, overlays and reports share."""

from __future__ import annotations

from edge_infer.results import MELANOMA, Diagnosis, Reason

DISCLAIMER = "Research use only. Not a medical device; a doctor decides."

_REASONS = {
    Reason.NO_LESION: "no lesion found",
    Reason.LESION_UNCERTAIN: "outline uncertain",
    Reason.LESION_TOO_SMALL: "lesion too small",
    Reason.LESION_FILLS_FRAME: "lesion fills the picture",
    Reason.PICTURE_TOO_SMALL: "picture too small",
    Reason.BLANK: "picture blank",
    Reason.UNIFORM: "picture nearly uniform",
    Reason.TOO_DARK: "picture too dark",
    Reason.OVEREXPOSED: "picture overexposed",
    Reason.BLURRED: "picture blurred",
}


def percent(value: float | None) -> str:
    """A share of one as a percentage with one decimal; never rounded to certainty."""
    if value is None:
        return "-"
    if value < 0.001:
        return "< 0.1 %"
    if value > 0.999:
        return "> 99.9 %"
    return f"{100 * value:.1f} %"


def decision(diagnosis: Diagnosis) -> str:
    """What the threshold makes of the probability, in words."""
    word = "suspicious" if diagnosis.label == MELANOMA else "not suspicious"
    return f"{word} (threshold {percent(diagnosis.threshold)})"


def sentence(text: str) -> str:
    """A text from a manifest with a capital at its start and one full stop at its end."""
    text = text.strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def reason_title(diagnosis: Diagnosis) -> str:
    """The reason of an indeterminate result in a few words."""
    return _REASONS[diagnosis.reason] if diagnosis.reason else "unknown reason"
