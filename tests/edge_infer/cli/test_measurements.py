"""`diagnose --measurements` and `--explain`: in every format, off by default, and without a word in the answer."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from edge_infer import Diagnoser, Diagnosis
from edge_infer.cli.app import app
from edge_infer.errors import InputError
from edge_infer.geometry import Box
from edge_infer.output import abcd
from edge_infer.output.picture import draw_class_map, draw_outline, draw_overlay
from edge_infer.output.wording import NOT_EXPLAINED


def diagnose(bundle: Path, *words: object) -> str:
    done = CliRunner().invoke(app, ["diagnose", "--bundle", str(bundle), *map(str, words)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_json_has_measurements_where_they_were_asked_for(toy_bundle: Path, nevus_file: Path) -> None:
    (plain,) = json.loads(diagnose(toy_bundle, nevus_file, "--format", "json"))
    words = ("--format", "json", "--measurements", "--mm-per-pixel", "0.02", "--explain")
    (measured,) = json.loads(diagnose(toy_bundle, nevus_file, *words))
    assert set(measured) - set(plain) == {"measurements", "class_map"}
    assert all(measured[key] == plain[key] for key in plain if key != "timings_ms"), "no answer depends on it"
    values = measured["measurements"]["values"]
    assert values["diameter_mm"]["value"] == pytest.approx(0.02 * values["diameter_px"]["value"])
    assert values["compactness"]["low"] <= values["compactness"]["value"] <= values["compactness"]["high"]
    assert values["asymmetry_major"]["unit"] == "share"
    assert measured["measurements"]["mm_per_pixel"] == 0.02
    assert 0 < sum(measured["measurements"]["colours"].values()) <= 1


def test_csv_has_their_columns_at_the_end(toy_bundle: Path, nevus_file: Path, example_folder: Path) -> None:
    plain = diagnose(toy_bundle, nevus_file, "--format", "csv").splitlines()[0]
    text = diagnose(toy_bundle, nevus_file, example_folder / "no-lesion.jpg", "--format", "csv", "--measurements")
    header = text.splitlines()[0]
    assert header == f"{plain},{','.join(abcd.columns())}"
    first, second = csv.DictReader(io.StringIO(text))
    assert float(first["compactness_low"]) <= float(first["compactness"]) <= float(first["compactness_high"])
    assert first["colour_light_brown"] and not first["diameter_mm"]
    assert second["status"] == "indeterminate" and not second["compactness"], "a refused picture is not measured"


def test_the_card_says_them_in_words(toy_bundle: Path, nevus_file: Path) -> None:
    card = diagnose(toy_bundle, nevus_file, "--measurements", "--explain")
    words = " ".join(card.split())
    assert "asymmetry" in card and "a circle has 1" in words and "of 6: " in words and "no scale was given" in words
    assert "Measured, not judged." in words and NOT_EXPLAINED in words
    assert "asymmetry" not in diagnose(toy_bundle, nevus_file)


def test_the_report_has_a_table_and_the_map(toy_bundle: Path, nevus_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    diagnose(toy_bundle, nevus_file, "--measurements", "--explain", "--save-report", file)
    page = file.read_text(encoding="utf-8")
    assert page.count("<img ") == 2 and "<th>asymmetry</th>" in page
    assert NOT_EXPLAINED in page.replace("&#x27;", "'")


def test_a_scale_without_measurements_is_wrong_usage(toy_bundle: Path, nevus_file: Path) -> None:
    for words in (("--mm-per-pixel", "0.02"), ("--measurements", "--mm-per-pixel", "0")):
        done = CliRunner().invoke(app, ["diagnose", "--bundle", str(toy_bundle), str(nevus_file), *words])
        assert done.exit_code == 2, done.output
    with pytest.raises(InputError, match="nothing is measured"):
        Diagnoser.load(toy_bundle, mm_per_pixel=0.02)


def test_the_map_lies_where_the_classifier_looked() -> None:
    picture = np.full((120, 200, 3), 128, np.uint8)
    places = np.array([[4, -2], [4, -2]], np.float32)
    # The box reaches out of the picture at the top and on the right.
    answer = Diagnosis("ok", image_size=(120, 200), roi_box=Box(80, -40, 240, 120), class_map=places)
    drawn = draw_class_map(picture, answer).astype(int)
    orange, blue, outside = drawn[60, 100], drawn[60, 190], drawn[60, 40]
    assert orange[0] > orange[2] + 60, "raised"
    assert blue[2] > blue[0] + 20, "lowered"
    assert (outside == 128).all(), "the classifier saw nothing there"
    weaker = draw_class_map(picture, replace(answer, class_map=places * 3)).astype(int)
    assert (weaker == drawn).all(), "full colour is the largest amount"


def test_the_outline_in_a_map_has_none_of_the_maps_colours() -> None:
    picture, mask = np.full((120, 200, 3), 128, np.uint8), np.zeros((120, 200), np.uint8)
    mask[30:90, 20:60] = 1
    answer = Diagnosis("ok", image_size=(120, 200), mask=mask, label="not melanoma")
    assert (draw_class_map(picture, answer)[60, 20] == 255).all()
    assert (draw_outline(picture, answer)[60, 20] != 255).any(), "an overlay's says what was decided"


def test_an_overlay_shows_the_picture_and_the_map(nevus: NDArray[np.uint8], toy_bundle: Path) -> None:
    with Diagnoser.load(toy_bundle, explain=True) as diagnoser:
        answer = diagnoser.diagnose(nevus)
    plain = draw_overlay(nevus, replace(answer, class_map=None))
    both = draw_overlay(nevus, answer)
    assert both.shape[1] == 2 * plain.shape[1]
