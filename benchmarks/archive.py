"""Batches at full size: the kill test over an archive of any length, and what planning costs from 10^3 to 10^6 entries.

The archive is a folder of symbolic links with unique names, so that any number of real pictures takes no space.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from math import log10
from pathlib import Path
from typing import TYPE_CHECKING

from edge_infer.batch.plan import PARTS
from edge_infer.errors import EdgeInferError
from edge_infer.files import PICTURE_SUFFIXES, write_atomically

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Progress = Callable[[str], None]
_PLANNING = """
import resource, sys, time
from pathlib import Path
from edge_infer.batch.entries import Entry
from edge_infer.batch.plan import Options, write_plan
count = int(sys.argv[2])
worked = time.process_time()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
names = (f"/archive/{n * 7919 % count:07d}/picture-{n:07d}.jpg" for n in range(count))
start = time.perf_counter()
write_plan(Path(sys.argv[1]), (Entry(name, name, None, 120_000) for name in names), bundle=("b", "1.0.0", "0" * 64),
           options=Options("b", None, "o", None, None, 8, 10**8), inputs=["generated"], partition_size=1000)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(time.perf_counter() - start, time.process_time() - worked, peak, before)
"""


@dataclass(frozen=True)
class KillTest:
    """What a kill test found.

    Attributes:
        pictures, partitions, workers: of both runs.
        bundle, bundle_version, bundle_sha256, variant: that answered.
        kills: how often the disturbed run was killed with SIGKILL, the command or one of its workers.
        killed_commands, killed_workers: which of the two it was.
        same_bytes: whether every part of the disturbed run equals the undisturbed one's.
        undisturbed_seconds, disturbed_seconds: wall time.
        undisturbed_processor_seconds: of all workers; it hardly depends on what else the machine does.
        starts: how often the test itself was started; beyond one, times are of the last start alone.
        parts_sha256: of all parts' hashes in order.
    """

    pictures: int
    partitions: int
    workers: int
    bundle: str
    bundle_version: str
    bundle_sha256: str
    variant: str | None
    kills: int
    killed_commands: int
    killed_workers: int
    same_bytes: bool
    undisturbed_seconds: float
    disturbed_seconds: float
    undisturbed_processor_seconds: float
    starts: int
    parts_sha256: str


@dataclass(frozen=True)
class Planning:
    """What planning so many entries took: seconds by clock and of the processor; peak memory in MB before and after."""

    entries: int
    seconds: float
    processor_seconds: float
    before_mb: float
    peak_mb: float


def kill_test(
    pictures: Sequence[Path],
    work: Path,
    *,
    count: int,
    kills: int,
    workers: int,
    partition_size: int,
    bundle: str | None,
    progress: Progress,
    variant: str | None = None,
    seed: int = 0,
) -> KillTest:
    """Runs an archive undisturbed and once more with kills at random moments, and compares every part.

    Args:
        pictures: files or folders; repeated under unique names up to `count`.
        work: folder for the archive and both runs; what an earlier start did there is not done again.
        count, kills, workers, partition_size, bundle: of the test.
        progress: takes lines for people.
        variant: form of the networks; None: float32.
        seed: of the moments.

    Raises:
        EdgeInferError: a command failed that nobody killed.
    """
    archive = work / "archive"
    link_pictures(pictures, archive, count)
    plans = {name: work / name for name in ("undisturbed", "disturbed")}
    for run in plans.values():
        if not run.exists():
            arguments = ["plan", str(archive), "-o", str(run), "--partition-size", str(partition_size)]
            for option, value in (("--bundle", bundle), ("--variant", variant)):
                arguments += [] if value is None else [option, value]
            if code := batch_command(arguments).wait():
                again = " ".join(arguments)
                raise EdgeInferError(
                    f"`batch plan` ended with exit code {code}.", f"Run by hand: edge-infer batch {again}"
                )
    ledger = _Ledger(work / "ledger.json")
    start, worked = time.monotonic(), _processor_seconds()
    run_until_done(plans["undisturbed"], workers)
    undisturbed, worked = time.monotonic() - start, _processor_seconds() - worked
    progress(f"undisturbed: {count} pictures in {undisturbed:.0f} s, {worked:.0f} s of processor time")
    start = time.monotonic()
    _kill_at_random(plans["disturbed"], kills, workers, random.Random(seed), ledger, progress)
    run_until_done(plans["disturbed"], workers)
    disturbed = time.monotonic() - start
    first, second = (digests(run) for run in plans.values())
    plan = json.loads((plans["disturbed"] / "plan.json").read_bytes())
    return KillTest(
        pictures=plan["pictures"],
        partitions=len(plan["partitions"]),
        workers=workers,
        bundle=plan["bundle_name"],
        bundle_version=plan["bundle_version"],
        bundle_sha256=plan["bundle_sha256"],
        variant=plan["options"]["variant"],
        kills=len(ledger.kills),
        killed_commands=ledger.kills.count("command"),
        killed_workers=ledger.kills.count("worker"),
        same_bytes=first == second and len(first) == len(plan["partitions"]),
        undisturbed_seconds=round(undisturbed, 1),
        disturbed_seconds=round(disturbed, 1),
        undisturbed_processor_seconds=round(worked, 1),
        starts=ledger.starts,
        parts_sha256=hashlib.sha256("".join(second.values()).encode()).hexdigest(),
    )


def link_pictures(pictures: Sequence[Path], archive: Path, count: int) -> None:
    """Links to the pictures in turn, under `count` unique names; those that are there stay."""
    files = sorted(
        path.resolve()
        for given in pictures
        for path in (given.rglob("*") if given.is_dir() else [given])
        if path.suffix.lower() in PICTURE_SUFFIXES
    )
    if not files:
        raise EdgeInferError("There are no pictures to repeat.", "Give files or folders of pictures.")
    for number in range(count):
        file = files[number % len(files)]
        link = archive / f"{number // 1000:04d}" / f"{number:07d}{file.suffix}"
        if not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)


def batch_command(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """Starts `edge-infer batch` in silence."""
    command = [sys.executable, "-m", "edge_infer.cli", "batch", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def run_until_done(run: Path, workers: int) -> None:
    """Works a plan off.

    Raises:
        EdgeInferError: partitions are left undone, or the command failed otherwise.
    """
    code = batch_command(["run", str(run), "--workers", str(workers)]).wait()
    if code not in (0, 1):
        raise EdgeInferError(f"`batch run` ended with exit code {code}.", f"Run it by hand: edge-infer batch run {run}")


class _Ledger:
    """What of the kills is done, in a file: a test that is cut off goes on with those that are left."""

    def __init__(self, path: Path) -> None:
        said = json.loads(path.read_bytes()) if path.exists() else {}
        self.path = path
        self.starts: int = said.get("starts", 0) + 1
        self.kills: list[str] = said.get("kills", [])
        self._write()

    def add(self, kill: str) -> None:
        self.kills.append(kill)
        self._write()

    def _write(self) -> None:
        write_atomically(self.path, json.dumps({"starts": self.starts, "kills": self.kills}).encode("ascii"))


def _processor_seconds() -> float:
    """Of all ended and waited for children, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _kill_at_random(
    run: Path, kills: int, workers: int, dice: random.Random, ledger: _Ledger, progress: Progress
) -> None:
    """Kills the command or one of its workers when a random share of the parts is there; ends with the run done."""
    total = len(json.loads((run / "plan.json").read_bytes())["partitions"])
    marks = sorted(dice.uniform(0, 0.95 * total) for _ in range(kills))
    process = batch_command(["run", str(run), "--workers", str(workers)])
    for mark in marks[len(ledger.kills) :]:
        while process.poll() is None and len(parts_of(run)) < mark:
            time.sleep(0.05)
        time.sleep(dice.uniform(0, 2))
        if process.poll() is not None:
            raise EdgeInferError(
                f"The run was over before kill {len(ledger.kills) + 1} of {kills}.",
                "Take more pictures, or smaller partitions, and a new --work folder.",
            )
        children = list(_children(process.pid))
        if children and dice.random() < 0.4:
            os.kill(dice.choice(children), signal.SIGKILL)
            ledger.add("worker")
        else:
            process.kill()
            process.wait()
            ledger.add("command")
            process = batch_command(["run", str(run), "--workers", str(workers)])
        progress(f"kill {len(ledger.kills)} of {kills} with {len(parts_of(run))} of {total} parts there")
    process.wait()


