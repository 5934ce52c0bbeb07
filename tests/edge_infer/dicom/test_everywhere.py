"""A DICOM file is a picture wherever pictures are taken: in archives, in watched folders, over HTTP."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient
from typer.testing import CliRunner

from edge_infer import Diagnoser
from edge_infer.batch.plan import read_list, read_plan
from edge_infer.batch.work import answers, open_diagnoser
from edge_infer.cli.app import app
from edge_infer.dicom.intake import as_picture
from edge_infer.dicom.reading import DicomPicture
from edge_infer.serve.application import create_application
from edge_infer.serve.settings import Settings
from tests.support.dicom_files import encoded, photograph, write


@pytest.fixture
def study(nevus: NDArray[np.uint8], tmp_path: Path) -> Path:
    """A folder with the nevus, of 0.02 mm a pixel, a result of ours, and a file that is none."""
    folder = tmp_path / "study"
    folder.mkdir()
    write(photograph(nevus, PixelSpacing=[0.02, 0.02]), folder / "nevus.dcm")
    write(photograph(nevus), folder / "nevus.seg.dcm")
    (folder / "torn.dcm").write_bytes(b"DICM")
    return folder


@pytest.fixture
def wanted(nevus: NDArray[np.uint8], toy_bundle: Path) -> float | None:
    """What the picture itself is answered with."""
    with Diagnoser.load(toy_bundle, threads=1) as diagnoser:
        return diagnoser.diagnose(nevus).melanoma_probability


def by_name(rows: list[Any]) -> dict[str, Any]:
    return {Path(row["source"].replace("::", "/")).name: row for row in rows}


def test_a_file_is_itself_or_a_dicom_picture(study: Path, nevus_file: Path) -> None:
    assert as_picture(nevus_file) == nevus_file and as_picture(nevus_file.read_bytes()) == nevus_file.read_bytes()
    assert as_picture(study / "nevus.dcm", 1) == DicomPicture(study / "nevus.dcm", 1)
    assert isinstance(as_picture((study / "nevus.dcm").read_bytes()), DicomPicture)


@pytest.mark.parametrize("packed", [False, True])
def test_archives(packed: bool, study: Path, wanted: float | None, toy_bundle: Path, tmp_path: Path) -> None:
    given = study
    if packed:
        given = tmp_path / "study.tar"
        with tarfile.open(given, "w") as archive:
            archive.add(study, "study")
    command = ["batch", "plan", str(given), "-o", str(tmp_path / "run"), "--bundle", str(toy_bundle)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    plan = read_plan(tmp_path / "run")
    with open_diagnoser(plan) as diagnoser:
        found = {
            Path((answer.source or "").replace("::", "/")).name: answer
            for answer in answers(read_list(tmp_path / "run", plan, 0), plan, diagnoser)
        }
    assert set(found) == {"nevus.dcm", "torn.dcm"}
    assert found["nevus.dcm"].melanoma_probability == wanted
    error = found["torn.dcm"].error  # without a name its bytes are no picture of any kind
    assert error is not None and error.code == ("image-decode" if packed else "dicom-broken")


def test_watched_folders(study: Path, wanted: float | None, toy_bundle: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.ndjson"
    words = ["watch", str(study), "-o", str(output), "--bundle", str(toy_bundle), "--once", "--settle", "0"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    rows = by_name([json.loads(line) for line in output.read_text().splitlines()])
    assert set(rows) == {"nevus.dcm", "torn.dcm"}
    assert rows["nevus.dcm"]["melanoma_probability"] == wanted and rows["torn.dcm"]["status"] == "error"


def test_over_http(study: Path, wanted: float | None, toy_bundle: Path) -> None:
    with (
        Diagnoser.load(toy_bundle, threads=1) as diagnoser,
        TestClient(create_application(diagnoser, Settings())) as client,
    ):
        headers = {"content-type": "application/dicom"}
        answer = client.post("/v1/diagnose", content=(study / "nevus.dcm").read_bytes(), headers=headers)
        assert answer.status_code == 200 and answer.json()["melanoma_probability"] == wanted
        torn = client.post("/v1/diagnose", content=(study / "nevus.dcm").read_bytes()[:600], headers=headers)
        assert torn.status_code == 422 and torn.json()["error"]["code"].startswith("dicom")


def test_the_size_of_a_pixel_comes_with_the_file(study: Path, toy_bundle: Path) -> None:
    def measured(*more: str) -> Any:
        words = ["diagnose", str(study / "nevus.dcm"), "--bundle", str(toy_bundle), "--measurements", *more]
        done = CliRunner().invoke(app, [*words, "--format", "json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)[0]["measurements"]

    stated, given = measured(), measured("--mm-per-pixel", "0.05")
    assert stated["mm_per_pixel"] == 0.02 and given["mm_per_pixel"] == 0.05, "what the caller says comes first"
    values = stated["values"]
    assert values["diameter_mm"]["value"] == pytest.approx(0.02 * values["diameter_px"]["value"])


@pytest.mark.parametrize(
    ("attributes", "scale"),
    [
        ({}, None),
        ({"PixelSpacing": [0.03, 0.02]}, 0.02),
        ({"PixelSpacing": [0.02, 0.04]}, 0.02),
        ({"ImagerPixelSpacing": [0.02, 0.02]}, None),
        ({"NominalScannedPixelSpacing": [0.02, 0.02]}, None),
    ],
)
def test_only_pixel_spacing_is_a_size_on_the_skin(
    attributes: dict[str, list[float]], scale: float | None, nevus: NDArray[np.uint8]
) -> None:
    assert DicomPicture(encoded(photograph(nevus, **attributes))).open_picture().mm_per_pixel == scale
