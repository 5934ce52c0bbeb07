"""Overlays of sites: fitted to known truth, bound to one bundle, refused on too few cases, named in every answer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from edge_infer import Diagnoser
from edge_infer.bundle.site import Site, read_site
from edge_infer.bundle.store import read_manifest
from edge_infer.cli.app import app
from edge_infer.errors import BundleMismatchError, InputError
from edge_infer.evaluate.answers import Case
from edge_infer.evaluate.calibration import FEWEST, Aim, calibrate, fit
from edge_infer.evaluate.labels import Labelled
from edge_infer.steps.recalibrate import log_odds, recalibrated, recalibrated_classes
from tests.conftest import REPOSITORY


def skewed_cases(count: int, temperature: float, shift: float, seed: int = 5) -> list[Case]:
    """Answers whose true chance is `recalibrated(p, temperature, shift)`."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        p = float(1 / (1 + np.exp(-rng.normal(-1, 2))))
        truth = bool(rng.random() < recalibrated(p, temperature, shift))
        found.append(Case(Labelled(Path(f"{number}.jpg"), truth, f"L{number}", {}), p))
    return found


@pytest.fixture
def site(toy_bundle: Path) -> Site:
    return calibrate(skewed_cases(4000, 2.0, -1.0), read_manifest(toy_bundle), "clinic", "lesion_id")


def test_the_fit_finds_what_was_put_in_and_agrees_with_sklearn() -> None:
    cases = skewed_cases(20_000, 2.0, -1.0)
    score = np.array([case.probability for case in cases], np.float64)
    positive = np.array([case.picture.melanoma for case in cases])
    temperature, shift = fit(score, positive)
    assert (temperature, shift) == (pytest.approx(2.0, abs=0.1), pytest.approx(-1.0, abs=0.1))
    x = np.array([log_odds(p) for p in score])[:, None]
    model = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000).fit(x, positive)
    assert 1 / temperature == pytest.approx(model.coef_[0, 0], abs=1e-4)
    assert shift == pytest.approx(model.intercept_[0], abs=1e-4)


def test_an_overlay_helps_and_says_what_it_rests_on(site: Site) -> None:
    assert (site.pictures, site.groups, site.name, site.group_column) == (4000, 4000, "clinic", "lesion_id")
    assert site.prevalence == pytest.approx(site.melanomas / site.pictures, abs=1e-5)
    assert site.fit.log_loss_after < site.fit.log_loss_before
    assert site.fit.calibration_error_after < 0.03 < site.fit.calibration_error_before
    assert "clinic" in site.sentence and "4000 pictures" in site.sentence


def test_moved_thresholds_change_no_decision(site: Site, toy_bundle: Path) -> None:
    for point in read_manifest(toy_bundle).manifest.operating_points:
        moved = site.at_site(point)
        assert site.thresholds[point.name].moved and moved.threshold != point.threshold
        for p in np.random.default_rng(1).random(2000):
            assert (p >= point.threshold) == (recalibrated(p, site.temperature, site.shift) >= moved.threshold)


@pytest.mark.parametrize(("figure", "least"), [("sensitivity", 0.95), ("specificity", 0.9), ("sensitivity", 1.0)])
def test_a_threshold_chosen_anew_holds_its_aim_and_no_more(figure: str, least: float, toy_bundle: Path) -> None:
    cases = skewed_cases(3000, 1.5, -0.5)
    aims = {"sensitive": Aim(figure, least)}  # type: ignore[arg-type]
    made = calibrate(cases, read_manifest(toy_bundle), "clinic", None, aims)
    threshold = made.thresholds["sensitive"]
    assert not threshold.moved and figure in threshold.rule
    after = np.array([recalibrated(case.probability or 0, made.temperature, made.shift) for case in cases])
    positive = np.array([case.picture.melanoma for case in cases])
    right = (
        after[positive] >= threshold.threshold if figure == "sensitivity" else after[~positive] < threshold.threshold
    )
    assert least <= right.mean() < least + 2 / len(right)
    assert made.thresholds["balanced"].moved
    with pytest.raises(InputError, match="no operating point 'nope'"):
        calibrate(cases, read_manifest(toy_bundle), "clinic", None, {"nope": Aim("sensitivity", 0.9)})


def test_too_few_lesions_or_nonsense_is_refused(toy_bundle: Path) -> None:
    bundle = read_manifest(toy_bundle)
    cases = skewed_cases(400, 1.0, 0.0)
    positives = [case for case in cases if case.picture.melanoma]
    negatives = [case for case in cases if not case.picture.melanoma]
    assert len(positives) > FEWEST
    with pytest.raises(InputError, match=f"at least {FEWEST}"):
        calibrate([*positives[: FEWEST - 1], *negatives], bundle, "x", None)
    siblings = [replace(case, picture=replace(case.picture, group=f"L{n % 20}")) for n, case in enumerate(positives)]
    with pytest.raises(InputError, match=f"at least {FEWEST}"):
        calibrate([*siblings, *negatives], bundle, "x", None)
    swapped = [replace(case, picture=replace(case.picture, melanoma=not case.picture.melanoma)) for case in cases]
    with pytest.raises(InputError, match="do not rank"):
        calibrate(swapped, bundle, "x", None)
    perfect = [replace(case, probability=0.9 if case.picture.melanoma else 0.1) for case in cases]
    with pytest.raises(InputError, match="all too well"):
        calibrate(perfect, bundle, "x", None)


