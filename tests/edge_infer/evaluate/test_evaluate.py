"""Evaluation from a table: the trainer's very figures, honest reading of labels, and answers of earlier runs."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edge_infer.bundle.store import load_bundle
from edge_infer.cli.app import app
from edge_infer.errors import InputError
from edge_infer.evaluate.answers import Case
from edge_infer.evaluate.figures import evaluate
from edge_infer.evaluate.labels import Columns, Labelled, age_band, read_labels
from edge_infer.evaluate.show import tables
from edge_infer.rules import OperatingPoint
from tests.conftest import REPOSITORY
from tests.support.prediction_rows import row
from trainer.data.drawn import draw_picture
from trainer.report.summary import summarise
from trainer.scoring.predictions import Prediction, read_predictions

POINTS = [OperatingPoint(name, limit, "r", "m", "val") for name, limit in (("balanced", 0.4), ("screening", 0.1))]


def drawn_cases(count: int = 300, seed: int = 2) -> list[Case]:
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        melanoma = bool(rng.random() < 0.3)
        probability = float(np.clip(rng.normal(0.55 if melanoma else 0.3, 0.2), 0.001, 0.999))
        refused = rng.random() < 0.05
        picture = Labelled(
            Path(f"{number}.jpg"), melanoma, f"L{number // 2}", {"sex": "female" if number % 3 else "male"}
        )
        found.append(Case(picture, None if refused else probability, "blurred" if refused else None))
    return found


def predictions_of(cases: Sequence[Case]) -> list[Prediction]:
    found = []
    for case in cases:
        p = case.probability or 0.5
        made = row("mel" if case.picture.melanoma else "nv", {"other": 1 - p, "mel": p})
        found.append(
            replace(made, lesion_id=case.picture.group, sex=case.picture.attributes["sex"], reason=case.reason or "")
        )
    return found


def test_the_figures_are_the_trainers() -> None:
    cases = drawn_cases()
    ours = evaluate(cases, POINTS, "balanced")
    theirs = summarise(predictions_of(cases), ["other", "mel"], "mel", POINTS, "balanced")
    assert ours.melanoma == theirs.melanoma
    assert ours.points == theirs.operating_points
    assert (ours.pictures, ours.groups, ours.melanomas, ours.answered) == (
        theirs.images,
        theirs.lesions,
        theirs.melanomas,
        theirs.answered,
    )
    assert {name: r.pictures for name, r in ours.refusals.items()} == theirs.indeterminate
    assert [(b.pictures, b.predicted) for b in ours.reliability] == [
        (b.pictures, b.predicted) for b in theirs.reliability
    ]
    for value, group in ours.subgroups["sex"].items():
        expected = theirs.subgroups["sex"][value]
        assert (group.pictures, group.melanomas) == (expected.pictures, expected.melanomas)
        assert group.figures == {key: expected.figures[key] for key in ("auc", "sensitivity", "specificity")}


def test_pictures_of_one_patient_make_intervals_wider() -> None:
    cases = [case for case in drawn_cases() if case.probability is not None]
    copies = [replace(case, picture=replace(case.picture, group=case.picture.path.stem)) for case in cases]
    alone = evaluate(copies * 4, POINTS, "balanced").melanoma["auc"]
    each = [replace(c, picture=replace(c.picture, group=str(n))) for n, c in enumerate(copies * 4)]
    careless = evaluate(each, POINTS, "balanced").melanoma["auc"]
    assert alone.value == careless.value
    assert alone.low is not None and careless.low is not None
    assert alone.value - alone.low > 1.5 * (careless.value - careless.low)


def test_one_kind_of_pictures_is_nothing_to_measure() -> None:
    cases = [case for case in drawn_cases() if not case.picture.melanoma]
    with pytest.raises(InputError, match="nothing to tell apart"):
        evaluate(cases, POINTS, "balanced")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Eight drawn pictures, one blank and one damaged one, in a table beside them."""
    rows = ["image_id,dx,lesion_id,sex,age,split"]
    for number in range(8):
        kind = "mel" if number % 2 else "nv"
        picture = draw_picture(np.random.default_rng(number), 120, 160, kind).image
        assert cv2.imwrite(str(tmp_path / f"P{number}.png"), picture[..., ::-1])
        rows.append(f"P{number},{kind},L{number // 2},{'male' if number < 4 else ''},{30 + 10 * number},test")
    assert cv2.imwrite(str(tmp_path / "blank.png"), np.full((120, 160, 3), 128, np.uint8))
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    rows += ["blank,mel,L8,male,,test", "broken.jpg,nv,L9,male,,test", "P0,nv,L0,male,,train", "P1,,L0,male,,test"]
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def run(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.output


def test_the_command_counts_every_picture_once(table: Path, toy_bundle: Path, tmp_path: Path) -> None:
    files = ("--json", tmp_path / "all.json", "--save-report", tmp_path / "page.html")
    shown = run(table, "--where", "split=test", "--bundle", toy_bundle, *files)
    data = json.loads((tmp_path / "all.json").read_text())
    assert (data["pictures"], data["groups"], data["melanomas"], data["answered"]) == (9, 5, 5, 8)
    assert data["refusals"] == {"blank": {"pictures": 1, "melanomas": 1}}
    assert data["failed"] == {"image-decode": 1}
    assert data["unlabelled"] == 1
    assert data["labels"] == [
        {"label": "mel", "melanoma": True, "rows": 5},
        {"label": "nv", "melanoma": False, "rows": 5},
    ]
    assert set(data["subgroups"]["age"]) == {"30-49", "50-69", "70 and above"}
    assert data["subgroups"]["sex"]["unknown"]["pictures"] == 4
    assert "melanoma is 'mel' (5)" in shown and "1 rows without a label" in shown
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 2 and "src=" not in page


def test_answers_of_an_earlier_run_give_the_same_figures(table: Path, toy_bundle: Path, tmp_path: Path) -> None:
    options = ("--where", "split=test", "--bundle", toy_bundle)
    run(table, *options, "--json", tmp_path / "fresh.json")
    done = CliRunner().invoke(app, ["diagnose", str(tmp_path), "--format", "csv", "--bundle", str(toy_bundle)])
    (tmp_path / "answers.csv").write_text(done.stdout)
    run(table, *options, "--answers", tmp_path / "answers.csv", "--json", tmp_path / "old.json")
    assert (tmp_path / "old.json").read_text() == (tmp_path / "fresh.json").read_text()
    other = ("--bundle", REPOSITORY / "exported/mobile", "--answers", tmp_path / "answers.csv")
    assert "has answers of bundle" in run(table, "--where", "split=test", *other, code=2)
    lines = (tmp_path / "answers.csv").read_text().splitlines()
    (tmp_path / "fewer.csv").write_text("\n".join(line for line in lines if "P3.png" not in line))
    assert "has no answers" in run(table, *options, "--answers", tmp_path / "fewer.csv", code=2)


def test_what_a_table_cannot_mean_is_said(table: Path, tmp_path: Path) -> None:
    def wrong(text: str, match: str, **options: object) -> None:
        path = tmp_path / "wrong.csv"
        path.write_text(text)
        with pytest.raises(InputError, match=match):
            read_labels(path, **options)  # type: ignore[arg-type]

    wrong("image,melanoma\nP0,1\nP0,0\n", "stands twice")
    wrong("image,melanoma\nP99,1\n", "no picture")
    wrong("image,melanoma\n../x,1\n", "no picture")
    wrong("image,dx\nP0,malignant\n", "neither melanoma nor")
    wrong("picture_name,dx\nP0,mel\n", "no column image or")
    wrong("image,dx\nP0,\n", "No labelled picture")
    wrong("image,dx\nP0,mel\n", "no column split", where={"split": "test"})
    wrong("image,dx\nP0,mel\n", "no column patient", columns=Columns(group="patient"))
    named = read_labels(table, melanoma=["NV"], where={"split": "test"})
    assert named.values["nv", True] == 5


def test_a_patient_counts_before_a_lesion(tmp_path: Path, nevus_file: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"path,melanoma,lesion_id,patient_id\n{nevus_file},true,L1,P1\n")
    (picture,) = read_labels(path).pictures
    assert (picture.group, picture.melanoma) == ("P1", True)
    assert [age_band(text) for text in ("29.9", "30", "69", "70", "", "old", "-1")] == [
        *("below 30", "30-49", "50-69", "70 and above"),
        *("unknown", "unknown", "unknown"),
    ]


def test_every_table_has_its_heads_columns() -> None:
    for _, head, rows in tables(evaluate(drawn_cases(), POINTS, "balanced", resamples=20)):
        assert rows and {len(row) for row in rows} == {len(head)}


def test_the_data_sets_own_table_gives_the_figures_that_the_trainer_stored(ham10000: Path, tmp_path: Path) -> None:
    bundle = load_bundle(REPOSITORY / "exported/mobile")
    stored = [
        prediction
        for prediction in read_predictions(REPOSITORY / "trainer/results/mobile/val.parquet")
        if prediction.source == "ham10000"
    ]
    chosen = [p for p in stored if p.dx == "mel"][:40] + [p for p in stored if p.dx != "mel"][:60]
    wanted = {prediction.image_id for prediction in chosen}
    with (ham10000 / "metadata.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["image_id"] in wanted]
    path = tmp_path / "labels.csv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    where = ("--pictures", ham10000 / "images", "--bundle", bundle.path, "--threads", "1")
    run(path, *where, "--json", tmp_path / "all.json")
    data = json.loads((tmp_path / "all.json").read_text())
    manifest = bundle.manifest
    theirs = summarise(
        chosen, manifest.labels, manifest.melanoma_label, manifest.operating_points, manifest.default_operating_point
    )
    assert (data["pictures"], data["melanomas"]) == (100, 40)
    assert data["groups"] == len({row["lesion_id"] for row in rows})
    assert data["answered"] == theirs.answered
    for name, figure in theirs.melanoma.items():
        assert data["melanoma"][name]["value"] == pytest.approx(figure.value, abs=2e-3), name
