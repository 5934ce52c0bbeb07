"""The stated command makes a wheel that serves the kiosk where there is neither a checkout nor Node."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edge_infer.kiosk.app import BUILD_WHEEL
from tests.conftest import REPOSITORY
from tests.ports.conftest import is_required
from tests.ports.kiosk.conftest import missing

LARGEST = 40_000_000


def test_the_stated_command_makes_a_wheel_with_the_kiosk(tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        missing("npm is not installed")
    if not is_required("kiosk"):
        pytest.skip("it installs packages from npm: set EDGE_INFER_REQUIRE_PORTS=1")
    variable, *command = shlex.split(BUILD_WHEEL)
    name, value = variable.split("=")
    command = [sys.executable if word == "python" else word for word in command]
    subprocess.run([*command, "-d", str(tmp_path)], cwd=REPOSITORY, env={**os.environ, name: value}, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < LARGEST
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    site = tmp_path / "site"
    done = subprocess.run(
        [sys.executable, "-m", "edge_infer.cli", "kiosk", "--export", str(site)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    release = json.loads((site / "release.json").read_text(encoding="utf-8"))
    assert "index.html" in release["files"] and "bundle/bundle.json" in release["files"]
