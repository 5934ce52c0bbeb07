"""`edge-infer diagnose`: formats, exit codes, inputs, saved files."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edge_infer.cli.app import app
from edge_infer.cli.guard import EXIT_BROKEN, EXIT_IMAGE, EXIT_OK, EXIT_USAGE
from edge_infer.diagnoser import Diagnoser
from edge_infer.engines import loading
from edge_infer.steps.image import DEFAULT_MAX_PIXELS
from trainer.data.drawn import draw_picture

runner = CliRunner()


@pytest.fixture
def folder(tmp_path: Path, nevus_file: Path) -> Path:
    """Four good pictures in two levels, and one file that is no picture."""
    for name in ("a.png", "b.png", "deeper/a.png", "deeper/still/c.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(nevus_file, path)
    (tmp_path / "photos" / "notes.txt").write_text("not a picture")
    return tmp_path / "photos"


def diagnose(toy_bundle: Path, *arguments: str | Path, stdin: bytes | None = None) -> tuple[int, str, str]:
    result = runner.invoke(app, ["diagnose", "--bundle", str(toy_bundle), *map(str, arguments)], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_json_is_what_the_api_returns(toy_bundle: Path, nevus_file: Path) -> None:
    code, out, _ = diagnose(toy_bundle, nevus_file, "--format", "json")
    assert code == EXIT_OK
    (record,) = json.loads(out)
    with Diagnoser.load(toy_bundle) as diagnoser:
        expected = diagnoser.diagnose(nevus_file).to_dict()
    assert expected["status"] == "ok"
    assert set(record) == {*expected, "saved"}
    for key in set(expected) - {"timings_ms"}:
        assert record[key] == expected[key], key
    assert record["saved"] == {"overlay": None, "mask": None, "roi": None}


def test_ndjson_is_one_object_a_line_in_the_given_order(toy_bundle: Path, folder: Path) -> None:
    code, out, _ = diagnose(toy_bundle, folder, "--format", "ndjson")
    assert code == EXIT_OK
    sources = [json.loads(line)["source"] for line in out.splitlines()]
    assert sources == [str(folder / name) for name in ("a.png", "b.png", "deeper/a.png", "deeper/still/c.png")]


def test_csv_and_json_agree(toy_bundle: Path, folder: Path) -> None:
    (folder / "bad.jpg").write_bytes(b"nothing")
    _, text, _ = diagnose(toy_bundle, folder, "--format", "csv")
    _, other, _ = diagnose(toy_bundle, folder, "--format", "json")
    rows, records = list(csv.DictReader(io.StringIO(text))), json.loads(other)
    assert len(rows) == len(records) == 5
    for row, record in zip(rows, records, strict=True):
        assert row["source"] == record["source"]
        assert row["status"] == record["status"]
        assert row["error"] == (record["error"] or {"code": ""})["code"]
        assert row["bundle_sha256"] == record["bundle_sha256"]
        if record["status"] == "ok":
            assert float(row["melanoma_probability"]) == record["melanoma_probability"]
            assert float(row["probability_nv"]) == record["probabilities"]["nv"]
            assert [int(row[f"roi_{edge}"]) for edge in ("x0", "y0", "x1", "y1")] == record["roi_box"]
        else:
            assert row["melanoma_probability"] == ""


def test_csv_columns_are_stable(toy_bundle: Path, nevus_file: Path) -> None:
    _, out, _ = diagnose(toy_bundle, nevus_file, "--format", "csv")
    assert out.splitlines()[0] == (
        "source,status,reason,message,error,melanoma_probability,label,threshold,operating_point,prior,band_low,band_high,"
        "probability_akiec,probability_bcc,probability_bkl,probability_df,probability_mel,probability_nv,probability_vasc,"
        "image_height,image_width,lesion_x0,lesion_y0,lesion_x1,lesion_y1,roi_x0,roi_y0,roi_x1,roi_y1,"
        "lesion_area_fraction,lesion_confidence,luminance,contrast,sharpness,dermoscopy,familiarity,total_ms,provider,variant,bundle,bundle_sha256,site_sha256,warnings,"
        "overlay_file,mask_file,roi_file"
    )


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        ("irregular-border.jpg", "suspicious (threshold 40.0 %)"),
        ("nevus-like.jpg", "not suspicious (threshold 40.0 %)"),
    ],
)
def test_card_says_what_a_reader_needs(toy_bundle: Path, example_folder: Path, picture: str, words: str) -> None:
    code, out, err = diagnose(toy_bundle, example_folder / picture)
    assert code == EXIT_OK
    with Diagnoser.load(toy_bundle) as diagnoser:
        expected = diagnoser.diagnose(example_folder / picture)
    assert expected.melanoma_probability is not None and expected.lesion_area_fraction is not None
    flat = " ".join(out.split())
    assert f"melanoma {100 * expected.melanoma_probability:.1f} % - {words}" in flat
    assert "balanced: suspicious from 40.0 % upwards. Weighs missed melanomas and false alarms alike." in flat
    assert f"covers {100 * expected.lesion_area_fraction:.1f} % of the picture" in flat
    assert "Not a medical device" in flat
    assert " ms on CPUExecutionProvider with bundle toy" in flat
    assert err == ""


def test_operating_point_changes_the_decision_and_not_the_probability(toy_bundle: Path, tmp_path: Path) -> None:
    for seed in range(12):
        picture = draw_picture(np.random.default_rng(seed), 225, 300, "nv", hairs=0, vignette=False)
        cv2.imwrite(str(tmp_path / f"{seed}.png"), picture.image[..., ::-1])
    answers = {}
    for point in ("balanced", "sensitive"):
        _, out, _ = diagnose(toy_bundle, tmp_path, "--format", "json", "--operating-point", point)
        answers[point] = [record for record in json.loads(out) if record["status"] == "ok"]
        assert {record["operating_point"] for record in answers[point]} == {point}
    probabilities = [[record["melanoma_probability"] for record in answers[point]] for point in answers]
    assert probabilities[0] == probabilities[1]
    suspicious = {point: sum(r["label"] == "melanoma" for r in records) for point, records in answers.items()}
    assert suspicious["sensitive"] > suspicious["balanced"]


def test_indeterminate_is_an_answer(toy_bundle: Path, example_folder: Path) -> None:
    code, out, _ = diagnose(toy_bundle, example_folder / "blurred.jpg")
    assert code == EXIT_OK
    assert "indeterminate    picture blurred - no probability is given" in out
    assert "%" not in out.splitlines()[1]


def test_one_bad_picture_of_twenty_leaves_nineteen_answers(toy_bundle: Path, nevus_file: Path, tmp_path: Path) -> None:
    for i in range(20):
        shutil.copy(nevus_file, tmp_path / f"{i:02}.png")
    (tmp_path / "07.png").write_bytes(nevus_file.read_bytes()[:2000])
    code, out, err = diagnose(toy_bundle, tmp_path, "--format", "ndjson", "--batch-size", "4")
    records = [json.loads(line) for line in out.splitlines()]
    assert code == EXIT_IMAGE
    assert [record["status"] for record in records] == ["ok"] * 7 + ["error"] + ["ok"] * 12
    assert records[7]["error"]["code"] == "image-decode"
    assert records[7]["source"] == str(tmp_path / "07.png")
    assert "1 failed" in err


def test_standard_input(toy_bundle: Path, nevus_file: Path, tmp_path: Path) -> None:
    data = nevus_file.read_bytes()
    code, out, _ = diagnose(toy_bundle, "-", "--format", "json", "--save-overlay", tmp_path / "o", stdin=data)
    _, direct, _ = diagnose(toy_bundle, nevus_file, "--format", "json")
    (record,), (expected,) = json.loads(out), json.loads(direct)
    assert code == EXIT_OK
    assert record["source"] == "-"
    assert record["melanoma_probability"] == expected["melanoma_probability"]
    assert (tmp_path / "o" / "stdin.png").is_file()
    code, out, _ = diagnose(toy_bundle, "-", "--format", "json", stdin=b"")
    assert code == EXIT_IMAGE
    assert json.loads(out)[0]["error"]["code"] == "image-decode"


def test_patterns_are_expanded(toy_bundle: Path, folder: Path) -> None:
    code, out, _ = diagnose(toy_bundle, folder / "**" / "a.png", "--format", "ndjson")
    assert code == EXIT_OK
    sources = {json.loads(line)["source"] for line in out.splitlines()}
    assert sources == {str(folder / "a.png"), str(folder / "deeper/a.png")}


def test_saved_files_keep_relative_paths(toy_bundle: Path, folder: Path, tmp_path: Path, nevus_file: Path) -> None:
    code, out, _ = diagnose(
        toy_bundle, folder, "--save-overlay", tmp_path / "o", "--save-mask", tmp_path / "m", "--save-roi",
        tmp_path / "r", "--format", "json",
    )  # fmt: skip
    assert code == EXIT_OK
    for kind in "omr":
        written = {str(path.relative_to(tmp_path / kind)) for path in (tmp_path / kind).rglob("*") if path.is_file()}
        assert written == {"a.png", "b.png", "deeper/a.png", "deeper/still/c.png"}
    record = json.loads(out)[2]
    assert record["saved"] == {
        "overlay": str(tmp_path / "o/deeper/a.png"),
        "mask": str(tmp_path / "m/deeper/a.png"),
        "roi": str(tmp_path / "r/deeper/a.png"),
    }
    with Diagnoser.load(toy_bundle) as diagnoser:
        expected = diagnoser.diagnose(nevus_file)
    mask = cv2.imread(record["saved"]["mask"], cv2.IMREAD_UNCHANGED)
    roi = cv2.imread(record["saved"]["roi"])
    assert expected.mask is not None and expected.roi is not None and mask is not None and roi is not None
    assert np.array_equal(mask, expected.mask * 255)
    assert np.array_equal(roi[..., ::-1], expected.roi)


def test_no_output_file_is_written_twice(toy_bundle: Path, tmp_path: Path, nevus_file: Path) -> None:
    inputs = [tmp_path / name for name in ("x/a.png", "y/a.png", "y/A.bmp")]
    for path in inputs:
        path.parent.mkdir(exist_ok=True)
        shutil.copy(nevus_file, path)
    _, out, _ = diagnose(toy_bundle, *inputs, "--save-mask", tmp_path / "m", "--format", "json")
    saved = [record["saved"]["mask"] for record in json.loads(out)]
    assert saved == [str(tmp_path / "m" / name) for name in ("a.png", "a-2.png", "A-3.png")]
    assert len(list((tmp_path / "m").iterdir())) == 3


def test_a_given_picture_is_never_written_over(toy_bundle: Path, folder: Path) -> None:
    before = (folder / "deeper" / "a.png").read_bytes()
    for arguments in (["--save-overlay", folder], ["--save-report", folder / "a.png"]):
        code, out, err = diagnose(toy_bundle, folder / "**" / "*.png", *arguments)
        assert code == EXIT_USAGE
        assert out == "" and "error [output]" in err and "is one of the given pictures" in err
    assert (folder / "deeper" / "a.png").read_bytes() == before


def test_two_kinds_of_results_need_two_places(toy_bundle: Path, folder: Path, tmp_path: Path) -> None:
    for mask in (tmp_path / "o", tmp_path / "o" / "deeper"):
        code, _, err = diagnose(toy_bundle, folder, "--save-overlay", tmp_path / "o", "--save-mask", mask)
        assert code == EXIT_USAGE
        assert "Two results would be written to" in err
    assert not (tmp_path / "o").exists()


def test_results_of_one_run_are_not_the_pictures_of_the_next(toy_bundle: Path, folder: Path) -> None:
    for _ in range(2):
        code, out, _ = diagnose(toy_bundle, folder, "--save-overlay", folder / "overlays", "--format", "ndjson")
        assert code == EXIT_OK
        assert len(out.splitlines()) == 4
        _, out, _ = diagnose(
            toy_bundle, folder / "**" / "*", "--save-overlay", folder / "overlays", "--format", "ndjson"
        )
        assert len(out.splitlines()) == 4
    assert len(list((folder / "overlays").rglob("*.png"))) == 4


def test_missing_files_empty_folders_and_patterns_are_results(toy_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, out, err = diagnose(
        toy_bundle, tmp_path / "gone.jpg", tmp_path / "empty", tmp_path / "*.tiff", "--format", "json"
    )
    records = json.loads(out)
    assert code == EXIT_IMAGE
    assert [record["error"]["code"] for record in records] == ["image-not-found"] * 3
    assert "holds no pictures" in records[1]["error"]["message"]
    assert "No picture matches" in records[2]["error"]["message"]
    assert "Traceback" not in err


def test_pixel_limit(toy_bundle: Path, nevus_file: Path) -> None:
    code, out, _ = diagnose(toy_bundle, nevus_file, "--format", "json", "--max-pixels", "1000")
    assert code == EXIT_IMAGE
    assert json.loads(out)[0]["error"]["code"] == "image-too-large"
    assert DEFAULT_MAX_PIXELS == 100_000_000, "the help text of --max-pixels says so"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Missing argument"),
        (["x.jpg", "--format", "xml"], "xml"),
        (["x.jpg", "--batch-size", "0"], "batch-size"),
        (["x.jpg", "--operating-point", "bold"], "it has: balanced, sensitive"),
        (["x.jpg", "--colour", "red"], "No such option"),
    ],
)
def test_wrong_usage(toy_bundle: Path, arguments: list[str], says: str) -> None:
    code, out, err = diagnose(toy_bundle, *arguments)
    assert code == EXIT_USAGE
    assert out == ""
    assert says in err


def test_unwritable_output_is_wrong_usage(toy_bundle: Path, nevus_file: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, out, err = diagnose(toy_bundle, nevus_file, "--save-mask", tmp_path / "file")
    assert code == EXIT_USAGE
    assert out == ""
    assert "error [output]" in err and "fix: " in err


def test_broken_bundle(nevus_file: Path, toy_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(toy_bundle, tmp_path / "toy")
    with (tmp_path / "toy" / "classifier.onnx").open("ab") as stream:
        stream.write(b"!")
    code, out, err = diagnose(tmp_path / "toy", nevus_file, "--format", "json")
    assert code == EXIT_BROKEN
    assert out == ""
    assert err.startswith("error [bundle-tampered]: ")
    assert "\nfix: " in err
    code, _, err = diagnose(tmp_path / "nowhere", nevus_file)
    assert code == EXIT_BROKEN
    assert "error [bundle-not-found]" in err


def test_provider_that_is_not_there(toy_bundle: Path, nevus_file: Path) -> None:
    code, out, err = diagnose(toy_bundle, nevus_file, "--provider", "qnn")
    assert code == EXIT_BROKEN
    assert out == ""
    assert "error [provider-unavailable]" in err and "cpu" in err


def test_provider_and_threads_are_passed_on(
    toy_bundle: Path, nevus_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, object] = {}
    start = loading.start_loading

    def spy(*args: Any, **kwargs: Any) -> loading.Loading:
        seen.update(kwargs)
        return start(*args, **kwargs)

    monkeypatch.setattr(loading, "start_loading", spy)
    code, out, _ = diagnose(toy_bundle, nevus_file, "--provider", "cpu", "--threads", "1", "--format", "json")
    assert code == EXIT_OK
    assert json.loads(out)[0]["provider"] == "CPUExecutionProvider"
    assert seen["providers"] == ["cpu"]
    assert seen["threads"] == 1


def test_files_that_are_no_pictures_are_counted_on_stderr(toy_bundle: Path, folder: Path) -> None:
    _, out, err = diagnose(toy_bundle, folder, "--format", "json")
    assert len(json.loads(out)) == 4
    assert "files without a picture's suffix were left out: 1" in err


def test_help_puts_options_into_groups() -> None:
    text = runner.invoke(app, ["diagnose", "--help"]).stdout
    groups = {part.partition(":")[0]: part for part in text.split("\n\n")}
    assert {"Arguments", "Options", "Saved files", "The networks", "The decision"} <= set(groups)
    options = {"overlay", "mask", "roi", "report"}
    assert all(f"--save-{name} " in groups["Saved files"] for name in options)
    assert "--operating-point" in groups["The decision"] and "--abstain" in groups["The decision"]
    assert "--format" in groups["Options"] and "--save" not in groups["Options"]
    assert "--bundle" in groups["The networks"] and "--threads" in groups["The networks"]
