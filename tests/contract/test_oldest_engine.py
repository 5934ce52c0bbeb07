"""The shipped bundle on the oldest ONNX Runtime that it says it needs, and on the newest one there is.

Each is installed into a folder of its own that comes first on the path of a new process; nothing of this environment
changes. Without a package registry the tests are skipped.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from edge_infer.bundle.store import read_manifest
from edge_infer.engines.install import _DISTRIBUTIONS, _installed_distributions
from tests.conftest import REPOSITORY
from trainer.bundle.storage import MIN_ONNXRUNTIME

BUNDLES = ("exported/mobile", "tests/fixtures/bundles/schema-2")
SECONDS = 180


def run_with(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), str(REPOSITORY)])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


@pytest.fixture(scope="module", params=[f"=={MIN_ONNXRUNTIME}.*", ""], ids=["oldest", "newest"])
def runtime(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with one ONNX Runtime, and its version."""
    others = [name for name in _DISTRIBUTIONS if name in _installed_distributions() and name != "onnxruntime"]
    if others:
        pytest.skip(f"{', '.join(others)} is installed here and would be in the way")
    folder = tmp_path_factory.mktemp("runtime")
    wanted = f"onnxruntime{request.param}"
    command = ["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--retries=1", "--timeout=15"]
    try:
        done = subprocess.run(
            [sys.executable, *command, "--target", str(folder), wanted],
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
            env={name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"},
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{wanted} was not installed within {SECONDS} seconds")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["pip failed"]
        pytest.skip(f"{wanted} cannot be installed here: {lines[-1]}")
    version = run_with(folder, "-c", "import onnxruntime as o; print(o.__version__, o.__file__)")
    number, _, file = version.stdout.strip().partition(" ")
    assert Path(file).is_relative_to(folder), f"{version.stdout}{version.stderr}"
    assert not request.param or number.startswith(f"{MIN_ONNXRUNTIME}.")
    return folder, number


@pytest.mark.parametrize("bundle", BUNDLES)
def test_golden_examples_replay(bundle: str, runtime: tuple[Path, str]) -> None:
    folder, number = runtime
    done = run_with(folder, "-m", "edge_infer.cli", "verify", bundle, "--provider", "cpu", "--threads", "1")
    assert done.returncode == 0, f"ONNX Runtime {number}:\n{done.stdout}{done.stderr}"
    assert done.stdout.endswith("verified\n")


def test_the_oldest_runtime_is_the_same_everywhere() -> None:
    """In the shipped manifests, in what the trainer writes, and in what `pip install edge-infer[...]` allows."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [entry for extra in project["optional-dependencies"].values() for entry in extra]
    stated = {entry.partition(">=")[2] for entry in extras if entry.startswith("onnxruntime")}
    assert stated == {MIN_ONNXRUNTIME}
    for manifest in (REPOSITORY / "exported").glob("*/bundle.json"):
        assert read_manifest(manifest.parent).manifest.min_onnxruntime == MIN_ONNXRUNTIME
