"""The other commands, the console script's behaviour as a process, and what it imports."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_infer import __version__
from edge_infer.bundle.parse import parse_manifest
from edge_infer.cli.app import app
from edge_infer.cli.guard import EXIT_BROKEN, EXIT_IMAGE, EXIT_INTERRUPTED, EXIT_OK, EXIT_PIPE, EXIT_USAGE
from tests.conftest import REPOSITORY
from tests.support.toy_bundle import write_manifest, write_toy_bundle

runner = CliRunner()
COMMANDS = ("diagnose", "bundles", "inspect", "verify", "benchmark", "kiosk", "doctor")


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "edge_infer.cli", *map(str, arguments)]


@pytest.fixture
def own_bundle(toy_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the toy bundle that a test may damage."""
    return Path(shutil.copytree(toy_bundle, tmp_path / "toy"))


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["diagnose", "--help"], ["verify", "--help"]])
def test_version_and_help_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['edge-infer', *{arguments!r}]\n"
        "from edge_infer.cli.app import main\n"
        "try: main()\n"
        "finally: print(sorted({'cv2', 'numpy', 'onnxruntime', 'torch'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == EXIT_OK
    assert done.stderr.strip() == "[]"
    if arguments == ["--version"]:
        assert done.stdout == f"edge-infer {__version__}\n"


