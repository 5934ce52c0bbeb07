"""No network and no telemetry: not by us, and not by what we load."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

NETWORK = re.compile(r"socket\(AF_(?!UNIX|NETLINK)|connect\(.*AF_(?!UNIX|UNSPEC)|sendto\(.*AF_INET")


def home(folder: Path) -> dict[str, str]:
    """An environment whose home, cache and temporary folders are empty ones."""
    for name in ("home", "cache", "tmp"):
        (folder / name).mkdir()
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "ORT_"))}
    return {
        **kept,
        "HOME": str(folder / "home"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "TMPDIR": str(folder / "tmp"),
    }


def written(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for n in ("home", "cache", "tmp") for path in (folder / n).rglob("*"))


@pytest.mark.skipif(os.name == "nt", reason="sets HOME and TMPDIR")
def test_a_diagnosis_writes_nothing_into_home_cache_or_temporary_folders(
    tmp_path: Path, toy_bundle: Path, nevus_file: Path
) -> None:
    command = [sys.executable, "-m", "edge_infer.cli", "diagnose", str(nevus_file), "--bundle", str(toy_bundle)]
    subprocess.run(command, cwd=REPOSITORY, env=home(tmp_path), check=True, capture_output=True)
    assert written(tmp_path) == []


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace")
def test_no_system_call_of_a_diagnosis_reaches_for_a_network(
    tmp_path: Path, toy_bundle: Path, nevus_file: Path
) -> None:
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-qq", "-e", "trace=network", "-o", str(trace)]
    probe = "import socket; socket.socket().connect_ex(('127.0.0.1', 9))"
    done = subprocess.run([*strace, sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"strace cannot trace here: {done.stderr.strip()[:200]}")
    assert NETWORK.search(trace.read_text()), "the test would not see it"
    command = [sys.executable, "-m", "edge_infer.cli", "diagnose", str(nevus_file), "--bundle", str(toy_bundle)]
    subprocess.run([*strace, *command], cwd=REPOSITORY, env=home(tmp_path), check=True, capture_output=True)
    assert not NETWORK.search(trace.read_text()), trace.read_text()
