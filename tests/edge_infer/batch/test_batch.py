"""Runs: rows equal `diagnose`; killed and run again they are the same bytes; what fails is left undone and named."""

from __future__ import annotations

import csv
import errno
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from edge_infer import Diagnoser
from edge_infer.batch import parts, pool, reading
from edge_infer.batch.entries import Entry
from edge_infer.batch.parts import part_file, part_tally, tallies, whole_parts
from edge_infer.batch.plan import LOGS, PLAN, read_plan
from edge_infer.batch.pool import Done
from edge_infer.batch.reading import StoreError, read_entry
from edge_infer.batch.running import processes, run_batch
from edge_infer.batch.work import answers, open_diagnoser, work_off
from edge_infer.cli.app import app
from edge_infer.errors import BundleMismatchError, InputError
from edge_infer.files import OutputError
from tests.conftest import REPOSITORY


def batch(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["batch", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.output


def planned(run: Path, bundle: Path, *inputs: object, size: int = 2) -> Path:
    batch("plan", *inputs, "-o", run, "--bundle", bundle, "--partition-size", size, "--batch-size", 2)
    return run


def in_process(run: Path, indices: object, bundle: str | None) -> Iterator[Done]:
    plan = read_plan(run)
    with open_diagnoser(plan, bundle) as diagnoser:
        for index in indices:  # type: ignore[attr-defined]
            yield Done(index, work_off(run, plan, index, diagnoser), None)


def contents(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "parts").glob("part-*.parquet"))}


