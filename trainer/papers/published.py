"""Figures that others published for the steps of this comparison, with where each was read.

They are not comparable with the rows to the last digit, and no verdict rests on them: other splits, other pictures,
and mostly no word on whether two pictures of one lesion may stand on both sides of the split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainer.report.markdown import markdown_table

Stage = Literal["segmentation", "classification"]


@dataclass(frozen=True)
class Published:
    """One figure.

    Attributes:
        stage: which step.
        what: the network, in the authors' words.
        data: pictures and split, as far as they are said where it was read.
        value: Dice (segmentation) or accuracy over seven diagnoses (classification).
        source: where it was read.
    """

    stage: Stage
    what: str
    data: str
    value: float
    source: str


_DECOMPOSITION = "Sci Rep 11:5350 (2021), doi 10.1038/s41598-021-84593-z, Table 3"
_COLLECTED = "as collected in Sci Rep 12 (2022), doi 10.1038/s41598-022-22644-9, Table 8"
_OPTIMIZED = "Villa-Pulgarin et al., Computers, Materials & Continua 70(2) (2022), abstract"

PUBLISHED = (
    Published("segmentation", "U-Net++-inspired", "HAM10000", 0.921, "first paper, as the project's plan quotes it"),
    Published("segmentation", "U-Net", "HAM10000", 0.9121, _DECOMPOSITION),
    Published("segmentation", "U-Net on decomposed pictures", "HAM10000", 0.9166, _DECOMPOSITION),
    Published("segmentation", "U-Net", "ISIC 2016", 0.9060, _DECOMPOSITION),
    Published("segmentation", "U-Net", "ISIC 2017", 0.8188, _DECOMPOSITION),
    Published("segmentation", "Faster R-CNN, U-Net and hourglass", "ISIC 2018", 0.915, "arXiv 2005.06550, abstract"),
    Published("classification", "not said", "seven diagnoses", 0.824, "as the project's plan quotes it"),
    Published("classification", "modified MobileNet", "HAM10000", 0.8393, _COLLECTED),
    Published("classification", "MobileNetV2 and LSTM", "HAM10000", 0.8534, _COLLECTED),
    Published("classification", "Xception", "HAM10000", 0.8872, "arXiv 2312.10696, abstract"),
    Published("classification", "Xception", "HAM10000", 0.9147, _COLLECTED),
    Published("classification", "Inception V3", "HAM10000", 0.9156, _COLLECTED),
    Published("classification", "ResNeXt101", "HAM10000", 0.9320, _COLLECTED),
    Published("classification", "Inception V3", "HAM10000", 0.96, _OPTIMIZED),
    Published("classification", "DenseNet201", "HAM10000", 0.98, _OPTIMIZED),
)


def published_table() -> str:
    """All of them, with their sources."""
    note = (
        "Read where the last column says, and not measured here: other splits, other pictures, and mostly no word on "
        "whether pictures of one lesion stand on both sides of the split. No verdict rests on them.\n\n"
    )
    figure = {"segmentation": "Dice", "classification": "accuracy, seven diagnoses"}
    lines = [[one.what, one.data, figure[one.stage], f"{one.value:g}", one.source] for one in PUBLISHED]
    return note + markdown_table(["network", "pictures", "figure", "value", "read in"], lines)
