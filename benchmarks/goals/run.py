"""All goals in one run, one after the other; one that fails takes no other with it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from benchmarks.goals.measures import (
    COLD_NAME,
    LARGE_NAME,
    MANY_NAME,
    MEMORY_NAME,
    OURS,
    OUTSIDE_NAME,
    PAIR_NAME,
    cold_start,
    from_peers,
    large_picture,
    many_pictures,
    memory,
    outside_networks,
)
from benchmarks.goals.record import SCHEMA_VERSION, Goal, Goals, goal
from benchmarks.watch import Watch
from edge_infer.benchmark.measure import Effort
from edge_infer.benchmark.runners import read_pictures
from edge_infer.bundle.store import Bundle, load_bundle

PARTS = ("speed-ups", "outside", "large", "cold", "many", "memory")
"""What can be measured alone."""


@dataclass(frozen=True)
class Settings:
    """How long to measure.

    Attributes:
        segmenter, classifier: of the pair, in the trainer's registry.
        rounds: of every comparison.
        seconds: of every Offline figure.
        memory_pictures: how many pictures the memory is watched over.
        speed_ups: also run the peers; False where their file is given.
        parts: those of `PARTS` to measure.
    """

    segmenter: str = "unetplusplus"
    classifier: str = "resnet50"
    rounds: int = 30
    seconds: float = 20.0
    memory_pictures: int = 10_000
    speed_ups: bool = True
    parts: tuple[str, ...] = PARTS


def measure_goals(
    small: Bundle,
    pair: Callable[[], Mapping[str, Path]],
    pictures: Sequence[Path],
    settings: Settings,
    progress: Callable[[str], None],
    keep: Callable[[Goals], None] = lambda goals: None,
) -> Goals:
    """Measures every goal, one after the other; what fails is a goal without a figure and the others go on.

    Args:
        small: the shipped bundle.
        pair: gives the pair's bundles by precision; called once, since exporting them takes a minute or two.
        pictures: files or folders.
        settings: how long to measure.
        progress: is told what is being done.
        keep: gets what there is after every step, so that an interrupted run is not lost.
    """
    created, start, watch = datetime.now(UTC), time.perf_counter(), Watch()
    encoded, found = read_pictures(pictures), list[Goal]()
    rounds, bundles = settings.rounds, dict[str, Path]()

    def goals() -> Goals:
        machine = watch.machine()
        return Goals(
            schema_version=SCHEMA_VERSION,
            created=created.isoformat(timespec="seconds"),
            machine=f"{machine.processor}, {machine.usable_processors} processors, {machine.system}",
            bundle=f"{small.manifest.name} {small.sha256}",
            pair=f"{settings.segmenter} + {settings.classifier}, int8",
            heartbeat_ms=tuple(watch.pulse.samples),
            goals=tuple(found),
            seconds=time.perf_counter() - start,
            warnings=watch.stability().warnings,
        )

    def attempt(
        part: str, name: str, relation: Literal["<=", ">="], limit: float, measure: Callable[[], list[Goal]]
    ) -> None:
        if part not in settings.parts:
            return
        progress(f"{time.perf_counter() - start:4.0f} s  {name}")
        try:
            found.extend(measure())
        except Exception as error:  # a peer that breaks must not take the other goals with it
            found.append(goal(name, relation, limit, None, f"failed: {type(error).__name__}: {error}", {}))
        keep(goals())

    def exported(precision: str) -> Bundle:
        if not bundles:
            bundles.update(pair())
        return load_bundle(bundles[precision])

    def speed_ups() -> list[Goal]:
        exported("int8")
        from benchmarks.peers import run_peers

        return from_peers(
            run_peers(
                {**bundles, "shipped": small.path},
                pictures,
                peers=("torch-eager", "openvino-int8", *OURS, "shipped"),
                threads=(1,),
                segmenter=settings.segmenter,
                classifier=settings.classifier,
                effort=Effort(warmup=3, runs=rounds, seconds=0.0, block=3),
            )
        )

    if settings.speed_ups:
        attempt("speed-ups", PAIR_NAME, ">=", 4.3, speed_ups)
    effort = Effort(warmup=3, runs=2 * rounds, seconds=0.0, block=5)
    attempt("outside", OUTSIDE_NAME, "<=", 2.5, lambda: [outside_networks(small, encoded, effort, watch.pulse)])
    attempt("large", LARGE_NAME, "<=", 0.3, lambda: large_picture(small, encoded[0], rounds))
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.jpg"
        picture.write_bytes(encoded[0])
        attempt("cold", COLD_NAME, "<=", 1.8, lambda: [cold_start(small, picture, rounds)])
    attempt("many", MANY_NAME, ">=", 0.97, lambda: [many_pictures(small, encoded, settings.seconds, watch.pulse)])
    attempt("memory", MEMORY_NAME, "<=", 1.02, lambda: [memory(small, encoded, settings.memory_pictures, progress)])
    return goals()
