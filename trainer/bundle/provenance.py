"""Names, licences and citations that a manifest states, and the names of its files."""

from __future__ import annotations

SEGMENTER_FILE, CLASSIFIER_FILE, GOLDEN_FILE = "segmenter.onnx", "classifier.onnx", "golden.npz"


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


MELANOMA = "mel"


INTENDED_USE = (
    "Research and teaching on dermoscopic pictures of single skin lesions. Not a medical device: it must not be used "
    "to diagnose, to reassure, or to decide on treatment."
)


DATA = "HAM10000 with Tschandl's lesion masks, split by lesion"


CITATION = (
    "Tschandl P, Rosendahl C, Kittler H. The HAM10000 dataset, a large collection of multi-source dermatoscopic images "
    "of common pigmented skin lesions. Sci Data 5, 180161 (2018). doi:10.1038/sdata.2018.161"
)


LICENSE = "CC-BY-NC-4.0"


LICENSE_NOTE = (
    "The weights were trained on HAM10000 (CC BY-NC 4.0): attribution is required and commercial use is not allowed. "
    "The code that reads this bundle is Apache-2.0."
)
