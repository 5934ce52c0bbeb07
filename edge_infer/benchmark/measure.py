"""Scenarios, as in MLPerf Inference: SingleStream, MultiStream, Offline; and Sustained.

Every scenario takes its targets in rotation, a few queries each, so that a slow minute of the machine falls on all of
them. All samples are kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from edge_infer.benchmark.hardware import energy_joules
from edge_infer.benchmark.probe import heartbeat
from edge_infer.benchmark.results import Latency, Sustained, Throughput, percentiles_of
from edge_infer.benchmark.runners import Runner, Sample
from edge_infer.errors import EdgeInferError

MINIMUM_ROUNDS = 5
T = TypeVar("T")


class RunnerError(Exception):
    """A runner failed while it was measured; `name` says which, the cause says why."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True)
class Effort:
    """How long to measure: every target gets at least `runs` queries and `seconds` of them, `block` at a time."""

    warmup: int = 5
    runs: int = 600
    seconds: float = 5.0
    block: int = 10


@dataclass
class Pulse:
    """Collects heartbeats over all scenarios of a run."""

    samples: list[float] = field(default_factory=list)

    def beat(self) -> None:
        """Takes one."""
        self.samples.append(heartbeat())


def measure_latency(runners: Sequence[Runner], size: int, effort: Effort, pulse: Pulse) -> dict[str, Latency]:
    """Times queries of `size` pictures: SingleStream for 1, MultiStream for 8.

    In every rotation each runner gets the same pictures; who comes first changes from rotation to rotation.

    Returns:
        By the runner's name.

    Raises:
        RunnerError: one failed; so do the others below.
    """
    for runner in runners:
        with _blaming(runner):
            for i in range(effort.warmup):
                runner.query(i * size, size)
    samples: dict[str, list[Sample]] = {runner.name: [] for runner in runners}
    rounds: list[int] = []
    number = 0
    while number < MINIMUM_ROUNDS or not _enough(samples, effort):
        pulse.beat()
        for runner in _turned(runners, number):
            with _blaming(runner):
                for i in range(effort.block):
                    samples[runner.name].append(runner.query((number * effort.block + i) * size, size))
        rounds.extend([number] * effort.block)
        number += 1
    return {name: _latency(size, taken, rounds) for name, taken in samples.items()}


def measure_offline(
    runners: Sequence[Runner],
    batch_size: int,
    threads: Sequence[int],
    workers: Sequence[int],
    seconds: float,
    pulse: Pulse,
) -> list[Throughput]:
    """Throughput of each runner, in rotation over at least `MINIMUM_ROUNDS` segments.

    Args:
        runners: the configurations.
        batch_size: pictures per network call.
        threads: of each runner, for the record.
        workers: callers at the same time, for each runner.
        seconds: of all segments of one runner together.
        pulse: takes heartbeats between rotations.

    Returns:
        In the runners' order.
    """
    length = seconds / MINIMUM_ROUNDS
    for runner, callers in zip(runners, workers, strict=True):
        with _blaming(runner):
            runner.segment(min(length, 1.0), batch_size, callers)
    segments: list[list[tuple[int, float, float]]] = [[] for _ in runners]
    for number in range(MINIMUM_ROUNDS):
        pulse.beat()
        for i in _turned(range(len(runners)), number):
            with _blaming(runners[i]):
                done = runners[i].segment(length, batch_size, workers[i])
            segments[i].append((done.pictures, done.seconds, done.cpu_seconds))
    return [
        _throughput(batch_size, count, callers, taken)
        for count, callers, taken in zip(threads, workers, segments, strict=True)
    ]


def measure_sustained(runner: Runner, minutes: float, pulse: Pulse) -> Sustained:
    """Diagnoses single pictures back to back for `minutes`."""
    start, energy = time.perf_counter(), energy_joules()
    ends: list[float] = []
    walls: list[float] = []
    pulse.beat()
    while (now := time.perf_counter() - start) < minutes * 60 or len(walls) < 10:
        with _blaming(runner):
            walls.append(runner.query(len(walls), 1).wall_ms)
        ends.append(time.perf_counter() - start)
    pulse.beat()
    after = energy_joules()
    used = None if energy is None or after is None or after < energy else (after - energy) / len(walls)
    return Sustained(minutes, tuple(ends), tuple(walls), last_over_first(ends, now), used)


def last_over_first(end_seconds: Sequence[float], seconds: float) -> float:
    """Pictures finished in the last tenth of the time over those in the first tenth: 1 is steady, below 1 throttles."""
    tenth = seconds / 10
    first = sum(1 for end in end_seconds if end <= tenth)
    last = sum(1 for end in end_seconds if seconds - tenth < end <= seconds)
    return last / max(first, 1)


@contextmanager
def _blaming(runner: Runner) -> Iterator[None]:
    try:
        yield
    except EdgeInferError as error:
        raise RunnerError(runner.name) from error


def _enough(samples: dict[str, list[Sample]], effort: Effort) -> bool:
    return all(
        len(taken) >= effort.runs and sum(sample.wall_ms for sample in taken) >= effort.seconds * 1000
        for taken in samples.values()
    )


def _turned(items: Sequence[T], by: int) -> list[T]:
    by %= len(items)
    return [*items[by:], *items[:by]]


def _latency(size: int, samples: Sequence[Sample], rounds: Sequence[int]) -> Latency:
    wall = tuple(sample.wall_ms for sample in samples)
    names = samples[0].stages_ms
    return Latency(
        size=size,
        wall_ms=wall,
        cpu_ms=tuple(sample.cpu_ms for sample in samples),
        rounds=tuple(rounds),
        stages_ms={name: tuple(sample.stages_ms[name] for sample in samples) for name in names},
        percentiles=percentiles_of(wall),
    )


def _throughput(
    batch_size: int, threads: int, workers: int, segments: Sequence[tuple[int, float, float]]
) -> Throughput:
    pictures, seconds, cpu = zip(*segments, strict=True)
    return Throughput(
        batch_size=batch_size,
        threads=threads,
        workers=workers,
        segment_pictures=pictures,
        segment_seconds=seconds,
        segment_cpu_seconds=cpu,
        pictures_per_second=sum(pictures) / sum(seconds),
    )
