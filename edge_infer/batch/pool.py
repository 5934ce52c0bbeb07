"""Worker processes that may die: what one was doing is given to another, and after three deaths left undone."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from edge_infer.batch.parts import Tally
from edge_infer.batch.plan import Plan, read_plan
from edge_infer.errors import EdgeInferError

DEATHS = 3
"""How many workers a partition may take with it before it is left undone."""


@dataclass(frozen=True)
class Done:
    """What became of a partition: its tally, or why it is left undone."""

    index: int
    tally: Tally | None
    failure: EdgeInferError | None


class WorkerDiedError(EdgeInferError):
    """Worker processes died on a partition: out of memory, or killed, or a picture that crashes a decoder."""

    code = "worker-died"


class _Worker:
    """One process and its pipe."""

    def __init__(self, context: Any, run: Path, bundle: str | None) -> None:
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, run, bundle), daemon=True)
        self.process.start()
        theirs.close()
        self.index: int | None = None

    def stop(self) -> None:
        """Ends it; it is idle, or what it does is not wanted any more."""
        self.pipe.close()
        self.process.terminate()
        self.process.join()


def work_with_processes(run: Path, indices: Iterable[int], workers: int, bundle: str | None = None) -> Iterator[Done]:
    """Works partitions off with `workers` processes of one thread each; yields each as it is done.

    Raises:
        EdgeInferError: what would stop every worker, such as a bundle that is not the planned one.
    """
    context = multiprocessing.get_context("spawn")
    waiting = deque(indices)
    deaths = Deaths()
    pool: list[_Worker] = []
    try:
        while waiting or any(worker.index is not None for worker in pool):
            while len(pool) < min(workers, len(waiting) + sum(worker.index is not None for worker in pool)):
                pool.append(_Worker(context, run, bundle))
            for worker in pool:
                if worker.index is None and waiting:
                    worker.index = waiting.popleft()
                    _send(worker.pipe, worker.index)
            ready = wait([worker.pipe for worker in pool if worker.index is not None])
            for worker in [worker for worker in pool if worker.pipe in ready]:
                index = worker.index
                if index is None:
                    continue
                try:
                    fatal, done = worker.pipe.recv()
                except (EOFError, OSError):
                    worker.stop()
                    pool.remove(worker)
                    undone = deaths.undone(index, f"last exit code {worker.process.exitcode}")
                    if undone is None:
                        waiting.append(index)
                    else:
                        yield undone
                    continue
                worker.index = None
                if fatal is not None:
                    raise fatal
                yield done
    finally:
        for worker in pool:
            worker.stop()


class Deaths:
    """Counts the workers that died, by the partition that they were at."""

    def __init__(self) -> None:
        self._workers: Counter[int] = Counter()

    def undone(self, index: int, how: str) -> Done | None:
        """One more, and its partition left undone after `DEATHS`; until then None: it is to be tried again."""
        self._workers[index] += 1
        if self._workers[index] < DEATHS:
            return None
        error = WorkerDiedError(
            f"{DEATHS} workers died on partition {index} ({how}).",
            "Check memory, use fewer --workers, or look for the picture that crashes with `edge-infer diagnose`.",
        )
        return Done(index, None, error)


def _send(pipe: Connection, index: int) -> None:
    try:
        pipe.send(index)
    except OSError:
        return  # the worker is dead; its pipe says so when it is read


def _serve(pipe: Connection, run: Path, bundle: str | None) -> None:
    """A worker's life: partitions come through the pipe until it is closed."""
    threading.Thread(target=_follow_parent, daemon=True).start()
    try:
        plan = read_plan(run)
        diagnoser = open_in_worker(plan, bundle)
    except EdgeInferError as error:
        pipe.recv()
        pipe.send((error, None))
        return
    with diagnoser:
        while True:
            try:
                index = pipe.recv()
            except (EOFError, OSError):
                return
            pipe.send((None, work_one(run, plan, index, diagnoser)))


def open_in_worker(plan: Plan, bundle: str | None) -> Any:
    """The plan's `Diagnoser` for a process of one thread."""
    import cv2

    from edge_infer.batch.work import open_diagnoser

    cv2.setNumThreads(1)
    return open_diagnoser(plan, bundle)


def work_one(run: Path, plan: Plan, index: int, diagnoser: Any) -> Done:
    """Works one partition off; its failure is an answer too."""
    from edge_infer.batch.work import work_off

    try:
        return Done(index, work_off(run, plan, index, diagnoser), None)
    except EdgeInferError as error:
        return Done(index, None, error)


def _follow_parent() -> None:
    """Whoever kills the parent need not look for its workers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
