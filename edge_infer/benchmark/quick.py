"""The short answer: which installed engine and variant is fastest here inside its gate, and the options for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from edge_infer.benchmark.accuracy import replay_golden
from edge_infer.benchmark.measure import Effort, Pulse, RunnerError, measure_latency
from edge_infer.benchmark.opening import OpenTarget, discover, open_target
from edge_infer.benchmark.results import Latency, Results
from edge_infer.benchmark.runners import LocalRunner, load_pictures
from edge_infer.benchmark.stats import Interval, ratio_of_medians
from edge_infer.benchmark.targets import DEFAULT_TARGET, Target, find_target
from edge_infer.bundle.manifest import DEFAULT_VARIANT
from edge_infer.bundle.store import Bundle
from edge_infer.errors import EdgeInferError

OPENING_SECONDS = 14.0
MEASURING_SECONDS = 12.0
"""Targets that are not open by then, or too slow to be measured in the time after it, are left out and named, so that
the whole takes less than half a minute."""
_MOST, _FEWEST = 12, 4


@dataclass(frozen=True)
class Candidate:
    """One way to run the bundle.

    Attributes:
        target: of the catalogue.
        milliseconds: median of one encoded 600x450 picture to its diagnosis; None where it was not measured.
        faster: how many times faster than the default, with its interval; None for the default itself.
        why: why there is no figure; "" where there is one.
    """

    target: Target
    milliseconds: float | None
    faster: Interval | None = None
    why: str = ""


def quick_look(
    bundle: Bundle,
    threads: int,
    progress: Callable[[str], None] = lambda text: None,
    opener: Callable[[Target, Bundle, int], OpenTarget] = open_target,
) -> list[Candidate]:
    """Measures what is installed, in turn, on the bundle's own pictures; the default comes first.

    Args:
        bundle: loaded and checked.
        threads: of each network.
        progress: is told what is being done.
        opener: loads a target; tests give their own.
    """
    start = time.monotonic()
    pictures, _ = load_pictures((), bundle)
    names = [entry.target for entry in discover(bundle) if entry.available]
    names.sort(key=lambda name: name != DEFAULT_TARGET)
    runners: dict[str, LocalRunner] = {}
    missing: dict[str, str] = {}
    for name in names:
        if runners and time.monotonic() - start > OPENING_SECONDS:
            missing[name] = f"no time left; measure it alone: --target {name}"
            continue
        progress(f"loading {name}")
        target = find_target(name)
        try:
            opened = opener(target, bundle, threads)
            runner = LocalRunner(name, bundle, opened.segmenter, opened.classifier, pictures, threads, opened.variant)
            failed = [check.measure for check in replay_golden(runner.diagnoser) if not check.passed]
        except EdgeInferError as error:
            missing[name] = str(error)
            continue
        if failed:
            missing[name] = f"outside the bundle's gate: {', '.join(failed)}"
            runner.close()
        else:
            runners[name] = runner
    progress("measuring")
    times = _measure(runners, missing, _runs(runners, missing))
    for runner in runners.values():
        runner.close()
    return [_candidate(name, times, missing) for name in names]


def _runs(runners: dict[str, LocalRunner], missing: dict[str, str]) -> int:
    """How many pictures each target gets in the time there is; targets that do not get the fewest are taken out."""
    spent: dict[str, float] = {}
    for name, runner in list(runners.items()):
        start = time.perf_counter()
        try:
            runner.query(0, 1)
        except EdgeInferError as error:
            runners.pop(name).close()
            missing[name] = str(error)
        else:
            spent[name] = time.perf_counter() - start
    default = next(iter(spent), "")
    for name in sorted(spent, key=lambda name: spent[name], reverse=True):
        if name != default and sum(spent.values()) * _FEWEST > MEASURING_SECONDS:
            runners.pop(name).close()
            missing[name] = f"{spent.pop(name):.1f} s a picture: too slow to measure here; --target {name}"
    each = max(sum(spent.values()), 1e-6)
    return max(_FEWEST, min(_MOST, int(MEASURING_SECONDS / each)))


def _measure(runners: dict[str, LocalRunner], missing: dict[str, str], runs: int) -> dict[str, Latency]:
    effort = Effort(warmup=1, runs=runs, seconds=0.0, block=2)
    while runners:
        try:
            return measure_latency(list(runners.values()), 1, effort, Pulse())
        except RunnerError as error:
            runners.pop(error.name).close()
            missing[error.name] = str(error.__cause__)
    return {}


def _candidate(name: str, times: dict[str, Latency], missing: dict[str, str]) -> Candidate:
    target, base = find_target(name), times.get(DEFAULT_TARGET)
    if name not in times:
        return Candidate(target, None, None, missing.get(name, "not measured"))
    own = times[name]
    faster = None
    if base is not None and name != DEFAULT_TARGET:
        faster = ratio_of_medians(base.wall_ms, base.rounds, own.wall_ms, own.rounds)
    return Candidate(target, median(own.wall_ms), faster)


def fastest_of(results: Results) -> str:
    """The verdict on a whole run: of the rows inside their gates, with the most threads that were measured."""
    threads = max((row.threads for row in results.rows), default=1)
    times = {
        row.target: row.single
        for row in results.rows
        if row.threads == threads and row.status == "ok" and row.single is not None
    }
    return verdict([_candidate(name, times, {}) for name in times])


def options_of(target: Target) -> str:
    """What `edge-infer diagnose` needs to run this target."""
    provider, _, variant = target.name.partition(":")
    chosen = f"--provider {provider}"
    return f"{chosen} --variant {variant}" if variant else chosen


def verdict(candidates: Sequence[Candidate]) -> str:
    """The answer in a sentence or two. The default is only given up where another is surely faster."""
    measured = [found for found in candidates if found.milliseconds is not None]
    default = next((found for found in measured if found.target.name == DEFAULT_TARGET), None)
    if not measured:
        return "Nothing here runs this bundle inside its gate; `edge-infer doctor` says what is installed."
    best = min(measured, key=lambda found: found.milliseconds or 0.0)
    if default is None:
        return f"Fastest here: {_named(best)}. To use it: {options_of(best.target)}."
    surer = best.faster is not None and best.faster.low > 1
    if best is default:
        return f"The default is the fastest here: {_named(default)}. Nothing to change."
    if not surer:
        return f"Nothing here is surely faster than the default: {_named(default)}. Nothing to change."
    assert best.faster is not None
    return (
        f"Fastest here inside the gate: {_named(best)}, {best.faster.value:.1f} times as fast as the default "
        f"({_named(default)}). To use it: {options_of(best.target)}."
    )


def _named(found: Candidate) -> str:
    form = "" if found.target.variant else f", {DEFAULT_VARIANT}"
    each = found.milliseconds or 0.0
    return f"{found.target.title}{form}, {each:.0f} ms a picture or {1000 / max(each, 1e-3):.0f} a second"


def lines(candidates: Sequence[Candidate]) -> list[str]:
    """One line a target that was tried, and the verdict last."""
    width = max((len(found.target.name) for found in candidates), default=0)
    told = []
    for found in candidates:
        if found.milliseconds is None:
            text = f"no figure: {found.why}"
        else:
            ratio = found.faster
            over = "the default" if ratio is None else f"{ratio.value:.2f}x [{ratio.low:.2f}, {ratio.high:.2f}]"
            text = f"{found.milliseconds:7.1f} ms a picture  {over}"
        told.append(f"{found.target.name:<{width}}  {text}")
    return [*told, "", verdict(candidates)]
