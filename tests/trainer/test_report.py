"""Tables from predictions whose figures are known by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_infer.bundle import OperatingPoint, QualityLimits
from edge_infer.quality import Quality
from trainer.errors import DataError
from trainer.evaluate import Counts, Prediction
from trainer.refusals import SPOILT, SpoiltPicture, read_spoilt, refused, write_spoilt
from trainer.report import headline, summarise, to_markdown

POINTS = (
    OperatingPoint("balanced", 0.5, "by hand", "for tests", "val"),
    OperatingPoint("screening", 0.1, "by hand", "for tests", "val"),
)


def picture(number: int, dx: str, score: float, reason: str = "", **changes: object) -> Prediction:
    base = Prediction(
        f"I{number}",
        f"L{number // 2}",
        "test",
        dx,
        "histo",
        50.0,
        "female",
        "back",
        "predicted",
        reason,
        Quality(150, 20, 0.1),
        0.2,
        0.2,
        Counts(70, 20, 10, 900),
        Counts(80, 10, 10, 900),
        {"mel": score, "nv": 1 - score},
    )
    return replace(base, **changes)  # type: ignore[arg-type]


ROWS = [
    *(picture(i, "mel", 0.9) for i in range(8)),
    *(picture(i, "mel", 0.2) for i in range(8, 10)),
    *(picture(i, "nv", 0.05) for i in range(10, 29)),
    picture(29, "nv", 0.6, sex="male"),
]


def test_figures_by_hand() -> None:
    found = summarise(ROWS, ("mel", "nv"), "mel", POINTS, "balanced", resamples=50)
    assert (found.images, found.lesions, found.melanomas, found.answered) == (30, 15, 10, 30)
    assert found.operating_points["balanced"]["sensitivity"].value == pytest.approx(0.8)
    assert found.operating_points["balanced"]["specificity"].value == pytest.approx(0.95)
    assert found.operating_points["screening"]["sensitivity"].value == 1
    assert found.melanoma["auc"].value == pytest.approx((8 * 20 + 2 * 19) / 200)
    assert found.segmentation["dice"].value == pytest.approx(160 / 180)
    assert found.segmentation_raw["dice"].value == pytest.approx(140 / 170)
    assert found.dice_by_class.keys() == {"mel", "nv"}
    assert found.subgroups["sex"]["male"].pictures == 1
    assert found.subgroups["age"] == {"50-69": found.subgroups["age"]["50-69"]}
    assert sum(bar.pictures for bar in found.reliability) == 30
    assert headline(found)["melanoma_auc"] == found.melanoma["auc"]


def test_referral_leaves_out_what_is_nearest_to_the_threshold() -> None:
    found = summarise(ROWS, ("mel", "nv"), "mel", POINTS, "balanced", resamples=50).referral["balanced"]
    assert found["0%"]["specificity"].value == pytest.approx(0.95)
    assert found["10%"]["specificity"].value == 1, "the false alarm at 0.6 is the least certain"
    assert found["10%"]["sensitivity"].value == 1, "and the melanomas at 0.2 come next"
    assert found["10%"]["melanomas_kept"].value == pytest.approx(0.8)


def test_refused_pictures_are_counted_and_rank_at_their_worst() -> None:
    rows = [*ROWS, picture(30, "mel", 0.99, "blurred"), picture(31, "nv", 0.01, "no_lesion", probabilities={})]
    found = summarise(rows, ("mel", "nv"), "mel", POINTS, "balanced", resamples=50)
    assert found.indeterminate == {"blurred": 1, "no_lesion": 1}
    assert (found.images, found.answered) == (32, 30)
    assert found.melanoma["auc"].value == pytest.approx(198 / 200)
    assert found.melanoma["auc_all_pictures"].value == pytest.approx(198 / (11 * 21))


def test_markdown_holds_every_section() -> None:
    text = to_markdown(summarise(ROWS, ("mel", "nv"), "mel", POINTS, "balanced", resamples=50), "Figures")
    for part in ("Segmentation", "Classification", "Operating points", "referred", "Reliability", "Subgroups"):
        assert part in text
    assert "| balanced | 0.800 (" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("| balanced | 0.8")}
    assert len(widths) == 1


def test_true_roi_has_no_segmentation_section() -> None:
    rows = [replace(row, roi="truth", raw=None, clean=None) for row in ROWS]
    text = to_markdown(summarise(rows, ("mel", "nv"), "mel", POINTS, "balanced", resamples=50), "Figures")
    assert "Segmentation" not in text and "nan" not in text


def test_spoilt_pictures_survive_the_file_and_are_refused_by_the_limits(tmp_path: Path) -> None:
    pictures = [
        SpoiltPicture("a", "unchanged", Quality(150, 20, 0.1)),
        SpoiltPicture("a", "dark", Quality(10, 3, 0.1)),
        SpoiltPicture("b", "dark", Quality(60, 9, 0.1)),
    ]
    write_spoilt(tmp_path / "spoilt.csv", pictures)
    limits = QualityLimits(64, 2, 40, 240, 0.01)
    assert refused(read_spoilt(tmp_path / "spoilt.csv"), limits) == {"unchanged": 0, "dark": 0.5}
    with pytest.raises(DataError):
        read_spoilt(tmp_path / "missing.csv")


@pytest.mark.parametrize("change", list(SPOILT))
def test_spoiling_keeps_shape_and_type(change: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (180, 240, 3), dtype=np.uint8)
    spoilt = SPOILT[change](image)
    assert spoilt.shape == image.shape and spoilt.dtype == np.uint8
    assert (change == "unchanged") == np.array_equal(spoilt, image)
