"""Many at once: threads over one Diagnoser, forked and spawned workers, caches that vanish, processors that go."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_infer import Diagnoser
from edge_infer.engines.compiled import CACHE_VARIABLE, Entry, entry_path, read_entry, write_entry
from tests.robustness.measure import NO_WISH, Measure, Wish
from tests.robustness.quota import own_group
from tests.support.toy_bundle import write_toy_bundle
from trainer.data.drawn import draw_picture

ROUNDS = {"seconds": 2, "minutes": 30, "hours": 300}
THREADS = 32
Bits = tuple[object, ...]


def trial(size: str, wish: Wish = NO_WISH) -> Measure:
    """Another answer than alone, an error or a hang is a loss."""
    measure = Measure("Load: 32 threads, fork, spawn, shared caches, processors taken away, CPU quota changed")
    rounds = ROUNDS[size]
    with tempfile.TemporaryDirectory(prefix="edge-infer-load-") as folder:
        bundle = write_toy_bundle(Path(folder, "toy"))
        pictures = _pictures(Path(folder))
        with Diagnoser.load(bundle, threads=2, providers=["cpu"]) as diagnoser:
            wanted = [bits(diagnoser, path) for path in pictures]
            _threads(diagnoser, pictures, wanted, rounds, measure)
            _forked(diagnoser, pictures, wanted, rounds, measure)
            _processors(diagnoser, pictures, wanted, rounds, measure)
            _quota(diagnoser, pictures, wanted, rounds, measure)
        _spawned(bundle, pictures, wanted, measure)
        _vanishing_entries(Path(folder), rounds, measure)
        _vanishing_pictures(Path(folder), rounds, measure)
    return measure


def bits(diagnoser: Diagnoser, path: Path) -> Bits:
    """All that decides in an answer."""
    answer = diagnoser.diagnose(path)
    outline = None if answer.mask is None else answer.mask.tobytes()
    return answer.status, answer.melanoma_probability, answer.label, answer.roi_box, hash(outline)


def _pictures(folder: Path) -> list[Path]:
    paths = []
    for number, kind in enumerate(("nv", "mel", "bkl", "nv")):
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), draw_picture(np.random.default_rng(50 + number), 120, 160, kind).image[..., ::-1])
        paths.append(path)
    return paths


def _compare(what: str, found: list[Bits], wanted: list[Bits], measure: Measure) -> None:
    measure.tried += len(found)
    for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
        if one != other:
            measure.lose(f"{what}: picture {number} had {other} and got {one}")


def _threads(diagnoser: Diagnoser, pictures: list[Path], wanted: list[Bits], rounds: int, measure: Measure) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in range(rounds):
            jobs = [pool.submit(bits, diagnoser, pictures[i % len(pictures)]) for i in range(2 * THREADS)]
            found = [job.result(timeout=300) for job in jobs]
            _compare("32 threads", found, [wanted[i % len(wanted)] for i in range(2 * THREADS)], measure)
    measure.figures["threads"] = str(THREADS)


def _answer(pipe: Connection, work: Callable[[], list[Bits]]) -> None:
    pipe.send(work())
    pipe.close()


def _from(process: multiprocessing.Process, pipe: Connection, what: str, measure: Measure) -> list[Bits] | None:
    found: list[Bits] | None = None
    if pipe.poll(300):
        try:
            found = pipe.recv()
        except EOFError:
            measure.lose(f"{what}: the worker died")
    else:
        measure.lose(f"{what}: no answer within 300 s")
        process.kill()
    process.join()
    return found


def _forked(diagnoser: Diagnoser, pictures: list[Path], wanted: list[Bits], rounds: int, measure: Measure) -> None:
    """Forked workers use the Diagnoser that their parent has loaded and used."""
    if not hasattr(os, "fork"):
        return
    context = multiprocessing.get_context("fork")

    def work() -> list[Bits]:
        return [bits(diagnoser, path) for path in pictures]

    for _ in range(rounds):
        workers = []
        for _ in range(2):
            mine, theirs = context.Pipe()
            process = context.Process(target=_answer, args=(theirs, work))
            process.start()
            theirs.close()
            workers.append((process, mine))
        for process, mine in workers:
            if (found := _from(process, mine, "forked", measure)) is not None:
                _compare("forked", found, wanted, measure)


def _spawned(bundle: Path, pictures: list[Path], wanted: list[Bits], measure: Measure) -> None:
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_in_spawned, args=(theirs, bundle, pictures))
    process.start()
    theirs.close()
    if (found := _from(process, mine, "spawned", measure)) is not None:
        _compare("spawned", [one[:-1] for one in found], [one[:-1] for one in wanted], measure)


def _in_spawned(pipe: Connection, bundle: Path, pictures: list[Path]) -> None:
    with Diagnoser.load(bundle, threads=1, providers=["cpu"]) as diagnoser:
        pipe.send([bits(diagnoser, path) for path in pictures])


def _processors(diagnoser: Diagnoser, pictures: list[Path], wanted: list[Bits], rounds: int, measure: Measure) -> None:
    """Processors are taken from this process and given back while it diagnoses."""
    if not hasattr(os, "sched_setaffinity"):
        return
    everything = os.sched_getaffinity(0)

    def take_and_give() -> None:
        for task in Path("/proc/self/task").iterdir():
            with contextlib.suppress(OSError, ValueError):
                os.sched_setaffinity(int(task.name), {min(everything)} if time.monotonic() % 0.2 < 0.1 else everything)

    try:
        _meanwhile(take_and_give, "processors taken away", diagnoser, pictures, wanted, rounds, measure)
    finally:
        for task in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(task.name), everything)


def _quota(diagnoser: Diagnoser, pictures: list[Path], wanted: list[Bits], rounds: int, measure: Measure) -> None:
    """The CPU quota of this process's cgroup goes down to a fifth of a processor and back while it diagnoses."""
    changed = 0

    def change() -> None:
        nonlocal changed
        quota(0.2 if time.monotonic() % 0.2 < 0.1 else None)
        changed += 1

    try:
        with own_group() as quota:
            _meanwhile(change, "CPU quota changed", diagnoser, pictures, wanted, rounds, measure)
    except OSError as error:
        measure.figures["CPU quota"] = f"not tried: {error.strerror or error}"
    else:
        measure.figures["CPU quota"] = f"set {changed:,} times under way"


