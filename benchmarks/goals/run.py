"""All goals in one run, one after the other; one that fails takes no other with it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.goals.measures import (
    BARE,
    COLD,
    LARGE,
    LARGE_MS,
    MANY,
    MEMORY,
    OURS,
    OUTSIDE,
    PAIR,
    SHIPPED,
    SHIPPED_AS,
    cold_start,
    from_peers,
    large_picture,
    many_pictures,
    memory,
    outside_networks,
)
from benchmarks.goals.record import SCHEMA_VERSION, Goal, Goals, Limit, goal
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

    def attempt(part: str, measure: Callable[[], list[Goal]], *limits: Limit) -> None:
        if part not in settings.parts:
            return
        progress(f"{time.perf_counter() - start:4.0f} s  {', '.join(name for name, _, _ in limits)}")
        try:
            found.extend(measure())
        except Exception as error:  # a peer that breaks must not take the other goals with it
            why = f"failed: {type(error).__name__}: {error}"
            found.extend(goal(limit, None, why, {}) for limit in limits)
        keep(goals())

    def exported(precision: str) -> Bundle:
        if not bundles:
            bundles.update(pair())
        return load_bundle(bundles[precision])

    def speed_ups() -> list[Goal]:
        exported("int8")
        from benchmarks.peers import run_peers

        results = run_peers(
            {**bundles, "shipped": small.path},
            pictures,
            peers=("torch-eager", "openvino-int8", *OURS, *SHIPPED_AS),
            threads=(1,),
            segmenter=settings.segmenter,
            classifier=settings.classifier,
            effort=Effort(warmup=3, runs=rounds, seconds=0.0, block=3),
        )
        watch.pulse.samples += results.stability.heartbeat_ms
        return from_peers(results)

    if settings.speed_ups:
        attempt("speed-ups", speed_ups, PAIR, BARE, SHIPPED)
    effort = Effort(warmup=3, runs=2 * rounds, seconds=0.0, block=5)
    attempt("outside", lambda: [outside_networks(small, encoded, effort, watch.pulse)], OUTSIDE)
    attempt("large", lambda: large_picture(small, encoded[0], rounds), LARGE_MS, LARGE)
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.jpg"
        picture.write_bytes(encoded[0])
        attempt("cold", lambda: [cold_start(small, picture, rounds)], COLD)
    attempt("many", lambda: [many_pictures(small, encoded, settings.seconds, watch.pulse)], MANY)
    attempt("memory", lambda: [memory(small, encoded, settings.memory_pictures, progress)], MEMORY)
    return goals()
