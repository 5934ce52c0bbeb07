"""The codes of this package's reports that no public scheme has, under a designator of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_infer.extras import need
from edge_infer.reasons import Reason

if TYPE_CHECKING:
    from pydicom.sr.coding import Code

SCHEME = "99EDGEINFER"
"""A private designator, as DICOM PS3.16 chapter 8 wants it: 99 and a name."""
SCHEME_NAME = "edge-infer's own codes"
PROBABILITY = ("MEL-PROB", "Probability of melanoma")
THRESHOLD = ("THRESHOLD", "Decision threshold")
OPERATING_POINT = ("OPERATING-POINT", "Operating point")
DECISION = ("DECISION", "Decision at the operating point")
REASON = ("REASON", "Reason why there is no decision")
SUSPICIOUS = ("SUSPICIOUS", "Suspicious")
NOT_SUSPICIOUS = ("NOT-SUSPICIOUS", "Not suspicious")
INDETERMINATE = ("INDETERMINATE", "Indeterminate")
REASONS = {
    Reason.NO_LESION: "NO-LESION",
    Reason.LESION_UNCERTAIN: "LESION-UNCERTAIN",
    Reason.LESION_TOO_SMALL: "LESION-TOO-SMALL",
    Reason.LESION_FILLS_FRAME: "LESION-FILLS",
    Reason.PICTURE_TOO_SMALL: "PICTURE-SMALL",
    Reason.BLANK: "BLANK",
    Reason.UNIFORM: "UNIFORM",
    Reason.TOO_DARK: "TOO-DARK",
    Reason.OVEREXPOSED: "OVEREXPOSED",
    Reason.BLURRED: "BLURRED",
    Reason.NOT_DERMOSCOPY: "NOT-DERMOSCOPY",
    Reason.UNCERTAIN: "UNCERTAIN",
}
"""Each at most 16 characters, which is what a Code Value may have."""


def code(pair: tuple[str, str]) -> Code:
    """One of the pairs above as pydicom has codes."""
    coding = need("pydicom.sr.coding", "dicom")
    return coding.Code(pair[0], SCHEME, pair[1])
