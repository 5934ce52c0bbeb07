"""With a real archive: Orthanc on 127.0.0.1, DICOMweb, and the rule of `docs/dicom.md` for arriving pictures.

`.ci/run` installs both and sets EDGE_INFER_REQUIRE_ARCHIVE; without them these tests are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from edge_infer.cli.app import app
from tests.docs.conftest import REPOSITORY, blocks
from tests.support.dicom_files import PATIENT, encoded, photograph, write
from tests.support.required import ARCHIVE, unproven

PROGRAM = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")
PLUGIN = next((p for p in Path("/usr").glob("*/orthanc/**/libOrthancDicomWeb.so*")), None)
PAGE = REPOSITORY / "docs/dicom.md"
PATIENCE = 120.0


class Archive(NamedTuple):
    """A running archive: its address, and what it said."""

    address: str
    log: Path

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.address + path, timeout=30) as answer:
            return json.load(answer)

    def store(self, data: bytes) -> None:
        request = urllib.request.Request(self.address + "/instances", data, {"Content-Type": "application/dicom"})
        urllib.request.urlopen(request, timeout=30).close()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, toy_bundle: Path) -> Iterator[Archive]:
    """Orthanc with the rule of the page, its files in a temporary folder."""
    for missing, reason in (
        (PROGRAM is None, "no Orthanc (apt install orthanc)"),
        (PLUGIN is None, "no DICOMweb for it (apt install orthanc-dicomweb)"),
        (find_spec("dicomweb_client") is None, "no dicomweb-client"),
        (shutil.which("curl") is None, "no curl"),
    ):
        if missing:
            unproven("orthanc", reason, ARCHIVE)
    folder = tmp_path_factory.mktemp("orthanc")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    programs = folder / "bin"
    programs.mkdir()
    script = blocks(PAGE, "bash")[0].text.replace("http://127.0.0.1:8042", address)
    command = f'#!/bin/sh\nexec "{sys.executable}" -m edge_infer.cli "$@" --bundle "{toy_bundle}"\n'
    for name, text in (("diagnose-arriving", script), ("edge-infer", command)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (folder / "rule.lua").write_text(blocks(PAGE, "lua")[0].text)
    settings = {
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(PLUGIN)],
        "LuaScripts": [str(folder / "rule.lua")],
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
    log = folder / "log"
    with log.open("wb") as stream:
        running = subprocess.Popen(
            [str(PROGRAM), str(folder / "orthanc.json")], stdout=stream, stderr=stream, env=environment, cwd=folder
        )
        try:
            found = Archive(address, log)
            _wait(lambda: running.poll() is not None or _answers(found), log)
            assert running.poll() is None, log.read_text()
            yield found
        finally:
            running.terminate()
            running.wait(60)


def _answers(archive: Archive) -> bool:
    try:
        return bool(archive.get("/system"))
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _wait(condition: Any, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, log.read_text(errors="replace")[-3000:]
        time.sleep(0.3)


def test_stored_queried_retrieved_diagnosed_and_stored_back(
    archive: Archive, nevus: NDArray[np.uint8], toy_bundle: Path, tmp_path: Path
) -> None:
    from dicomweb_client import DICOMwebClient

    client = DICOMwebClient(f"{archive.address}/dicom-web")
    # An external camera's, so that the rule for dermoscopy leaves it alone.
    sent = photograph(nevus, "1.2.840.10008.5.1.4.1.1.77.1.4")
    client.store_instances([pydicom.dcmread(write(sent, tmp_path / "sent.dcm"))])
    (found,) = client.search_for_instances(search_filters={"PatientID": PATIENT["PatientID"], "Modality": "XC"})
    uids = [found[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018")]
    retrieved = client.retrieve_instance(*uids)
    assert retrieved.PixelData == sent.PixelData and retrieved.PatientName == sent.PatientName
    write(retrieved, tmp_path / "study/picture.dcm")
    arguments = [
        "diagnose",
        str(tmp_path / "study"),
        "--save-dicom",
        str(tmp_path / "out"),
        "--bundle",
        str(toy_bundle),
    ]
    done = CliRunner().invoke(app, [*arguments, "--format", "csv"])
    assert done.exit_code == 0, done.output
    results = [pydicom.dcmread(path) for path in sorted((tmp_path / "out").iterdir())]
    assert len(results) == 3
    client.store_instances(results)
    for result in results:
        back = client.retrieve_instance(result.StudyInstanceUID, result.SeriesInstanceUID, result.SOPInstanceUID)
        assert back.StudyInstanceUID == sent.StudyInstanceUID
        assert back == result
    study = client.search_for_series(study_instance_uid=sent.StudyInstanceUID)
    assert sorted(series["00080060"]["Value"][0] for series in study) == ["OT", "SEG", "SR", "XC"]


def test_the_rule_diagnoses_what_arrives_once(archive: Archive, nevus: NDArray[np.uint8]) -> None:
    sent = photograph(nevus, PatientID="ARRIVING")
    archive.store(encoded(sent))

    def modalities() -> list[str]:
        series = [archive.get(f"/series/{name}") for name in archive.get("/series")]
        mine = [
            s
            for s in series
            if archive.get(f"/studies/{s['ParentStudy']}")["PatientMainDicomTags"]["PatientID"] == "ARRIVING"
        ]
        return sorted(s["MainDicomTags"]["Modality"] for s in mine)

    _wait(lambda: modalities() == ["DMS", "OT", "SEG", "SR"], archive.log)
    time.sleep(3)
    assert modalities() == ["DMS", "OT", "SEG", "SR"], "results were diagnosed again"