@pytest.fixture(scope="module")
def undisturbed(archive: Path, toy_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run. Read only."""
    run = planned(tmp_path_factory.mktemp("runs") / "run", toy_bundle, archive / "list.csv")
    run_batch(run, in_process)
    return run


def test_rows_are_what_diagnose_says(undisturbed: Path, archive: Path, toy_bundle: Path, tmp_path: Path) -> None:
    batch("merge", undisturbed, "-o", tmp_path / "all.parquet")
    rows = parquet.read_table(tmp_path / "all.parquet").to_pylist()
    assert [row["source"] for row in rows] == sorted(row["source"] for row in rows)
    assert len(rows) == 13
    by_name = {Path(row["source"]).name: row for row in rows}
    assert by_name["gone.png"]["error"] == "image-not-found"
    assert by_name["broken.jpg"]["error"] == "image-decode"
    assert by_name["blank.png"]["reason"] == "blank"
    with Diagnoser.load(toy_bundle, threads=1) as diagnoser:
        for name in ("a/1.png", "b/deep/0.png", "ümlaut,comma.png"):
            answer = diagnoser.diagnose(archive / name)
            row = by_name[Path(name).name]
            assert row["melanoma_probability"] == pytest.approx(answer.melanoma_probability, abs=1e-6)
            assert answer.lesion_box is not None
            assert [row[f"lesion_{edge}"] for edge in ("x0", "y0", "x1", "y1")] == list(answer.lesion_box)
            assert row["warnings"] == list(answer.warnings)
            assert row["bundle_sha256"] == diagnoser.bundle.sha256


def test_nothing_in_a_part_depends_on_when_it_was_made(undisturbed: Path) -> None:
    schema = parquet.read_schema(part_file(undisturbed, 0))
    assert not [name for name in schema.names if name.endswith(("_ms", "_file")) or "time" in name]
    assert schema.metadata[b"edge_infer.part_schema"] == b"1"
    assert str(schema.field("melanoma_probability").type) == "double"
    assert str(schema.field("roi_x0").type) == "int32"


def test_two_processes_and_two_shards_give_the_same_bytes(
    undisturbed: Path, archive: Path, toy_bundle: Path, tmp_path: Path
) -> None:
    one = planned(tmp_path / "one", toy_bundle, archive / "list.csv")
    assert (one / PLAN).read_bytes() == (undisturbed / PLAN).read_bytes()
    progress = run_batch(one, processes(2))
    assert (progress.done_partitions, progress.left, progress.failures) == (7, 0, [])
    two = planned(tmp_path / "two", toy_bundle, archive / "list.csv")
    assert run_batch(two, in_process, shard=(2, 2)).done_partitions == 3
    with pytest.raises(InputError, match="4 of 7 partitions"):
        whole_parts(two, read_plan(two))
    assert run_batch(two, in_process, shard=(1, 2)).done_partitions == 4
    assert contents(one) == contents(two) == contents(undisturbed)
    assert run_batch(one, in_process).done_partitions == 0


def test_killed_at_random_it_goes_on_and_gives_the_same_bytes(
    undisturbed: Path, archive: Path, toy_bundle: Path, tmp_path: Path
) -> None:
    run = planned(tmp_path / "run", toy_bundle, archive / "list.csv")
    command = [sys.executable, "-m", "edge_infer.cli", "batch", "run", str(run), "--workers", "2"]
    dice = random.Random(18)
    kills = 0
    while kills < 4:
        process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
        enough = len(contents(run)) + 1
        deadline = time.monotonic() + 60
        while process.poll() is None and len(contents(run)) < enough and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(dice.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            break  # it was done before it could be killed
        kills += 1
    assert kills
    assert subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True).returncode == 1
    assert contents(run) == contents(undisturbed)


def test_a_temporary_file_of_a_killed_run_is_swept_away_later(undisturbed: Path) -> None:
    old, new = (undisturbed / "parts" / f".part-00000.parquet.{name}.tmp" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 3600,) * 2)
    run_batch(undisturbed, in_process)
    assert not old.exists() and new.exists()
    new.unlink()


@pytest.mark.parametrize("damage", [b"", b"PAR1 half a file"])
def test_a_damaged_part_is_done_again(
    damage: bytes, undisturbed: Path, archive: Path, toy_bundle: Path, tmp_path: Path
) -> None:
    run = planned(tmp_path / "run", toy_bundle, archive / "list.csv")
    run_batch(run, in_process)
    part_file(run, 3).write_bytes(damage)
    assert [index for index, tally in enumerate(tallies(run, read_plan(run))) if tally is None] == [3]
    assert run_batch(run, in_process).done_partitions == 1
    assert contents(run) == contents(undisturbed)


def test_a_part_of_another_plan_counts_as_missing(
    undisturbed: Path, archive: Path, toy_bundle: Path, tmp_path: Path
) -> None:
    run = planned(tmp_path / "run", toy_bundle, archive / "list.csv", archive / "a/1.png", size=3)
    part_file(run, 0).write_bytes(part_file(undisturbed, 0).read_bytes())
    plan = read_plan(run)
    assert part_tally(run, plan, 0, plan.sha256) is None


def test_another_bundle_or_another_version_is_refused(
    archive: Path, toy_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = planned(tmp_path / "run", toy_bundle, archive)
    with pytest.raises(BundleMismatchError, match="the plan was made for"):
        run_batch(run, processes(1), bundle=str(REPOSITORY / "exported/mobile"))
    assert "bundle-mismatch" in batch("run", run, "--bundle", REPOSITORY / "exported/mobile", code=3)
    monkeypatch.setattr("edge_infer.batch.running.__version__", "99.0.0")
    with pytest.raises(InputError, match="planned by"):
        run_batch(run, in_process)


def test_shards_and_urls_give_the_answers_of_their_files(
    undisturbed: Path, archive: Path, toy_bundle: Path, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        shard.add(archive / "a", "a")
    run = planned(tmp_path / "run", toy_bundle, tmp_path / "shard.tar", f"file://{archive}/b")
    run_batch(run, in_process)

    def answers_of(folder: Path) -> dict[str, object]:
        rows = [row for path in whole_parts(folder, read_plan(folder)) for row in parquet.read_table(path).to_pylist()]
        return {Path(row["source"]).name: {**row, "source": None, "message": None} for row in rows}

    found, expected = answers_of(run), answers_of(undisturbed)
    assert len(found) == 11
    for name, row in found.items():
        assert row == {
            key: pytest.approx(v, abs=1e-6) if isinstance(v, float) else v for key, v in expected[name].items()
        }


def test_errors_keep_their_places_between_answers(archive: Path, toy_bundle: Path, tmp_path: Path) -> None:
    run = planned(tmp_path / "run", toy_bundle, archive)
    gone = [Entry(f"gone-{n}", f"file://{tmp_path}/gone-{n}.png") for n in range(4)]
    good = [Entry(f"good-{n}", str(archive / "a/1.png")) for n in range(2)]
    order = [gone[0], good[0], gone[1], gone[2], good[1], gone[3]]
    plan = read_plan(run)
    with open_diagnoser(plan) as diagnoser:
        found = list(answers(order, plan, diagnoser))
    assert [answer.source for answer in found] == [entry.source for entry in order]
    assert [answer.status for answer in found] == ["error", "ok", "error", "error", "ok", "error"]


def test_a_store_that_fails_leaves_its_partition_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(reading.time, "sleep", waits.append)
    monkeypatch.setattr(reading, "_bytes", lambda entry: (_ for _ in ()).throw(ConnectionError("reset")))
    with pytest.raises(StoreError, match="4 attempts: reset"):
        read_entry(Entry("s3://x/1.png", "s3://x/1.png"), 10**8)
    assert waits == [1.0, 2.0, 4.0]


def test_a_partition_that_kills_its_workers_is_left_undone_and_named(
    archive: Path, toy_bundle: Path, tmp_path: Path
) -> None:
    run = planned(tmp_path / "run", toy_bundle, archive / "a/1.png", archive / "a/3.png", size=1)
    starting = pool._Worker.__init__
    started: list[pool._Worker] = []

    def start(worker: pool._Worker, *arguments: object) -> None:
        starting(worker, *arguments)  # type: ignore[arg-type]
        started.append(worker)
        worker.process.kill()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool._Worker, "__init__", start)
        progress = run_batch(run, processes(1))
    assert [failure.code for failure in progress.failures] == ["worker-died"] * 2
    assert len(started) == 2 * pool.DEATHS
    assert run_batch(run, processes(1)).failures == []


def test_status_summary_and_csv(undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = batch("status", undisturbed)
    assert "7 of 7 done" in shown and "image-not-found" in shown and "blank" in shown
    batch("merge", undisturbed, "-o", tmp_path / "all.csv")
    with (tmp_path / "all.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 13
    assert next(row for row in rows if "comma" in row["source"])["source"].endswith("ümlaut,comma.png")
    table = [
        row for path in whole_parts(undisturbed, read_plan(undisturbed)) for row in parquet.read_table(path).to_pylist()
    ]
    for row, typed in zip(rows, table, strict=True):
        assert (
            row["melanoma_probability"]
            == ("" if typed["melanoma_probability"] is None else str(typed["melanoma_probability"]))
            or float(row["melanoma_probability"]) == typed["melanoma_probability"]
        )
        assert row["warnings"] == " | ".join(typed["warnings"])
    batch("summary", undisturbed, "-o", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "13 of 13 pictures" in page and "blank" in page and "<svg" in page and "http" not in page
    assert "neither" in batch("merge", undisturbed, "-o", tmp_path / "all.xlsx", code=2)


def test_the_command_says_what_is_wrong(archive: Path, toy_bundle: Path, tmp_path: Path) -> None:
    run = planned(tmp_path / "run", toy_bundle, archive / "a/1.png")
    for arguments in (("--shard-of", "3/2"), ("--shard-of", "x")):
        assert "Invalid value" in batch("run", run, *arguments, code=2)
    assert "Make a plan first" in batch("run", tmp_path, code=2)
    assert "is not empty" in batch("plan", archive, "-o", run, code=2)
    assert not list((run / "parts").iterdir())
    assert parts.PART_SCHEMA == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("line", [0, 1, 3])
def test_a_log_that_cannot_be_written_is_a_typed_error_and_finished_partitions_stay(
    line: int, undisturbed: Path, archive: Path, toy_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening it fails, or a write to it as on a full disk: `/dev/full` refuses when the buffer is emptied."""
    run = planned(tmp_path / "run", toy_bundle, archive / "list.csv")
    real, opened = Path.open, count()

    def open_log(self: Path, *arguments: Any, **options: Any) -> Any:
        if self.parent.name != LOGS or next(opened) < line:
            return real(self, *arguments, **options)
        if line == 0:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return real(Path("/dev/full"), *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_log)
        with pytest.raises(OutputError, match=r"Cannot write '.*ndjson'") as caught:
            run_batch(run, in_process)
    assert "run again" in caught.value.remedy
    assert len(contents(run)) == line
    run_batch(run, in_process)
    assert contents(run) == contents(undisturbed)