def _meanwhile(
    disturb: Callable[[], None],
    what: str,
    diagnoser: Diagnoser,
    pictures: list[Path],
    wanted: list[Bits],
    rounds: int,
    measure: Measure,
) -> None:
    """Diagnoses with several workers, and a thread disturbs them every hundredth of a second."""
    over = threading.Event()

    def again() -> None:
        while not over.wait(0.01):
            disturb()

    thread = threading.Thread(target=again)
    thread.start()
    try:
        answers = diagnoser.diagnose_many(pictures * (8 * rounds), 3, workers=4)
        found = [(a.status, a.melanoma_probability, a.label, a.roi_box) for a in answers]
    finally:
        over.set()
        thread.join()
    _compare(what, list(found), [one[:-1] for one in wanted] * (8 * rounds), measure)


def _two_and_one(work: Callable[[int], None], folder: Path, seconds: float, measure: Measure, what: str) -> None:
    """Two forked processes work over one folder, and this one deletes it all the time."""
    if not hasattr(os, "fork"):
        return
    context = multiprocessing.get_context("fork")
    end = time.monotonic() + seconds
    workers = []
    told = context.SimpleQueue()
    for number in range(2):
        process = context.Process(target=_until, args=(end, work, number, told))
        process.start()
        workers.append(process)
    deletions = 0
    while any(process.is_alive() for process in workers):
        shutil.rmtree(folder, ignore_errors=True)
        deletions += 1
        time.sleep(0.01)
    for process in workers:
        process.join()
        measure.tried += 1
        if process.exitcode:
            measure.lose(f"{what}: exit {process.exitcode}" + ("" if told.empty() else f", {told.get()}"))
    measure.figures[what] = f"deleted {deletions:,} times under two processes"


def _until(end: float, work: Callable[[int], None], number: int, told: Any) -> None:
    turn = 0
    while turn < 3 or time.monotonic() < end:
        try:
            work(2 * turn + number)
        except BaseException as error:
            told.put(f"{type(error).__name__}: {error}")
            raise
        turn += 1


def _vanishing_entries(folder: Path, rounds: int, measure: Measure) -> None:
    """Compiled networks: an entry is whole or absent."""
    home = folder / "compiled"
    os.environ[CACHE_VARIABLE] = str(home)
    blob = bytes(range(256)) * 400

    def work(turn: int) -> None:
        path = entry_path("toy", {"network": str(turn % 3)})
        write_entry(path, Entry({"turn": turn % 3}, blob))
        found = read_entry(path)
        assert found is None or (found.facts == {"turn": turn % 3} and found.blob == blob)

    try:
        _two_and_one(work, home, 0.2 * rounds, measure, "cache of compiled networks")
    finally:
        del os.environ[CACHE_VARIABLE]


def _vanishing_pictures(folder: Path, rounds: int, measure: Measure) -> None:
    """Decoded training pictures: right, or a typed error that says that they vanish."""
    from trainer.data.cache import cache_pictures
    from trainer.data.drawn import draw_dataset
    from trainer.data.ham10000 import read_ham10000
    from trainer.errors import DataError

    draw_dataset(folder / "data", 6, seed=3, height=48, width=64)
    records = read_ham10000(folder / "data")[:3]
    wanted = cache_pictures(records, 16, folder / "kept").images
    home = folder / "decoded"

    def work(turn: int) -> None:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, 2)
        os.close(devnull)
        try:
            assert (cache_pictures(records, 16, home).images == wanted).all()
        except DataError as error:
            assert "vanished" in str(error), error

    _two_and_one(work, home, 0.2 * rounds, measure, "cache of decoded pictures")