def _children(pid: int) -> Iterator[int]:
    """Worker processes of the command, by Linux's /proc."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            line = (path.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == pid and b"spawn_main" in line:
            yield int(path.parent.name)


def parts_of(run: Path) -> list[Path]:
    """Parts that are there, in order."""
    return sorted((run / PARTS).glob("part-*.parquet"))


def digests(run: Path) -> dict[str, str]:
    """SHA-256 of every part, by its name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in parts_of(run)}


def planning_cost(work: Path, counts: Sequence[int], progress: Progress) -> list[Planning]:
    """Plans generated entries, each count in a process of its own."""
    found = []
    for count in counts:
        arguments = [sys.executable, "-c", _PLANNING, str(work / f"plan-{count}"), str(count)]
        done = subprocess.run(arguments, capture_output=True, text=True, check=True)
        seconds, worked, peak, before = map(float, done.stdout.split())
        found.append(
            Planning(count, round(seconds, 2), round(worked, 2), round(before / 1024, 1), round(peak / 1024, 1))
        )
        progress(str(found[-1]))
    return found


def planning_plot(rows: Sequence[Planning]) -> str:
    """Peak memory and processor time over the number of entries, the count on a logarithmic axis, as SVG."""
    width, height, left, top = 560, 300, 60, 20
    low, high = log10(rows[0].entries), log10(rows[-1].entries)

    def x(count: int) -> float:
        return left + (width - 2 * left) * (log10(count) - low) / max(high - low, 1e-9)

    def line(values: Sequence[float], colour: str, name: str, unit: str, y: int) -> str:
        most = max(values)
        spots = [
            (x(row.entries), height - 40 - (height - 90) * v / most, v) for row, v in zip(rows, values, strict=True)
        ]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b, _ in spots)
        marks = "".join(
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>'
            f'<text x="{a:.1f}" y="{b - 7:.1f}" text-anchor="middle" fill="{colour}">{v:g}</text>'
            for a, b, v in spots
        )
        legend = f'<text x="{left}" y="{y}" fill="{colour}">{name}, {unit}</text>'
        return f'<polyline points="{path}" fill="none" stroke="{colour}"/>{marks}{legend}'

    ticks = "".join(
        f'<text x="{x(row.entries):.1f}" y="{height - 20}" text-anchor="middle" fill="#777">{row.entries:,}</text>'
        for row in rows
    )
    body = line([row.peak_mb for row in rows], "#2b8cc4", "peak memory", "MB", top)
    body += line([row.processor_seconds for row in rows], "#d98200", "processor time", "seconds", top + 16)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="11">{body}{ticks}<text x="{width / 2}" y="{height - 4}" text-anchor="middle" fill="#777">'
        "entries planned</text></svg>\n"
    )


def to_json(result: DataclassInstance | Sequence[Planning]) -> str:
    """A result as JSON text."""
    data = [asdict(row) for row in result] if isinstance(result, Sequence) else asdict(result)
    return json.dumps(data, indent=1) + "\n"
