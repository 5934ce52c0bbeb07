"""A batch on a Ray cluster of two nodes on this machine, of which one loses a worker and the other is lost whole.

A node is all processes of one session, so that killing it is killing these: nobody says goodbye, as when power fails.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.archive import (
    Progress,
    batch_command,
    digests,
    link_pictures,
    parts_of,
    run_until_done,
)
from edge_infer.batch.parts import read_rows
from edge_infer.batch.plan import LOGS
from edge_infer.errors import EdgeInferError
from edge_infer.extras import need

PATIENCE = 180.0
START_ATTEMPTS = 3
_WORKING = b"ray::Worker.work"


@dataclass(frozen=True)
class RayKills:
    """What a run on a cluster with kills found.

    Attributes:
        pictures, partitions: of the plan.
        bundle, bundle_version, bundle_sha256: that answered.
        ray: its version.
        killed_workers, killed_nodes: with SIGKILL while they worked on a partition.
        parts_at_kills: how many parts were there when the worker and when the node was killed.
        rows, distinct_pictures: of all parts.
        done_once: whether the run's log names each partition as done exactly once.
        same_bytes: whether every part equals that of an undisturbed run without Ray.
        seconds: wall time of the run on the cluster.
    """

    pictures: int
    partitions: int
    bundle: str
    bundle_version: str
    bundle_sha256: str
    ray: str
    killed_workers: int
    killed_nodes: int
    parts_at_kills: tuple[int, int]
    rows: int
    distinct_pictures: int
    done_once: bool
    same_bytes: bool
    seconds: float

    @property
    def whole(self) -> bool:
        """Nothing lost, nothing twice."""
        return self.done_once and self.same_bytes and self.pictures == self.rows == self.distinct_pictures


def ray_kill_test(
    pictures: Sequence[Path],
    work: Path,
    *,
    count: int,
    partition_size: int,
    bundle: str | None,
    progress: Progress,
) -> RayKills:
    """Runs an archive without Ray, and once more on two nodes of which a worker and then the other node are killed.

    Args:
        pictures: files or folders; repeated under unique names up to `count`.
        work: folder for the archive and both runs, new or empty.
        count, partition_size, bundle: of the test.
        progress: takes lines for people.

    Raises:
        ExtraNotInstalledError: Ray is not installed.
        EdgeInferError: a command failed, or the run was over before both kills.
    """
    ray = need("ray", "ray")
    link_pictures(pictures, work / "archive", count)
    alone, run = work / "alone", work / "on-ray"
    for folder in (alone, run):
        extra = [] if bundle is None else ["--bundle", bundle]
        arguments = ["plan", str(work / "archive"), "-o", str(folder), "--partition-size", str(partition_size), *extra]
        batch_command(arguments).wait()
    run_until_done(alone, 2)
    progress(f"{count} pictures without Ray: done")
    total = len(parts_of(alone))
    with _two_nodes() as (address, first, second):
        progress("two nodes are up")
        start = time.monotonic()
        command = batch_command(["run", str(run), "--on", "ray", "--address", address])
        try:
            there = []
            for share, node, whole in ((0.2, first, False), (0.5, second, True)):
                there.append(_kill_working(node, whole, round(share * total), command, run))
                progress(f"killed {'a node' if whole else 'a worker'} with {there[-1]} of {total} parts there")
            code = command.wait()
        finally:
            command.kill()
            command.wait()
        seconds = time.monotonic() - start
    if code not in (0, 1):
        raise EdgeInferError(f"`batch run --on ray` ended with exit code {code}.", f"See {run / LOGS}.")
    plan = json.loads((run / "plan.json").read_bytes())
    sources = [row["source"] for part in parts_of(run) for row in read_rows(part, ["source"])]
    logged = [json.loads(line) for log in (run / LOGS).iterdir() for line in log.read_text().splitlines()]
    return RayKills(
        pictures=plan["pictures"],
        partitions=total,
        bundle=plan["bundle_name"],
        bundle_version=plan["bundle_version"],
        bundle_sha256=plan["bundle_sha256"],
        ray=ray.__version__,
        killed_workers=1,
        killed_nodes=1,
        parts_at_kills=(there[0], there[1]),
        rows=len(sources),
        distinct_pictures=len(set(sources)),
        done_once=sorted(line["partition"] for line in logged if line["status"] is not None) == list(range(total)),
        same_bytes=digests(run) == digests(alone),
        seconds=round(seconds, 1),
    )


@contextmanager
def _two_nodes() -> Iterator[tuple[str, int, int]]:
    """Address of a new cluster, and the sessions of its two nodes of one processor each; they are killed at the end."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # its sockets' names may not be long
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"127.0.0.1:{port}"
    sessions: list[int] = []
    try:
        for arguments in (["--head", f"--port={port}", f"--temp-dir={folder}", "--include-dashboard=false"], []):
            _start(arguments or [f"--address={address}"], sessions)
        yield address, sessions[0], sessions[1]
    finally:
        for session in sessions:
            _kill(_processes(session))
        shutil.rmtree(folder, ignore_errors=True)


def _start(arguments: Sequence[str], sessions: list[int]) -> None:
    """One node, whose session is added. Ray gives it half a minute to come up: on a busy machine it is tried again."""
    options = ["--node-ip-address=127.0.0.1", "--num-cpus=1", "--object-store-memory=100000000"]
    said = ""
    for _ in range(START_ATTEMPTS):
        started = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", *arguments, *options, "--disable-usage-stats"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "RAY_worker_niceness": "0"},  # on a busy machine workers would starve
            text=True,
        )
        sessions.append(started.pid)
        said = started.communicate()[0]
        if not started.returncode:
            return
        _kill(_processes(sessions.pop()))
    raise EdgeInferError(f"`ray start` failed: {said[-500:]}", "Start a node by hand to see why.")


def _kill_working(session: int, whole: bool, due: int, command: subprocess.Popen[bytes], run: Path) -> int:
    """Kills a node, or its worker alone, while it works and `due` parts are there; returns how many were."""
    end = time.monotonic() + PATIENCE
    while True:
        if command.poll() is not None or time.monotonic() > end:
            raise EdgeInferError("The run was over, or stood still, before the kill.", "Take more pictures.")
        processes = _processes(session)
        working = [pid for pid, words in processes.items() if words.startswith(_WORKING)]
        there = len(parts_of(run))
        if there >= due and working:
            _kill(processes if whole else working)
            return there
        time.sleep(0.02)


def _processes(session: int) -> dict[int, bytes]:
    """Command lines of a session's processes, by Linux's /proc."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                found[int(path.parent.name)] = (path.parent / "cmdline").read_bytes()
        except OSError:
            continue
    return found


def _kill(processes: Iterable[int]) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
