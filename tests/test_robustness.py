"""The trials of `tests.robustness` in their short form, and that they would see what they look for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.robustness import fuzz_long
from tests.robustness import page as paging
from tests.robustness.__main__ import RESULTS
from tests.robustness.fault_jobs import Job, hashes, unlike
from tests.robustness.faults import PIPE, _nobody_reads, _try_job
from tests.robustness.fuzz_long import Totals
from tests.robustness.measure import Measure
from tests.robustness.page import PAGE, page, write_page
from tests.robustness.soak import Row, judge, until_stopped

pytestmark = pytest.mark.skipif(os.name == "nt", reason="forks")


@pytest.mark.parametrize("trial", ["soak", "load", "network", "faults", "determinism"])
def test_nothing_is_lost(trial: str) -> None:
    command = [sys.executable, "-m", "tests.robustness", trial]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def file_job(root: Path, atomic: bool) -> Job:
    """Writes ten thousand letters, in one step or in two."""
    out = root / "out.txt"

    def run() -> int:
        from edge_infer.files import OutputError, write_atomically

        if atomic:
            write_atomically(out, b"x" * 10_000)
            return 0
        try:
            out.write_bytes(b"x" * 10)
            with out.open("ab") as stream:
                stream.write(b"x" * 9_990)
        except OSError as error:
            raise OutputError("no") from error
        return 0

    def final() -> dict[str, str]:
        return hashes(root, "*.txt")

    return Job("file", root, lambda: None, run, final, lambda wanted: unlike(final(), wanted), small=4_096)


def test_a_job_writes_to_the_standard_output_that_the_trial_gave_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not to what the parent's stream was opened on; a pipe cannot be sought, and the stream has to know it."""

    def run() -> int:
        try:
            sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
            print("x", flush=True)
        except BrokenPipeError:
            return PIPE
        return 0

    job = Job("print", tmp_path / "job", lambda: None, run, lambda: None, lambda wanted: "", small=0)
    with (tmp_path / "parent.txt").open("w") as parent:
        monkeypatch.setattr(sys, "stdout", parent)
        assert _nobody_reads(job) == ""


def test_faults_find_a_job_that_leaves_half_a_file_and_clear_one_that_does_not(tmp_path: Path) -> None:
    sound, careless = Measure("sound"), Measure("careless")
    _try_job(file_job(tmp_path / "sound", atomic=True), 10, sound)
    _try_job(file_job(tmp_path / "careless", atomic=False), 10, careless)
    assert sound.losses == [] and sound.tried > 10
    for kind in ("kill -9", "full disk", "permissions lost", "Ctrl-C"):
        assert [loss for loss in careless.losses if kind in loss], careless.losses


def rows(megabytes: list[float], handles: list[int], rate: list[float]) -> list[Row]:
    values = zip(megabytes, handles, rate, strict=True)
    return [Row(10 * i, mb, n, 4, 1.0, 100 / r, 50, 30, 20) for i, (mb, n, r) in enumerate(values, start=1)]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, ""),
        ({"megabytes": list(np.linspace(100, 300, 120))}, "memory grew"),
        ({"handles": list(range(10, 130))}, "handles"),
        ({"rate": list(np.linspace(100, 20, 120))}, "throughput fell"),
    ],
)
def test_a_soak_sees_what_creeps(changed: dict[str, Any], says: str) -> None:
    measure = Measure("soak")
    plain: dict[str, Any] = {"megabytes": [100.0] * 120, "handles": [10] * 120, "rate": [50.0] * 120}
    judge(rows(**plain | changed), measure)
    assert [says in loss for loss in measure.losses] == [True] * bool(says)


def test_a_soak_that_is_stopped_keeps_what_it_measured_and_says_so() -> None:
    def parts() -> Iterator[Row]:
        yield from rows([100.0] * 3, [10] * 3, [50.0] * 3)
        raise KeyboardInterrupt

    measure = Measure("soak")
    assert len(until_stopped(parts(), 1_000, measure)) == 3
    assert measure.tried == 30 and measure.figures == {"not a whole run": "stopped at 30 of 1,000"}


def test_long_fuzzing_goes_on_where_it_stopped_and_adds_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[int, int]] = []

    def block(first: int, last: int) -> tuple[int, Counter[str], list[str]]:
        tried.append((first, last))
        if first == 0:
            return 7, Counter(), ["input 6: exit -11"]
        return last, Counter(pictures=last - first), []

    monkeypatch.setattr(fuzz_long, "block", block)
    for _ in range(2):
        clock = iter((0.0, 0.0, 1.0, 2.0, 2.0, 3.0, 9.0, 9.0))
        monkeypatch.setattr(fuzz_long, "time", SimpleNamespace(monotonic=clock.__next__))
        fuzz_long.fuzz_decoders(Totals(tmp_path / "totals.json"), deadline=5.0)
    known = Totals(tmp_path / "totals.json").of("decoders")
    assert [first for first, _ in tried] == [0, 7, 2007, 4007]
    assert known["executions"] == known["next"] == 6007
    assert known["ends"] == {"pictures": 6000} and known["losses"] == ["input 6: exit -11"]
    text = page({}, "", {"decoders": known})
    assert "6,007" in text and "input 6: exit -11" in text


def test_the_page_is_what_the_stored_results_give_and_shows_the_soak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = PAGE.read_text(encoding="utf-8")
    monkeypatch.setattr(paging, "PAGE", tmp_path / "page.md")
    write_page(RESULTS)
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == kept, "run: python -m tests.robustness --page"
    assert "](robustness/soak.png)" in kept and (REPOSITORY / "tests/robustness/soak.png").is_file()
