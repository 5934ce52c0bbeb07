"""The engine for a Ray cluster: one Diagnoser an actor, partitions as their tasks, each retried elsewhere."""

from __future__ import annotations

import logging
import os
import socket
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from edge_infer import __version__
from edge_infer.batch.plan import read_plan
from edge_infer.batch.pool import DEATHS, Deaths, Done, WorkerDiedError, open_in_worker, work_one
from edge_infer.batch.running import Engine
from edge_infer.errors import EdgeInferError
from edge_infer.extras import need


class ClusterError(EdgeInferError):
    """A Ray cluster that cannot be reached, or has nothing to work with."""

    code = "cluster"


class Worker:
    """One actor's life, on a node that sees the run's folder and the pictures under the planned paths."""

    def open(self, run: Path, bundle: str | None, version: str) -> EdgeInferError | None:
        """Loads the planned bundle; returns what would stop every worker of this kind."""
        if version != __version__:
            return ClusterError(
                f"The node {socket.gethostname()} has edge-infer {__version__}, the plan is run by {version}.",
                "Install the same version on every node.",
            )
        try:
            self.run, self.plan = run, read_plan(run)
            self.diagnoser = open_in_worker(self.plan, bundle)
        except EdgeInferError as error:
            return error
        return None

    def work(self, index: int) -> Done:
        """Works one partition off."""
        return work_one(self.run, self.plan, index, self.diagnoser)


def cluster(address: str | None, workers: int | None = None) -> Engine:
    """The engine of a Ray cluster.

    Args:
        address: of the cluster's head; None takes `RAY_ADDRESS`, else a cluster that runs on this machine, else starts
            one here for as long as the call lasts.
        workers: actors of one processor each; None takes as many as the cluster has processors now. More than that
            wait for nodes that join.
    """
    return lambda run, indices, bundle: _work(run.resolve(), indices, bundle, address, workers)


def _work(
    run: Path, indices: Iterable[int], bundle: str | None, address: str | None, workers: int | None
) -> Iterator[Done]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray tells its makers about every use otherwise
    ray = need("ray", "ray")
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise ClusterError(
            f"No Ray cluster answers at '{address}': {error}.", "Start one with `ray start --head`, or mend --address."
        ) from error
    try:
        count = workers or int(ray.cluster_resources().get("CPU", 0))
        if not count:
            raise ClusterError("The Ray cluster has no processors.", "Add nodes, or give --workers to wait for some.")
        yield from _Actors(ray, run, bundle, count).work_off(deque(indices))
    finally:
        ray.shutdown()


class _Actors:
    """Actors by the task that each is at: a partition, or None while it opens its bundle."""

    def __init__(self, ray: Any, run: Path, bundle: str | None, count: int) -> None:
        self.ray, self.run, self.bundle, self.count = ray, run, bundle, count
        # Ray's own restarts would keep a dead node's partition waiting for a free processor.
        self.kind = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(Worker)
        self.tasks: dict[Any, tuple[Any, int | None]] = {}
        self.idle: list[Any] = []

    def work_off(self, waiting: deque[int]) -> Iterator[Done]:
        """Yields each partition as it is done; what a dead actor was doing goes to the next that is free."""
        deaths = Deaths()
        stillborn = 0
        while waiting or any(index is not None for _, index in self.tasks.values()):
            self._start(len(waiting))
            while waiting and self.idle:
                actor, next_one = self.idle.pop(), waiting.popleft()
                self.tasks[actor.work.remote(next_one)] = actor, next_one
            (ready,), _ = self.ray.wait(list(self.tasks), num_returns=1)
            actor, index = self.tasks.pop(ready)
            try:
                answer = self.ray.get(ready)
            except self.ray.exceptions.RayError as error:
                self.ray.kill(actor)
                if index is None:
                    stillborn += 1
                    if stillborn == DEATHS * self.count:
                        raise WorkerDiedError(
                            f"{stillborn} actors in a row died while they started: {error}.",
                            "Check that edge-infer is installed on every node, and the nodes' memory.",
                        ) from error
                    continue
                undone = deaths.undone(index, f"last: {error}")
                if undone is None:
                    waiting.appendleft(index)
                else:
                    yield undone
                continue
            self.idle.append(actor)
            if index is None:
                stillborn = 0
                if answer is not None:
                    raise answer
            else:
                yield answer

    def _start(self, waiting: int) -> None:
        """As many actors as there are partitions for, up to the count."""
        while len(self.tasks) + len(self.idle) < self.count and self._opening() + len(self.idle) < waiting:
            actor = self.kind.remote()
            self.tasks[actor.open.remote(self.run, self.bundle, __version__)] = actor, None

    def _opening(self) -> int:
        return sum(index is None for _, index in self.tasks.values())
