"""Rows by source and their mean: what counts, what is left out, and what an interval rests on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_infer.bundle.store import read_manifest
from edge_infer.rules import OperatingPoint
from edge_infer.schema import dump
from tests.support.prediction_rows import row
from trainer.choices.operating_points import asked_for, choose_operating_points
from trainer.report.many import readings_words
from trainer.report.source_goals import source_goals_table
from trainer.report.sources import MACRO, by_source, sources_markdown
from trainer.scoring.ledger import LEDGER, Reading, decisions_hash
from trainer.scoring.metrics import multiclass_measures
from trainer.scoring.predictions import Counts, Prediction
from trainer.scoring.scores import scores_of

POINTS = (OperatingPoint("balanced", 0.5, "by hand", "For tests.", "val"),)


def predictions() -> list[Prediction]:
    """`a`: 40 pictures with masks of which four are refused; `b`: 30 without masks, none named."""
    draws = np.random.default_rng(0)
    found = []
    for number in range(40):
        p = float(draws.random())
        one = row("mel" if draws.random() < p else "nv", {"bkl": 0.0, "mel": p, "nv": 1 - p})
        counts = Counts(90, 10, 10, 890) if number % 2 else Counts(10, 40, 40, 910)
        reason = "blurred" if number < 4 else ""
        found.append(
            replace(one, image_id=f"a{number}", lesion_id=f"a{number // 2}", source="a", clean=counts, reason=reason)
        )
    for number in range(30):
        p = float(draws.random())
        one = row("mel" if number < 10 else "", {"bkl": 0.0, "mel": p, "nv": 1 - p})
        found.append(replace(one, image_id=f"b{number}", lesion_id=f"b{number}", source="b"))
    return found


def test_a_row_counts_what_its_source_has() -> None:
    found = by_source(predictions(), ("bkl", "mel", "nv"), POINTS, 0.3, learnt=("a",), resamples=200)
    a, b = found.rows["a"], found.rows["b"]
    assert (a.pictures, a.masks, a.answered, a.refused) == (40, 40, 36, {"blurred": 4})
    assert (b.pictures, b.masks, b.melanomas, b.external, a.external) == (30, 0, 10, True, False)
    good, bad = Counts(90, 10, 10, 890).dice, Counts(10, 40, 40, 910).dice
    dice = a.figures
    assert dice["dice"].value == pytest.approx((good + bad) / 2, abs=1e-6)
    assert dice["dice_refused_0"].value == pytest.approx((18 * good + 18 * bad) / 40, abs=1e-6)
    assert dice["dice_answered"].value == pytest.approx((good + bad) / 2, abs=1e-6)
    assert dice["jaccard_below_0.65"].value == 0.5
    assert a.figures["refused"].value == 0.1 and "dice" not in b.figures
    called = [p for p in predictions() if p.source == "b" and p.dx == "mel"]
    hits = np.mean([p.probabilities["mel"] >= 0.5 for p in called])
    assert b.points["balanced"]["sensitivity"].value == pytest.approx(hits, abs=1e-6)


def test_the_macro_row_is_the_mean_of_the_sources_with_an_interval() -> None:
    found = by_source(predictions(), ("bkl", "mel", "nv"), POINTS, 0.3, resamples=200)
    for name in ("auc", "calibration_error", "refused"):
        metric = found.macro[name]
        assert metric.value == pytest.approx(np.mean([r.figures[name].value for r in found.rows.values()]), abs=1e-6)
        assert metric.low is not None and metric.low < metric.value < (metric.high or 0)
    assert "dice" not in found.macro, "one source alone has masks"
    widths = [r.figures["auc"].high - r.figures["auc"].low for r in found.rows.values()]  # type: ignore[operator]
    macro = found.macro["auc"]
    assert macro.high - macro.low < max(widths)  # type: ignore[operator]


def test_a_prior_of_another_share_is_corrected_before_calibration_is_judged() -> None:
    draws = np.random.default_rng(1)
    rows = []
    for number in range(3000):
        p = float(1 / (1 + np.exp(-draws.normal(-1, 1.5))))
        one = row("mel" if draws.random() < p else "nv", {})
        q = p / (p + 4 * (1 - p))  # what the same network says where melanoma's odds are a quarter
        rows.append(replace(one, lesion_id=str(number), source="a", probabilities={"nv": 1 - q, "mel": q}))
    share = float(np.mean([p.dx == "mel" for p in rows]))
    prior = share / (share + 4 * (1 - share))
    figures = by_source(rows, ("nv", "mel"), POINTS, prior, resamples=50).rows["a"].figures
    assert figures["calibration_error"].value > 0.12
    assert figures["calibration_error_corrected"].value < 0.03


def test_tables_name_external_sources_and_the_mean() -> None:
    found = by_source(predictions(), ("bkl", "mel", "nv"), POINTS, 0.3, learnt=("a",), resamples=50)
    text = sources_markdown(found, "Test split", POINTS)
    for words in ("| a | 40 ", "| b (external) | 30 ", f"| {MACRO} |", "4 (10.0%)", "| balanced | macro |"):
        assert words in text, words
    renamed = replace(found, rows={"ham10000": found.rows["a"], "msk-uda": found.rows["b"]})
    goals = source_goals_table("open", renamed)
    assert "AUC, external" in goals and goals.count("\n") == 5
    assert source_goals_table("nobody's", renamed) == ""


def test_points_below_their_rule_are_marked() -> None:
    scores = choose_operating_points(scores_of(predictions(), ("bkl", "mel", "nv")))
    rules = {point.name: asked_for(point.rule) for point in scores}
    assert rules == {"screening": ("sensitivity", 0.95), "balanced": None, "specialist": ("specificity", 0.95)}
    strict, lax = (replace(scores[0], threshold=threshold) for threshold in (0.999, 0.0))
    text, easy = (
        sources_markdown(by_source(predictions(), ("bkl", "mel", "nv"), (point,), 0.3, resamples=20), "x", (point,))
        for point in (strict, lax)
    )
    assert text.count("| sensitivity 0.95, **below** |") == 3, "both sources and their mean"
    assert easy.count("| sensitivity 0.95 |") == 3 and "**below** |" not in easy


def test_sources_of_small_pictures_are_named() -> None:
    found = by_source(predictions(), ("bkl", "mel", "nv"), POINTS, 0.3, resamples=20)
    assert "small copies" not in sources_markdown(found, "x", POINTS)
    assert "Pictures of b are small copies" in sources_markdown(found, "x", POINTS, exempt=("b", "c"))


def test_a_diagnosis_of_few_pictures_is_not_in_the_balanced_accuracy() -> None:
    truth = np.array([0] * 12 + [1] * 12 + [2])
    probabilities = np.eye(3)[np.where(truth == 2, 2, 0)]
    even = np.ones((1, len(truth)))
    every, common = (multiclass_measures(probabilities, truth, fewest) for fewest in (1, 10))
    assert every["class_balanced_accuracy"](even)[0] == pytest.approx(2 / 3)
    assert common["class_balanced_accuracy"](even)[0] == pytest.approx(1 / 2)
    assert "class_balanced_accuracy" not in multiclass_measures(probabilities, truth, 13)


def test_readings_under_the_same_name_before_are_told(toy_bundle: Path, tmp_path: Path) -> None:
    manifest = read_manifest(toy_bundle).manifest
    version = f"{manifest.name} {manifest.version}"
    assert readings_words(tmp_path / "toy", manifest) == ""
    lines = [
        Reading("2026-01-01T08:00:00+00:00", version, "a" * 64, "", {"ham10000": 9}, "bundle", "a first look"),
        Reading("2026-01-01T09:00:00+00:00", f"{manifest.name} 0.0.1", "c" * 64, "", {"bcn": 9}, "bundle", "an older"),
        Reading("2026-01-02T08:00:00+00:00", "another 1", "b" * 64, "", {"ham10000": 9}, "bundle", "another's"),
        Reading("2026-01-03T08:00:00+00:00", version, decisions_hash(manifest), "", {"bcn": 9}, "bundle", "the report"),
    ]
    (tmp_path / LEDGER).write_text("".join(json.dumps(dump(line)) + "\n" for line in lines), encoding="utf-8")
    text = readings_words(tmp_path / "toy", manifest)
    assert "9 of bcn. Reason: the report" in text
    assert "2026-01-01 08:00 UTC (hash `aaaaaaaaaaaaaaaa`)" in text and "bbbb" not in text
    assert f"{manifest.name} 0.0.1, 2026-01-01 09:00 UTC (hash `cccccccccccccccc`)" in text
    (tmp_path / LEDGER).write_text(json.dumps(dump(lines[-1])) + "\n", encoding="utf-8")
    assert "before" not in readings_words(tmp_path / "toy", manifest)


@pytest.mark.parametrize(
    ("bundle", "words"), [("mobile", "ham10000's masks; those of msk-uda"), ("open", "msk-uda's masks.")]
)
def test_cards_say_whose_masks_the_outlines_follow(bundle: str, words: str) -> None:
    text = (Path(__file__).parents[3] / "exported" / bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"Outlines are drawn in the style of {words}" in text
    assert "chosen on the validation split. " not in text.split("## Training")[1].split("## Energy")[0]