def test_classes_keep_their_sum_and_proportions() -> None:
    before = np.array([0.2, 0.5, 0.3], np.float32)
    after = recalibrated_classes(before, 1, 2.0, -1.0)
    assert after.dtype == np.float32 and after.sum() == pytest.approx(1, abs=1e-6)
    assert after[1] == pytest.approx(recalibrated(0.5, 2.0, -1.0))
    assert after[0] / after[2] == pytest.approx(2 / 3)
    for extreme in (0.0, 1.0):
        row = recalibrated_classes(np.array([1 - extreme, extreme], np.float32), 1, 2.0, -1.0)
        assert row[1] == pytest.approx(extreme, abs=1e-5)
        assert row.sum() == pytest.approx(1, abs=1e-5)


def test_every_answer_names_the_overlay(site: Site, toy_bundle: Path, nevus_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "site.json"
    file.write_text(site.to_json(), encoding="utf-8")
    with Diagnoser.load(toy_bundle) as plain, Diagnoser.load(toy_bundle, site=file) as ours:
        before, after = plain.diagnose(nevus_file), ours.diagnose(nevus_file)
        (many,) = ours.diagnose_many([nevus_file])
    assert before.site_sha256 is None and before.melanoma_probability is not None
    assert after.melanoma_probability == pytest.approx(
        recalibrated(before.melanoma_probability, site.temperature, site.shift), abs=1e-6
    )
    assert many.melanoma_probability == after.melanoma_probability
    assert after.label == before.label
    assert (after.site_sha256, after.threshold) == (site.sha256, site.thresholds["balanced"].threshold)
    assert site.sentence in after.warnings
    arguments = ["diagnose", str(nevus_file), "--bundle", str(toy_bundle), "--site", str(file)]
    for form in ("card", "json", "csv"):
        shown = CliRunner().invoke(app, [*arguments, "--format", form]).stdout
        assert "Re-calibrated for 'clinic'" in " ".join(shown.split())
        assert site.sha256[:12] in shown


def test_an_overlay_is_for_one_bundle_and_not_to_be_edited_into_nonsense(
    site: Site, toy_bundle: Path, tmp_path: Path
) -> None:
    file = tmp_path / "site.json"
    file.write_text(site.to_json(), encoding="utf-8")
    bundle = read_manifest(toy_bundle)
    assert read_site(file, bundle) == site
    with pytest.raises(BundleMismatchError, match="not for mobile"):
        read_site(file, read_manifest(REPOSITORY / "exported/mobile"))
    for key, value, match in (
        ("temperature", -1.0, "does not fit"),
        ("thresholds", {}, "does not fit"),
        ("schema", 9, "site schema 9"),
        ("temprature", 1.0, "unknown key"),
    ):
        file.write_text(json.dumps(json.loads(site.to_json()) | {key: value}), encoding="utf-8")
        with pytest.raises(InputError, match=match):
            read_site(file, bundle)


def test_the_command_fits_from_the_answers_of_a_batch(toy_bundle: Path, tmp_path: Path) -> None:
    bundle = read_manifest(toy_bundle)
    labels, answers = ["image,melanoma,lesion_id,part"], ["source,status,melanoma_probability,bundle_sha256"]
    for number, case in enumerate(skewed_cases(1200, 2.0, -1.0)):
        (tmp_path / f"{number}.jpg").touch()
        labels.append(f"{number}.jpg,{int(case.picture.melanoma)},L{number},{'fit' if number % 2 else 'check'}")
        answers.append(f"{tmp_path}/{number}.jpg,ok,{case.probability},{bundle.sha256}")
    (tmp_path / "labels.csv").write_text("\n".join(labels))
    (tmp_path / "answers.csv").write_text("\n".join(answers))
    common = [str(tmp_path / "labels.csv"), "--bundle", str(toy_bundle), "--answers", str(tmp_path / "answers.csv")]
    output = ["-o", str(tmp_path / "site.json"), "--name", "our clinic", "--where", "part=fit"]
    done = CliRunner().invoke(app, ["calibrate", *common, *output, "--aim", "sensitive=sensitivity:0.9"])
    assert done.exit_code == 0, done.output
    assert "moved, its decisions stay" in done.output and "sensitivity of at least 0.9" in done.output
    assert read_site(tmp_path / "site.json", bundle).pictures == 600
    wrong = CliRunner().invoke(app, ["evaluate", *common, "--site", str(tmp_path / "site.json")])
    assert wrong.exit_code == 2 and "without the overlay" in wrong.output
    bad = CliRunner().invoke(app, ["calibrate", *common, *output, "--aim", "sensitive=0.9"])
    assert bad.exit_code == 2 and "is not like" in bad.output
