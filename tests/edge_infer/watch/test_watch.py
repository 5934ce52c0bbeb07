"""A watched folder: finished files only, one whole line each, through kills, full disks, rotation and restarts."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from edge_infer import Diagnoser
from edge_infer.files import OutputError
from edge_infer.watch import ledger as ledger_module
from edge_infer.watch.counters import Counters
from edge_infer.watch.finished import Finished, Seen
from edge_infer.watch.ledger import Ledger
from edge_infer.watch.loop import watch
from edge_infer.watch.waking import waiter
from tests.conftest import REPOSITORY
from tests.support.hostile_files import encoded


def lines(*files: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def outputs(output: Path) -> list[Path]:
    return sorted(output.parent.glob(f"{output.stem}*{output.suffix}"))


def start(folder: Path, output: Path, bundle: Path, *more: object) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "edge_infer.cli",
        "watch",
        folder,
        "-o",
        output,
        "--bundle",
        bundle,
        "--threads",
        "1",
    ]
    return subprocess.Popen(
        [*map(str, command), *map(str, more)],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def until(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_a_file_is_finished_when_it_has_not_changed_for_a_while(tmp_path: Path) -> None:
    now = [0.0]
    look = Finished(tmp_path, 2.0, lambda: now[0])
    (tmp_path / "sub").mkdir()
    growing, whole = tmp_path / "growing.jpg", tmp_path / "sub" / "whole.PNG"
    growing.write_bytes(b"1")
    whole.write_bytes(b"12")
    for name in (".hidden.jpg", "a.jpg.part", "notes.txt"):
        (tmp_path / name).write_bytes(b"1")
    (tmp_path / "empty.jpg").touch()
    if os.name != "nt":
        (tmp_path / "link.jpg").symlink_to(whole)
        os.mkfifo(tmp_path / "pipe.jpg")
    assert look()[0] == []
    now[0] = 1.9
    growing.write_bytes(b"12")
    assert look()[0] == []
    now[0] = 2.0
    settled, waiting = look()
    assert [seen.name for seen in settled] == ["sub/whole.PNG"] and waiting == 2
    now[0] = 3.9
    assert [seen.name for seen in look()[0]] == ["growing.jpg", "sub/whole.PNG"]
    os.utime(growing, ns=(1, 1))  # a camera with another idea of the time
    assert [seen.name for seen in look()[0]] == ["sub/whole.PNG"]


STATES = [Seen(f"{i}.jpg", i + 1, 10**18 + i) for i in range(5)]


def test_lines_survive_any_cut_and_memory_is_rebuilt_from_them(tmp_path: Path) -> None:
    output = tmp_path / "o.ndjson"
    book = Ledger(output, 10**6, 0)
    for state in STATES[:3]:
        book.add(state, {"source": state.name})
    book.close()
    whole = output.read_bytes()
    for length in range(len(whole) + 1):
        output.write_bytes(whole[:length])
        (tmp_path / "o.ndjson.seen").unlink(missing_ok=True)
        book = Ledger(output, 10**6, 0)
        kept = whole[:length].count(b"\n")
        assert [state in book for state in STATES[:3]] == [True] * kept + [False] * (3 - kept)
        for state in STATES[:3]:
            if state not in book:
                book.add(state, {"source": state.name})
        book.close()
        assert output.read_bytes() == whole


def test_a_kill_between_line_and_memory_repeats_nothing(tmp_path: Path) -> None:
    output = tmp_path / "o.ndjson"
    book = Ledger(output, 10**6, 0)
    for state in STATES:
        book.add(state, {})
    book.close()
    memory = tmp_path / "o.ndjson.seen"
    memory.write_bytes(memory.read_bytes()[:-30])
    again = Ledger(output, 10**6, 0)
    assert all(state in again for state in STATES)
    again.close()


def test_outputs_rotate_in_order_whatever_the_clock_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "o.ndjson"
    clock = iter([time.gmtime(10**9), time.gmtime(10**8), time.gmtime(10**8), *[time.gmtime(10**9 + 5)] * 99])
    monkeypatch.setattr(ledger_module.time, "gmtime", lambda: next(clock))
    book = Ledger(output, 50, 0)
    for state in STATES:
        book.add(state, {"source": state.name})
    assert [line["source"] for line in lines(*book._older(), output)] == [state.name for state in STATES]
    book.close()
    book = Ledger(output, 50, 2)
    assert all(state in book for state in STATES)
    for number in range(4):
        book.add(Seen("x.jpg", number, 0), {})
    assert len(book._older()) == 2
    book.close()


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be moved there")
def test_an_output_that_somebody_else_moved_is_begun_again(tmp_path: Path) -> None:
    output = tmp_path / "o.ndjson"
    book = Ledger(output, 10**6, 0)
    book.add(STATES[0], {})
    output.rename(tmp_path / "theirs")
    book.add(STATES[1], {})
    assert len(lines(output)) == len(lines(tmp_path / "theirs")) == 1
    book.close()


@pytest.mark.skipif(os.name == "nt", reason="needs flock and links")
def test_two_processes_and_links_are_refused(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "o.ndjson", 10**6, 0)
    with pytest.raises(OutputError, match="Another process"):
        Ledger(tmp_path / "o.ndjson", 10**6, 0)
    book.close()
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "l.ndjson").symlink_to(tmp_path / "victim")
    with pytest.raises(OutputError):
        Ledger(tmp_path / "l.ndjson", 10**6, 0)
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "o.ndjson"
    book = Ledger(output, 10**6, 0)
    book.add(STATES[0], {})
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[: len(data) // 2]))
    with pytest.raises(OutputError, match="No space left"):
        book.add(STATES[1], {})
    monkeypatch.undo()
    assert len(lines(output)) == 1 and STATES[1] not in book
    book.add(STATES[1], {})
    assert len(lines(output)) == 2
    book.close()


def test_the_loop_counts_and_tells(tmp_path: Path, toy_bundle: Path, nevus_file: Path) -> None:
    folder, output = tmp_path / "in", tmp_path / "o.ndjson"
    folder.mkdir()
    shutil.copy(nevus_file, folder / "a.png")
    (folder / "b.png").write_bytes(b"rubbish")
    (folder / "c\nd.png").write_bytes(encoded("PNG"))
    stop, book = threading.Event(), Ledger(output, 10**6, 0)
    with Diagnoser.load(toy_bundle) as diagnoser:
        counters = Counters(diagnoser.bundle, folder, tmp_path / "health", tmp_path / "metrics")
        watch(diagnoser, folder, book, counters, stop, settle=0, wait=stop.wait, once=True)
    book.close()
    found = {Path(line["source"]).name: line for line in lines(output)}
    assert {name: line["status"] for name, line in found.items()} == {
        "a.png": "ok", "b.png": "error", "c\nd.png": "indeterminate",
    }  # fmt: skip
    assert found["b.png"]["error"]["code"] == "image-decode"
    health = json.loads((tmp_path / "health").read_text())
    assert health["state"] == "stopped" and health["pictures"] == {"ok": 1, "indeterminate": 1, "error": 1}
    metrics = (tmp_path / "metrics").read_text()
    assert 'edge_infer_pictures_total{status="ok"} 1\n' in metrics
    assert 'edge_infer_picture_errors_total{error="image-decode"} 1\n' in metrics
    for line in metrics.splitlines():
        assert line.startswith(("# HELP edge_infer_", "# TYPE edge_infer_")) or len(line.rsplit(" ", 1)) == 2
    assert "a.png" not in metrics and str(folder) not in metrics


def test_a_folder_that_goes_away_is_waited_for(tmp_path: Path, toy_bundle: Path, nevus_file: Path) -> None:
    folder, stop = tmp_path / "in", threading.Event()
    book = Ledger(tmp_path / "o.ndjson", 10**6, 0)
    waits = iter(
        [lambda: folder.mkdir(), lambda: shutil.copy(nevus_file, folder / "a.png"), *[lambda: None] * 3, stop.set]
    )
    with Diagnoser.load(toy_bundle) as diagnoser:
        counters = Counters(diagnoser.bundle, folder, tmp_path / "health", None)
        watch(diagnoser, folder, book, counters, stop, settle=0, wait=lambda: next(waits)())
    book.close()
    assert counters.scan_errors == 1 and counters.by_status["ok"] == 1


@pytest.mark.parametrize("events", [True, False])
def test_waiting_ends_early_for_events_and_stops(tmp_path: Path, events: bool) -> None:
    if events:
        pytest.importorskip("watchfiles")
    stop = threading.Event()
    wait = waiter(tmp_path, stop, poll=30.0, events=events)
    if events:
        threading.Timer(0.5, lambda: (tmp_path / "a").write_text("x")).start()
    else:
        threading.Timer(0.5, stop.set).start()
    begun = time.monotonic()
    wait()
    assert time.monotonic() - begun < 20


@pytest.mark.skipif(os.name == "nt", reason="needs signals")
@pytest.mark.timeout(280)
def test_killed_again_and_again_every_picture_has_one_line(tmp_path: Path, toy_bundle: Path, nevus_file: Path) -> None:
    folder, output, rng = tmp_path / "in", tmp_path / "o.ndjson", random.Random(1)
    folder.mkdir()
    for number in range(40):
        shutil.copy(nevus_file, folder / f"{number:03}.png")
    more = ("--settle", "0", "--rotate-mb", "0.01", "--health", tmp_path / "health")
    for _ in range(3):
        before = sum(path.read_bytes().count(b"\n") for path in outputs(output))
        process = start(folder, output, toy_bundle, *more)
        goal = before + rng.randrange(1, 8)
        until(lambda goal=goal: sum(path.read_bytes().count(b"\n") for path in outputs(output)) >= goal)
        process.kill()
        process.communicate()
    process = start(folder, output, toy_bundle, *more)
    until(lambda: sum(path.read_bytes().count(b"\n") for path in outputs(output)) >= 40)
    shutil.copy(nevus_file, folder / "late.png")
    until(lambda: sum(path.read_bytes().count(b"\n") for path in outputs(output)) >= 41)
    process.send_signal(signal.SIGTERM)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 0, complaint
    names = Counter(Path(line["source"]).name for line in lines(*outputs(output)))
    assert names == Counter([*(f"{number:03}.png" for number in range(40)), "late.png"])
    assert len(outputs(output)) > 1
    assert json.loads((tmp_path / "health").read_text())["state"] == "stopped"
    assert all(path.stat().st_mode & 0o077 == 0 for path in outputs(output))
