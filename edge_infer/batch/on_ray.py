"""Partitions as tasks of Ray actors: one Diagnoser an actor, restarted and asked again where a node is lost."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from edge_infer.batch.plan import Plan, read_plan
from edge_infer.batch.pool import DEATHS, Done, WorkerDiedError
from edge_infer.batch.running import Engine
from edge_infer.errors import EdgeInferError
from edge_infer.extras import need


def ray_engine(workers: int | None, address: str | None) -> Engine:
    """The engine of a Ray cluster. The run's folder and the pictures must be at the same paths on every node.

    Args:
        workers: actors of one processor each; None takes the cluster's processors.
        address: of a running cluster, "auto" for the one of this machine; None starts one that ends with this process.
    """
    return lambda run, indices, bundle: _on_ray(run.resolve(), indices, bundle, workers, address)


class Actor:
    """One process of the cluster with the planned bundle open."""

    def __init__(self, run: Path, bundle: str | None) -> None:
        """Opens the bundle at the first partition, so that what is wrong with it reaches the caller as it is."""
        self._run, self._bundle = run, bundle
        self._plan: Plan = read_plan(run)
        self._diagnoser: Any = None

    def work(self, index: int) -> tuple[EdgeInferError | None, Done | None]:
        """What stops everything, or what became of this partition."""
        import cv2

        from edge_infer.batch.work import open_diagnoser, work_off

        if self._diagnoser is None:
            cv2.setNumThreads(1)
            try:
                self._diagnoser = open_diagnoser(self._plan, self._bundle)
            except EdgeInferError as error:
                return error, None
        try:
            return None, Done(index, work_off(self._run, self._plan, index, self._diagnoser), None)
        except EdgeInferError as error:
            return None, Done(index, None, error)


def _on_ray(
    run: Path, indices: Iterable[int], bundle: str | None, workers: int | None, address: str | None
) -> Iterator[Done]:
    ray = need("ray", "ray")
    started = not ray.is_initialized()
    if started:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    try:
        count = workers or max(int(ray.cluster_resources().get("CPU", 1)), 1)
        waiting = list(reversed(list(indices)))
        remote = ray.remote(num_cpus=1, max_restarts=-1, scheduling_strategy="SPREAD")(Actor)
        actors = [remote.remote(run, bundle) for _ in range(min(count, len(waiting)))]
        deaths: dict[int, int] = {}
        tasks = {
            actor.work.remote(index): (actor, index) for actor in actors if waiting and (index := waiting.pop()) >= 0
        }
        while tasks:
            (ready, *_), _ = ray.wait(list(tasks), num_returns=1)
            actor, index = tasks.pop(ready)
            try:
                fatal, done = ray.get(ready)
            except ray.exceptions.RayError as error:
                deaths[index] = deaths.get(index, 0) + 1
                if deaths[index] < DEATHS:
                    waiting.append(index)
                else:
                    yield Done(index, None, _lost(index, error))
            else:
                if fatal is not None:
                    raise fatal
                yield done
            if waiting:
                index = waiting.pop()
                tasks[actor.work.remote(index)] = (actor, index)
    finally:
        if started:
            ray.shutdown()


def _lost(index: int, error: Exception) -> WorkerDiedError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return WorkerDiedError(
        f"{DEATHS} actors were lost on partition {index}: {reason}",
        "Run again: only what is missing is done. Check the nodes' memory if it fails again.",
    )
