"""Names that a manifest states whatever the bundle; everything else that it says stands in the bundle's recipe."""

from __future__ import annotations

LABEL_NAMES = {
    "akiec": "actinic keratosis or intraepithelial carcinoma",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevus",
    "other": "not melanoma",
    "vasc": "vascular lesion",
}
