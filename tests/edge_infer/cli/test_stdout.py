"""Standard output that is closed, full, or read by nobody: a word and an exit code, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_infer.cli.guard import EXIT_PIPE, EXIT_USAGE

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")


@pytest.fixture(params=["diagnose --format card", "diagnose --format csv", "inspect"])
def command(request: pytest.FixtureRequest, toy_bundle: Path, nevus_file: Path) -> list[str]:
    name, *options = request.param.split()
    given = [str(toy_bundle)] if name == "inspect" else [str(nevus_file), "--bundle", str(toy_bundle)]
    return [sys.executable, "-m", "edge_infer.cli", name, *options, *given]


@pytest.mark.parametrize(
    ("where", "says"), [(">&-", "Standard output is closed."), (">/dev/full", "No space left on device")]
)
def test_closed_or_full_it_is_a_typed_error(command: list[str], where: str, says: str) -> None:
    shell = ["sh", "-c", f'exec "$@" {where}', "sh", *command]
    done = subprocess.run(shell, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == EXIT_USAGE, done.stderr
    assert done.stderr.startswith("error [output]: ") and says in done.stderr and "Traceback" not in done.stderr


def test_nobody_reads_it(command: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (EXIT_PIPE, "")
