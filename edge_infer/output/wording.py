"""The words that cards, overlays and reports share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_infer.diagnosis import MELANOMA, Diagnosis
from edge_infer.reasons import Reason

DISCLAIMER = "Research use only. Not a medical device; a doctor decides."
NOT_EXPLAINED = (
    "It does not show where disease is, nor why the answer is right: a wrong one has a map that looks just as good."
)
"""What a class activation map does not mean; it goes wherever one is shown."""

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
    Reason.NOT_DERMOSCOPY: "no dermoscopic picture",
    Reason.UNCERTAIN: "too close to call",
}

_LIGHT = "Check the lamp and the exposure, and take the picture again."
_ADVICE = {
    Reason.NO_LESION: "Put the lesion in the middle of the picture and take it again.",
    Reason.LESION_UNCERTAIN: "Put the lesion in the middle of the picture, with some skin around it.",
    Reason.LESION_TOO_SMALL: "Move closer, or use a higher magnification.",
    Reason.LESION_FILLS_FRAME: "Move away until skin is seen all around the lesion.",
    Reason.PICTURE_TOO_SMALL: "Use the picture at its original size.",
    Reason.BLANK: "Check that this is the right file.",
    Reason.UNIFORM: _LIGHT,
    Reason.TOO_DARK: _LIGHT,
    Reason.OVEREXPOSED: _LIGHT,
    Reason.BLURRED: "Focus, hold the dermatoscope still, and take the picture again.",
    Reason.NOT_DERMOSCOPY: "Take it through a dermatoscope, in colour, with the lesion in the middle.",
    Reason.UNCERTAIN: "Have it looked at: this is no reassurance, and a second picture may help.",
}


def class_map_scale(values: NDArray[np.float32]) -> str:
    """What the colours of a class activation map stand for."""
    return (
        "Orange raised, blue lowered the network's score for melanoma against the other classes; full colour is "
        f"{class_map_limit(values):.1f}, and the score is the mean over all places."
    )


def class_map_words(values: NDArray[np.float32]) -> str:
    """What the colours of a class activation map stand for, and what it does not mean."""
    return f"{class_map_scale(values)} {NOT_EXPLAINED}"


def class_map_limit(values: NDArray[np.float32]) -> float:
    """The largest amount in a class activation map, which gets the full colour."""
    return max(float(np.abs(values).max()), 1e-6)


def source_name(diagnosis: Diagnosis) -> str:
    """What a picture is called."""
    return "standard input" if diagnosis.source == "-" else diagnosis.source or "picture"


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


def advice(diagnosis: Diagnosis) -> str:
    """What can be done about an indeterminate result, in one sentence; empty for others."""
    return _ADVICE[diagnosis.reason] if diagnosis.reason else ""


def assumption(prior: float | None) -> str:
    """For which share of melanoma probabilities hold, in one sentence; empty where that is unknown."""
    return "" if prior is None else f"Probabilities assume that {percent(prior)} of the pictures show melanoma."


def suspicious_from(threshold: float | None, meaning: str) -> str:
    """What an operating point does, after its name: the threshold in use, and the manifest's words."""
    return f"suspicious from {percent(threshold)} upwards. {sentence(meaning)}".rstrip()


def sentence(text: str) -> str:
    """A text from a manifest with a capital at its start and one full stop at its end."""
    text = text.strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def undecided(diagnosis: Diagnosis) -> str:
    """What an indeterminate result has to say about the probability of melanoma."""
    if diagnosis.melanoma_probability is None:
        return "no probability is given"
    low, high = diagnosis.band or (None, None)
    return (
        f"melanoma {percent(diagnosis.melanoma_probability)}, undecided between {percent(low)} and {percent(high)} "
        f"(threshold {percent(diagnosis.threshold)})"
    )


def reason_title(diagnosis: Diagnosis) -> str:
    """The reason of an indeterminate result in a few words."""
    return _REASONS[diagnosis.reason] if diagnosis.reason else "unknown reason"
