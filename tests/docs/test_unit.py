"""The systemd unit on the page: its command runs, with the folders of a test in place of the page's."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs/watch.md"


def unit() -> configparser.ConfigParser:
    (text,) = re.findall(r"```ini\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd tells upper from lower case
    parser.read_string(text.replace("\\\n", " "))
    return parser


def test_the_units_command_runs(nevus_file: Path, tmp_path: Path) -> None:
    service = unit()["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert Path(program).name == "edge-infer" and service["KillSignal"] == "SIGTERM"
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    shutil.copy(nevus_file, tmp_path / "in")
    here = [word.replace("/srv/dermoscopy", str(tmp_path)) for word in words]
    command = [sys.executable, "-m", "edge_infer.cli", *here, "--once", "--settle", "0"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert json.loads((out / "results.ndjson").read_text())["source"].endswith(nevus_file.name)
    assert json.loads((out / "health.json").read_text())["state"] == "stopped"
    assert "edge_infer" in (out / "edge_infer.prom").read_text()
    assert service["ReadWritePaths"] == "/srv/dermoscopy/out", "everything that it writes lies in there"
