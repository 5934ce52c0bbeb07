"""Tables from predictions whose figures are known by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_infer.bundle.store import read_manifest
from edge_infer.rules import Band, DermoscopyRule, InputSpec, MaskRule, OperatingPoint, QualityLimits, RoiRule
from edge_infer.steps.quality import Quality
from trainer.bundle.recipe import load_bundle_recipe
from trainer.errors import DataError
from trainer.report.markdown import to_markdown
from trainer.report.refusals import detection, refused
from trainer.report.summary import headline, summarise
from trainer.scoring.predict import Rules
from trainer.scoring.predictions import Counts, Prediction
from trainer.scoring.trials import BARE_DRAWN, SPOILT, Trial, bare_window, read_trials, try_bare_skin, write_trials
from trainer.training.runs import recipe_chain

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
        0.95,
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


def test_a_band_leaves_pictures_undecided_and_counts_what_is_missed() -> None:
    points = (replace(POINTS[0], bands=(Band(0.1, 0.4, 0.7), Band(0.3, 0.1, 0.7))), POINTS[1])
    narrow, wide = summarise(ROWS, ("mel", "nv"), "mel", points, "balanced", resamples=50).bands["balanced"]
    assert narrow["decided"].value == pytest.approx(29 / 30)
    assert (narrow["specificity"].value, narrow["sensitivity"].value) == (1, pytest.approx(0.8))
    assert narrow["melanomas_missed"].value == pytest.approx(0.2)
    assert (wide["melanomas_missed"].value, wide["melanomas_kept"].value) == (0, pytest.approx(0.8))
    text = to_markdown(summarise(ROWS, ("mel", "nv"), "mel", points, "balanced", resamples=50), "Figures", points)
    assert "| balanced | 30% | 0.100 to 0.700 |" in text


def test_detection_counts_by_look_and_by_any_reason(toy_bundle: Path) -> None:
    manifest = replace(read_manifest(toy_bundle).manifest, dermoscopy=DermoscopyRule({}, 4, 0, -2))
    rows = [replace(row, dermoscopy=1.0 + i) for i, row in enumerate(ROWS)]
    rows[0] = replace(rows[0], dermoscopy=-3.0, reason="not_dermoscopy")
    good, dark = Quality(150, 20, 0.1), Quality(1, 20, 0.1)
    trials = [
        Trial("cat#0", "no dermoscopy: photograph", good, 0.3, 0.9, -4.0),
        Trial("cat#1", "no dermoscopy: photograph", good, 0.3, 0.9, 0.0),
        Trial("night#0", "no dermoscopy: photograph", dark, 0.3, 0.9, 0.0),
        Trial("skin", BARE_DRAWN, good, 0.0, 0.0, 9.0),
    ]
    found = {name: metric.value for name, metric in detection(trials, rows, manifest).items()}
    expected = {
        "AUROC of the score": (29 + 1 / 3) / 30,
        "dermoscopic pictures refused for their look": 1 / 30,
        "dermoscopic pictures refused for any reason": 1 / 30,
        "other pictures refused for their look": 1 / 3,
        "other pictures refused for any reason": 2 / 3,
    }
    assert found == pytest.approx(expected, abs=1e-6)
    assert detection(trials, ROWS, manifest) == {} == detection(trials, rows, replace(manifest, dermoscopy=None))


def test_refused_pictures_are_counted_and_rank_at_their_worst() -> None:
    rows = [*ROWS, picture(30, "mel", 0.99, "blurred"), picture(31, "nv", 0.01, "no_lesion", probabilities={})]
    found = summarise(rows, ("mel", "nv"), "mel", POINTS, "balanced", resamples=50)
    assert found.indeterminate == {"blurred": 1, "no_lesion": 1}
    assert (found.images, found.answered) == (32, 30)
    assert found.melanoma["auc"].value == pytest.approx(198 / 200)
    assert found.melanoma["auc_all_pictures"].value == pytest.approx(198 / (11 * 21))


def test_markdown_holds_every_section() -> None:
    text = to_markdown(summarise(ROWS, ("mel", "nv"), "mel", POINTS, "balanced", resamples=50), "Figures", POINTS)
    for part in ("Segmentation", "Classification", "Operating points", "referred", "Reliability", "Subgroups"):
        assert part in text
    assert "| balanced | 0.800 (" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("| balanced | 0.8")}
    assert len(widths) == 1


def test_true_roi_has_no_segmentation_section() -> None:
    rows = [replace(row, roi="truth", raw=None, clean=None) for row in ROWS]
    text = to_markdown(summarise(rows, ("mel", "nv"), "mel", POINTS, "balanced", resamples=50), "Figures", POINTS)
    assert "Segmentation" not in text and "nan" not in text


def test_trials_survive_the_file_and_are_refused_by_quality_or_mask(tmp_path: Path, toy_bundle: Path) -> None:
    good = Quality(150, 20, 0.1)
    trials = [
        Trial("a", "unchanged", good),
        Trial("a", "dark", Quality(10, 3, 0.1)),
        Trial("b", "dark", Quality(60, 9, 0.1)),
        Trial("a", "skin", good, 0.0, 0.0),
        Trial("b", "skin", good, 0.3, 0.9),
        Trial("c", "skin", good, 0.001, 0.9),
        Trial("d", "skin", good, 0.99, 0.9),
        Trial("e", "skin", good, 0.3, 0.7),
        Trial("f", "cat", good, 0.3, 0.9, -2.5),
    ]
    write_trials(tmp_path / "refusals.parquet", trials)
    again = read_trials(tmp_path / "refusals.parquet")
    assert again == trials
    manifest = replace(
        read_manifest(toy_bundle).manifest,
        quality=QualityLimits(64, 2, 40, 240, 0.01),
        mask=MaskRule(0.5, 0.01, 0.95, 0.8),
    )
    found = refused(again, manifest)
    assert found == {"unchanged (n = 1)": 0, "dark (n = 2)": 0.5, "skin (n = 5)": 0.8, "cat (n = 1)": 0}
    strict = replace(manifest, dermoscopy=DermoscopyRule({}, 4, 0, -2))
    assert refused(again, strict)["cat (n = 1)"] == 1
    with pytest.raises(DataError):
        read_trials(tmp_path / "missing.parquet")


def test_bare_windows_hold_no_lesion_and_are_large_enough() -> None:
    image = np.zeros((120, 160, 3), np.uint8)
    mask = np.zeros((120, 160), np.uint8)
    mask[30:60, 20:60] = image[30:60, 20:60, 0] = 1
    window = bare_window(image, mask)
    assert window is not None and window[..., 0].sum() == 0
    assert window.shape[0] >= 0.35 * 120 and window.shape[1] >= 0.35 * 160
    mask[10:110, 10:150] = 1
    assert bare_window(image, mask) is None


def test_bare_skin_is_told_by_the_cleaned_mask(toy_bundle: Path) -> None:
    rules = Rules(
        InputSpec("i", 32, 32), InputSpec("i", 32, 32), ("mel",), MaskRule(0.5, 0.01, 0.95), RoiRule("keep", 0)
    )
    for value, expected in ((0.0, 1.0), (1.0, 1.0)):
        trials = try_bare_skin(
            [], rules, lambda batch, v=value: np.full(batch.shape[:3], v, np.float32), drawn=2, progress=False
        )
        assert [trial.area for trial in trials] == [value, value]
        manifest = replace(read_manifest(toy_bundle).manifest, quality=QualityLimits(1, 0, 0, 255, 0), mask=rules.mask)
        assert refused(trials, manifest) == {f"{BARE_DRAWN} (n = 2)": expected}


def test_chains_of_recipes_train_in_order() -> None:
    stages = load_bundle_recipe("mobile").stages
    chain = recipe_chain(stages.segmenter.recipe)
    names = ["mobile-segmenter", "mobile-segmenter-skin", "sources-segmenter", "sources-segmenter-long"]
    assert [recipe.name for recipe in chain] == names
    chain = recipe_chain(stages.classifier.recipe)
    assert [recipe.name for recipe in chain] == ["sources-classifier", "sources-classifier-long"]


@pytest.mark.parametrize("change", list(SPOILT))
def test_spoiling_keeps_shape_and_type(change: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (180, 240, 3), dtype=np.uint8)
    spoilt = SPOILT[change](image)
    assert spoilt.shape == image.shape and spoilt.dtype == np.uint8
    assert (change == "unchanged") == np.array_equal(spoilt, image)