@pytest.mark.parametrize(("entry", "torn_down"), [("command", False), ("main", True)])
def test_a_process_of_its_own_ends_with_its_answer(
    toy_bundle: Path, nevus_file: Path, entry: str, torn_down: bool
) -> None:
    code = (
        f"import atexit, sys; from edge_infer.cli.app import {entry}\n"
        "atexit.register(print, 'torn down', file=sys.stderr)\n"
        f"{entry}()"
    )
    arguments = ["diagnose", str(nevus_file), "absent.jpg", "--bundle", str(toy_bundle), "--format", "ndjson"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == EXIT_IMAGE
    assert [json.loads(line)["status"] for line in done.stdout.splitlines()] == ["ok", "error"]
    assert "1 failed" in done.stderr
    assert ("torn down" in done.stderr) is torn_down


@pytest.mark.parametrize("name", COMMANDS)
def test_help_documents_the_exit_codes(name: str) -> None:
    result = runner.invoke(app, [name, "--help"])
    assert result.exit_code == EXIT_OK
    for line in ("0    every picture has an answer", "1    at least one", "2    wrong usage", "3    the bundle"):
        assert line in result.stdout


def test_root_help_names_every_command_and_says_what_it_is_not() -> None:
    result = runner.invoke(app, ["--help"])
    assert all(f"  {name} " in result.stdout for name in COMMANDS)
    assert "not a medical device" in " ".join(result.stdout.split())


def test_bundles_lists_good_and_broken_ones(own_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "bundle.json").write_text('{"schema_version": 99}')
    shutil.copytree(own_bundle, tmp_path / "mobile")
    monkeypatch.setenv("EDGE_INFER_BUNDLES", f"{tmp_path}{os.pathsep}{tmp_path / 'gone'}")
    result = runner.invoke(app, ["bundles"])
    assert result.exit_code == EXIT_OK
    assert f"toy\n  Toy bundle for tests: thresholds and colours, nothing learned.\n  version 1.2.3, 0.2 MB, from EDGE_INFER_BUNDLES\n  {own_bundle}" in result.stdout  # fmt: skip # noqa: E501
    assert "broken\n  BROKEN [bundle-schema]: bundle.json has schema version 99" in result.stdout
    assert "mobile (default)\n" in result.stdout and "calls itself 'toy'" in result.stdout
    assert f"'{tmp_path / 'gone'}', which is no folder" in result.stderr


def test_inspect_explains_everything_that_matters(toy_bundle: Path) -> None:
    result = runner.invoke(app, ["inspect", str(toy_bundle)])
    assert result.exit_code == EXIT_OK
    for part in (
        "toy 1.2.3: Toy bundle",
        "needs             ONNX Runtime 1.20 or newer",
        "toy-darkness, 2 parameters",
        "RGB uint8 NHWC, n x 96 x 128 x 3",
        "float32 (default): ONNX Runtime",
        "classifier.onnx, ",
        "melanoma  <- the probability that is decided on",
        "balanced (default): suspicious from a probability of 0.4000 upwards",
        "sensitivity  0.8000  (95 % CI 0.7000 to 0.9000)",
        "drawn pictures, test: 10 pictures of 9 lesions",
        "licence           Apache-2.0. Nothing was trained.",
        "max |Δ| of a probability 1e-06 (<= 0.0001)",
    ):
        assert part in result.stdout, part


def test_verify_passes_on_a_sound_bundle(toy_bundle: Path) -> None:
    result = runner.invoke(app, ["verify", str(toy_bundle)])
    assert result.exit_code == EXIT_OK
    assert result.stdout.endswith("verified\n")
    assert "FAILED" not in result.stdout
    for step in (
        "segmenter_input",
        "probability_map",
        "mask",
        "probabilities (stored ROI)",
        "probabilities (end to end)",
    ):
        assert f"  ok      {step}" in result.stdout


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_verify_finds_every_damaged_file(own_bundle: Path, damage: str) -> None:
    for name in ("segmenter.onnx", "golden.npz"):
        if damage == "missing":
            (own_bundle / name).unlink()
        else:
            data = bytearray((own_bundle / name).read_bytes())
            data[len(data) // 2] ^= 1
            (own_bundle / name).write_bytes(bytes(data))
    result = runner.invoke(app, ["verify", str(own_bundle)])
    assert result.exit_code == EXIT_BROKEN
    code = {"changed": "bundle-tampered", "missing": "bundle-file-missing"}[damage]
    assert result.stdout.count(f"[{code}]") == 2
    assert "  ok      classifier.onnx" in result.stdout
    assert f"error [{code}]" in result.stderr


def test_verify_finds_a_network_that_computes_something_else(own_bundle: Path, tmp_path: Path) -> None:
    """All hashes are right, but the stored examples came from other settings."""
    manifest = parse_manifest((own_bundle / "bundle.json").read_text(encoding="utf-8"))
    write_manifest(own_bundle, replace(manifest, roi=replace(manifest.roi, margin=0.4)))
    result = runner.invoke(app, ["verify", str(own_bundle)])
    assert result.exit_code == EXIT_BROKEN
    assert "  FAILED  probabilities (end to end)" in result.stdout
    assert "  ok      probabilities (stored ROI)" in result.stdout
    assert "error [bundle-mismatch]" in result.stderr


def test_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_toy_bundle(tmp_path / "mobile")
    monkeypatch.setenv("EDGE_INFER_BUNDLES", str(tmp_path))
    result = runner.invoke(app, ["doctor"])
    assert result.exit_code == EXIT_OK
    assert "engine       ONNX Runtime" in result.stdout
    assert f"bundle       mobile 1.2.3 in {tmp_path / 'mobile'}" in result.stdout
    assert "needs        ONNX Runtime 1.20 or newer" in result.stdout
    assert "works        on " in result.stdout
    assert "OpenVINO     " in result.stdout


def test_doctor_says_which_engine_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_toy_bundle(tmp_path / "mobile", min_onnxruntime="99.0")
    monkeypatch.setenv("EDGE_INFER_BUNDLES", str(tmp_path))
    result = runner.invoke(app, ["doctor"])
    assert result.exit_code == EXIT_BROKEN
    assert "needs        ONNX Runtime 99.0 or newer" in result.stdout and "works" not in result.stdout
    assert "error [engine-version]" in result.stderr and ">=99.0'" in result.stderr


def test_stdout_holds_data_alone_and_errors_have_no_traceback(toy_bundle: Path, nevus_file: Path) -> None:
    arguments = ("diagnose", nevus_file, "missing.jpg", "--bundle", toy_bundle, "--format", "ndjson")
    done = subprocess.run(command(*arguments), cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert [json.loads(line)["status"] for line in done.stdout.splitlines()] == ["ok", "error"]
    assert "note: 2 pictures" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_answers_come_though_standard_error_is_full(toy_bundle: Path, nevus_file: Path, tmp_path: Path) -> None:
    shutil.copy(nevus_file, tmp_path / "nevus.png")
    (tmp_path / "notes.txt").write_text("no picture")
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            command("diagnose", tmp_path, "absent.jpg", "--bundle", toy_bundle, "--format", "ndjson"),
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
            check=False,
        )
    assert [json.loads(line)["status"] for line in done.stdout.splitlines()] == ["ok", "error"]
    assert done.returncode == EXIT_IMAGE


def test_closed_pipe_is_quiet(toy_bundle: Path, nevus_file: Path, tmp_path: Path) -> None:
    for i in range(200):
        os.link(nevus_file, tmp_path / f"{i}.png")
    process = subprocess.Popen(
        command("diagnose", tmp_path, "--bundle", toy_bundle, "--format", "ndjson"),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline().startswith(b"{")
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(300) == EXIT_PIPE


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("format", ["card", "json", "ndjson", "csv"])
def test_a_full_disk_behind_stdout_is_told_and_leaves_no_report(
    toy_bundle: Path, nevus_file: Path, tmp_path: Path, format: str
) -> None:
    report = tmp_path / "report.html"
    arguments = ("diagnose", nevus_file, "--bundle", toy_bundle, "--format", format, "--save-report", report)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command(*arguments), cwd=REPOSITORY, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == EXIT_USAGE
    assert done.stderr.startswith("error [output]: Cannot write '<stdout>': No space left on device.\nfix: ")
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    assert not report.exists()


def test_interrupt(toy_bundle: Path, nevus_file: Path, tmp_path: Path) -> None:
    for i in range(1500):
        os.link(nevus_file, tmp_path / f"{i}.png")
    process = subprocess.Popen(
        command("diagnose", tmp_path, "--bundle", toy_bundle, "--format", "ndjson"),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A test run in the background may itself ignore Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"{")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == EXIT_INTERRUPTED
    assert err == b"interrupted\n"


def test_progress_bar_is_on_stderr_and_only_on_a_terminal(toy_bundle: Path, nevus_file: Path, tmp_path: Path) -> None:
    for i in range(10):
        os.link(nevus_file, tmp_path / f"{i}.png")
    arguments = command("diagnose", tmp_path, "--bundle", toy_bundle, "--format", "ndjson")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(arguments, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    assert process.stdout is not None
    out = process.stdout.read()
    process.wait(300)
    shown = b""
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:  # Linux's way of saying that the other end is closed
            break
        if not chunk:
            break
        shown += chunk
    os.close(ours)
    assert len([json.loads(line) for line in out.splitlines()]) == 10
    assert b"10/10" in shown
    piped = subprocess.run(arguments, cwd=REPOSITORY, capture_output=True, check=False)
    assert piped.stderr == b""
