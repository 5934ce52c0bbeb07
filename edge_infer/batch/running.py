"""Works off what is missing of a plan, here or on an engine, and logs what it took."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edge_infer import __version__
from edge_infer.batch.parts import Tally, part_tally, sweep
from edge_infer.batch.plan import LOGS, PARTS, Plan, read_plan
from edge_infer.batch.pool import Done, work_with_processes
from edge_infer.errors import EdgeInferError, InputError
from edge_infer.files import OutputError, make_writable_folder

Engine = Callable[[Path, Iterable[int], str | None], Iterator[Done]]
"""Works partitions off in any order: the run's folder, the partitions, and where the bundle is."""


@dataclass
class Progress:
    """How far one call has come.

    Attributes:
        pictures, partitions: this call's share: all of it, what was there before, and what it has done.
        tally: of all that is done of the share.
        failures: why partitions are left undone.
    """

    pictures: int
    partitions: int
    found_pictures: int
    found_partitions: int
    tally: Tally
    failures: list[EdgeInferError]
    done_pictures: int = 0
    done_partitions: int = 0
    started: float = 0.0

    @property
    def rate(self) -> float:
        """Pictures a second of this call so far."""
        return self.done_pictures / max(time.monotonic() - self.started, 1e-9)

    @property
    def left(self) -> int:
        """Pictures that this call has still to do."""
        return self.pictures - self.found_pictures - self.done_pictures


def processes(workers: int) -> Engine:
    """The engine of one machine."""
    return lambda run, indices, bundle: work_with_processes(run, indices, workers, bundle)


def run_batch(
    run: Path,
    engine: Engine,
    *,
    shard: tuple[int, int] = (1, 1),
    bundle: str | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Does what is missing of a plan.

    Args:
        run: folder of the plan.
        engine: works the partitions off.
        shard: (i, n): only partitions whose index is i - 1 modulo n.
        bundle: where the bundle is on this machine, if elsewhere than the plan says.
        report: called at the start and after every partition.

    Raises:
        InputError: there is no plan, or another version of the package made it.
        OutputError: a folder of the run, or the log in it, cannot be written.
        EdgeInferError: what stops all work; a single partition's failure is in `Progress.failures`.
    """
    plan = read_plan(run)
    if plan.edge_infer != __version__:
        raise InputError(
            f"'{run}' was planned by edge-infer {plan.edge_infer}, this is {__version__}; its parts might differ.",
            "Use that version, or plan again into a new folder.",
        )
    for folder in (PARTS, LOGS):
        make_writable_folder(run / folder)
    sweep(run)
    mine = range(shard[0] - 1, len(plan.partitions), shard[1])
    sha = plan.sha256
    found = {index: tally for index in mine if (tally := part_tally(run, plan, index, sha)) is not None}
    missing = [index for index in mine if index not in found]
    progress = Progress(
        pictures=sum(plan.partitions[index].pictures for index in mine),
        partitions=len(mine),
        found_pictures=sum(plan.partitions[index].pictures for index in found),
        found_partitions=len(found),
        tally=sum(found.values(), Tally.empty()),
        failures=[],
        started=time.monotonic(),
    )
    report(progress)
    if missing:
        _work(run, plan, engine(run, missing, bundle), progress, report)
    return progress


def _work(
    run: Path, plan: Plan, stream: Iterator[Done], progress: Progress, report: Callable[[Progress], None]
) -> None:
    log = run / LOGS / f"{socket.gethostname()}-{os.getpid()}.ndjson"
    _append(log, "")
    for done in stream:
        if done.tally is None:
            progress.failures.append(done.failure or EdgeInferError(f"Partition {done.index} was not done."))
        else:
            progress.tally += done.tally
            progress.done_partitions += 1
            progress.done_pictures += plan.partitions[done.index].pictures
        _append(log, json.dumps(_log_line(done, progress)) + "\n")
        report(progress)


def _append(log: Path, text: str) -> None:
    """Opened for every line: a line that a full disk refused is not tried again when the file is closed."""
    try:
        with log.open("a", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise OutputError(
            f"Cannot write '{log}': {error.strerror or error}.",
            "Make room or mend permissions, and run again: finished partitions stay.",
        ) from error


def _log_line(done: Done, progress: Progress) -> dict[str, object]:
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "partition": done.index,
        "status": None if done.tally is None else dict(done.tally.status),
        "error": None if done.failure is None else done.failure.to_dict(),
        "pictures_a_second": round(progress.rate, 3),
    }
