"""The ratios that the project promises, each measured in one run on this machine.

Numerator and denominator always take turns, so a slow minute falls on both. A missed goal is reported like a met one.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, median
from typing import Literal

import cv2
import numpy as np

from edge_infer.benchmark.cold import BARE, timed_process
from edge_infer.benchmark.hardware import conditions, describe_machine, processor_times, resident_memory_bytes
from edge_infer.benchmark.measure import Effort, Pulse, measure_latency, measure_offline
from edge_infer.benchmark.results import Results
from edge_infer.benchmark.runners import LocalRunner
from edge_infer.benchmark.stability import judge_stability
from edge_infer.benchmark.stats import Interval, ratio_of_medians, ratio_of_rates
from edge_infer.bundle.store import Bundle, load_bundle
from edge_infer.diagnoser import Diagnoser
from edge_infer.engines.onnx import OnnxEngine
from edge_infer.files import write_atomically
from edge_infer.schema import dump

SCHEMA_VERSION = 1
OUTSIDE = ("decode", "preprocess", "postprocess")
_LARGE = (3000, 4000)


@dataclass(frozen=True)
class Goal:
    """One promise and what was measured. `samples` are the raw values, in the unit that their names say."""

    name: str
    relation: Literal["<=", ">="]
    limit: float
    measured: Interval | None
    met: bool | None
    how: str
    samples: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class Goals:
    """The file: schema version 1."""

    schema_version: int
    created: str
    machine: str
    bundle: str
    pair: str
    heartbeat_ms: tuple[float, ...]
    goals: tuple[Goal, ...]
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings:
    """How long to measure.

    Attributes:
        segmenter, classifier: of the pair, in the trainer's registry.
        rounds: of every comparison.
        seconds: of every Offline figure.
        memory_pictures: how many pictures the memory is watched over.
        speed_ups: also run the peers; False where their file is given.
    """

    segmenter: str = "unetplusplus"
    classifier: str = "resnet50"
    rounds: int = 30
    seconds: float = 20.0
    memory_pictures: int = 1000
    speed_ups: bool = True


def write_goals(path: Path, goals: Goals) -> None:
    """Writes the samples as JSON and, beside it, the table as Markdown."""
    write_atomically(path, (json.dumps(dump(goals), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
    head = f"{goals.machine}; {goals.created}; bundle {goals.bundle[:20]}; pair {goals.pair}\n\n"
    tail = "".join(f"\n**{warning}**\n" for warning in goals.warnings)
    write_atomically(path.with_suffix(".md"), (head + markdown(goals) + tail).encode())


def goal(
    name: str,
    relation: Literal["<=", ">="],
    limit: float,
    measured: Interval | None,
    how: str,
    samples: Mapping[str, Sequence[float]],
) -> Goal:
    """Decides by the figure itself; its interval stands beside it. None where there is none, or an undefined one."""
    if measured is not None and not np.isfinite([measured.value, measured.low, measured.high]).all():
        measured, how = None, f"undefined, measured for too short a time; {how}"
    met = None if measured is None else (measured.value <= limit if relation == "<=" else measured.value >= limit)
    kept = {key: tuple(float(f"{value:.6g}") for value in values) for key, values in samples.items()}
    return Goal(name, relation, limit, measured, met, how, kept)


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
    from edge_infer.benchmark.runners import read_pictures

    created, start, before = datetime.now(UTC), time.perf_counter(), conditions()
    times, own, pulse = processor_times(), _own_seconds(), Pulse()
    encoded, found = read_pictures(pictures), list[Goal]()
    rounds, bundles = settings.rounds, dict[str, Path]()

    def goals() -> Goals:
        now = conditions()
        machine = describe_machine(before, now)
        stability = judge_stability(pulse.samples, times, processor_times(), _own_seconds() - own, before)
        return Goals(
            schema_version=SCHEMA_VERSION,
            created=created.isoformat(timespec="seconds"),
            machine=f"{machine.processor}, {machine.usable_processors} processors, {machine.system}",
            bundle=f"{small.manifest.name} {small.sha256}",
            pair=f"{settings.segmenter} + {settings.classifier}, int8, random weights",
            heartbeat_ms=tuple(pulse.samples),
            goals=tuple(found),
            seconds=time.perf_counter() - start,
            warnings=stability.warnings,
        )

    def attempt(name: str, relation: Literal["<=", ">="], limit: float, measure: Callable[[], list[Goal]]) -> None:
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
                peers=("torch-eager", "ours", "shipped"),
                threads=(1,),
                segmenter=settings.segmenter,
                classifier=settings.classifier,
                effort=Effort(warmup=3, runs=rounds, seconds=0.0, block=3),
            )
        )

    if settings.speed_ups:
        attempt("the pair and the shipped bundle against PyTorch eager", ">=", 5.0, speed_ups)
    effort = Effort(warmup=3, runs=2 * rounds, seconds=0.0, block=5)
    attempt(_OUTSIDE_NAME, "<=", 0.04, lambda: [outside_networks(exported("int8"), encoded, effort, pulse)])
    attempt(_LARGE_NAME, "<=", 0.3, lambda: [large_picture(small, encoded[0], rounds)])
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.jpg"
        picture.write_bytes(encoded[0])
        attempt(_COLD_NAME, "<=", 2.5, lambda: [cold_start(small, picture, rounds)])
    attempt(
        f"shipped bundle: {_THREADS_NAME}",
        ">=",
        1.8,
        lambda: [two_threads(small, encoded, "shipped bundle", settings.seconds, pulse)],
    )
    attempt(
        f"pair, int8: {_THREADS_NAME}",
        ">=",
        1.8,
        lambda: [two_threads(exported("int8"), encoded, "pair, int8", settings.seconds, pulse)],
    )
    attempt(_MEMORY_NAME, "<=", 1.02, lambda: [memory(small, encoded, settings.memory_pictures, progress)])
    return goals()


def from_peers(results: Results) -> list[Goal]:
    """The speed-ups over PyTorch eager, one thread, end to end, of those of ours that a peers run has."""
    found = []
    for target, limit in (("ours", 5.0), ("shipped", 20.0)):
        ratios = {
            item.measure: item
            for item in results.ratios
            if (item.target, item.threads, item.baseline) == (target, 1, "torch-eager")
        }
        ratio = ratios.get("SingleStream p50")
        row, base = results.row(target, 1), results.row("torch-eager", 1)
        if row is None:
            continue
        samples = {
            f"{name}_ms": part.single.wall_ms
            for name, part in ((target, row), ("torch_eager", base))
            if part is not None and part.single is not None
        }
        how = "p50 of PyTorch eager over p50 of ours, one thread; from the peers run"
        if ratio is not None and ratio.withheld:
            how = f"{how}; withheld: {ratio.withheld}"
        by_cpu = ratios.get("SingleStream CPU time p50")
        if by_cpu is not None and by_cpu.ratio is not None:
            how = f"{how}; by CPU time {by_cpu.ratio.value:.2f} [{by_cpu.ratio.low:.2f}, {by_cpu.ratio.high:.2f}]"
        name = "pair, int8: against PyTorch eager" if target == "ours" else "shipped bundle: against PyTorch eager"
        found.append(goal(name, ">=", limit, ratio.ratio if ratio else None, how, samples))
    return found


def outside_networks(bundle: Bundle, pictures: Sequence[bytes], effort: Effort, pulse: Pulse) -> Goal:
    """Share of a diagnosis' wall time that is not inside the two network calls, at one thread."""
    runner = _runner("pair", bundle, pictures, 1)
    latency = measure_latency([runner], 1, effort, pulse)[runner.name]
    runner.close()
    outside = latency.stages_ms["outside_networks"]
    shares = [a / b for a, b in zip(outside, latency.wall_ms, strict=True)]
    how = "median share of wall time outside the two Engine.run calls, one thread, encoded picture to Diagnosis"
    samples = {"outside_ms": outside, "wall_ms": latency.wall_ms}
    return goal(_OUTSIDE_NAME, "<=", 0.04, _median_interval(shares), how, samples)


_OUTSIDE_NAME = "pair, int8: time outside the two session.run calls"


def large_picture(bundle: Bundle, picture: bytes, rounds: int) -> Goal:
    """Everything outside the networks for a 12-megapixel JPEG, against a full decode by Pillow and its two resizes."""
    encoded = enlarge(picture, *_LARGE)
    spec, side = bundle.manifest.segmenter.input, bundle.manifest.classifier.input.height
    # Pillow resizes in one thread.
    cv2.setNumThreads(1)
    engines = [
        OnnxEngine(bundle.file(stage, "onnx"), providers=["cpu"], threads=1) for stage in ("segmenter", "classifier")
    ]
    ours: list[float] = []
    theirs: list[float] = []
    with Diagnoser(bundle, engines[0], engines[1]) as diagnoser:
        box = diagnoser.diagnose(encoded).roi_box
        if box is None:
            return goal(_LARGE_NAME, "<=", 0.3, None, "no lesion was found in the enlarged picture", {})
        for number in range(rounds + 1):
            timings = diagnoser.diagnose(encoded).timings_ms
            spent = _pillow_milliseconds(encoded, (spec.width, spec.height), tuple(box), side)
            if number:
                ours.append(sum(timings[step] for step in OUTSIDE))
                theirs.append(spent)
    numbers = list(range(rounds))
    how = (
        "ours: decode + preprocess + postprocess of a Diagnosis, with quality measures, mask clean-up and crop; "
        "theirs: PIL.Image.open, convert, resize to the segmenter's input, crop, resize to the classifier's, bilinear"
    )
    measured = ratio_of_medians(ours, numbers, theirs, numbers)
    return goal(_LARGE_NAME, "<=", 0.3, measured, how, {"ours_ms": ours, "pillow_ms": theirs})


_LARGE_NAME = "12-megapixel JPEG: decode and resizes, against Pillow"


def cold_start(bundle: Bundle, picture: Path, starts: int) -> Goal:
    """`edge-infer diagnose` of one picture in a new process, against one that imports onnxruntime and cv2."""
    command = (
        *("-c", "from edge_infer.cli.app import main; main()", "diagnose", str(picture)),
        *("--bundle", str(bundle.path.resolve()), "--provider", "cpu", "--format", "json"),
    )
    ours: list[float] = []
    bare: list[float] = []
    for number in range(starts + 1):
        spent, output = timed_process(command)
        if not output:
            return goal(_COLD_NAME, "<=", 2.5, None, "the command failed", {})
        empty, _ = timed_process(BARE)
        if number:
            ours.append(spent)
            bare.append(empty)
    numbers = list(range(starts))
    measured = ratio_of_medians(ours, numbers, bare, numbers)
    how = "median wall time of whole processes, started in turn, files in the page cache"
    return goal(_COLD_NAME, "<=", 2.5, measured, how, {"diagnose_ms": ours, "bare_import_ms": bare})


_COLD_NAME = "cold `edge-infer diagnose` against a bare import of onnxruntime and cv2"


def two_threads(
    bundle: Bundle, pictures: Sequence[bytes], name: str, seconds: float, pulse: Pulse, batch_size: int = 8
) -> Goal:
    """Offline with both processors against one thread: two threads inside the operators, or two callers of one thread
    each. The figure is the better way's, since Offline leaves the choice; `how` says what each gave."""
    one, two = _runner("one", bundle, pictures, 1), _runner("two", bundle, pictures, 2)
    found = measure_offline([one, two, one], batch_size, [1, 2, 1], [1, 1, 2], seconds, pulse)
    for runner in (one, two):
        runner.close()
    rates = [
        [count / spent for count, spent in zip(part.segment_pictures, part.segment_seconds, strict=True)]
        for part in found
    ]
    ways = {"two threads inside operators": rates[1], "two callers of one thread": rates[2]}
    ratios = {way: ratio_of_rates(rates[0], values) for way, values in ways.items()}
    measured = {way: ratio for way, ratio in ratios.items() if ratio is not None}
    best = max(measured, key=lambda way: measured[way].value, default=None)
    each = ", ".join(f"{way} {ratio.value:.2f}" for way, ratio in measured.items())
    how = f"pictures/s, batches of {batch_size}, encoded picture to Diagnosis; {each}"
    samples = {"one_per_second": rates[0], "inside_per_second": rates[1], "callers_per_second": rates[2]}
    return goal(f"{name}: {_THREADS_NAME}", ">=", 1.8, measured[best] if best else None, how, samples)


_THREADS_NAME = "two threads against one, Offline"


def memory(bundle: Bundle, pictures: Sequence[bytes], count: int, progress: Callable[[str], None]) -> Goal:
    """Resident memory over many pictures of mixed size: mean of the last hundred over mean of the second hundred."""
    mixed = [enlarge(pictures[i % len(pictures)], *size) for i, size in enumerate(_SIZES)]
    runner = _runner("memory", bundle, pictures, 1)
    resident: list[float] = []
    for i in range(count):
        runner.diagnoser.diagnose(mixed[i % len(mixed)])
        resident.append((resident_memory_bytes() or 0) / 1e6)
        if i % 100 == 0:
            progress(f"memory, picture {i}")
    runner.close()
    name, how = _MEMORY_NAME, f"mean resident MB over {count} pictures, last hundred over second hundred"
    if not all(resident) or count < 300:
        return goal(name, "<=", 1.02, None, f"{how}: not measured here", {})
    value = mean(resident[-100:]) / mean(resident[100:200])
    return goal(name, "<=", 1.02, Interval(value, value, value), how, {"resident_mb": resident})


_SIZES = (
    *((225, 300), (450, 600), (768, 1024), (1200, 1600), (1944, 2592)),
    *((450, 600), (450, 600), (450, 600), (3000, 4000), (600, 450)),
)
_MEMORY_NAME = "memory over 1,000 pictures of mixed size"


def markdown(goals: Goals) -> str:
    """A table for people."""
    lines = ["| goal | limit | measured [95 %] | met |", "| --- | --- | --- | --- |"]
    for item in goals.goals:
        form = "{:.3f}" if item.limit < 2 else "{:.2f}"
        found = item.measured
        text = (
            f"{form.format(found.value)} [{form.format(found.low)}, {form.format(found.high)}]" if found else item.how
        )
        verdict = {True: "yes", False: "**no**", None: "not measured"}[item.met]
        lines.append(f"| {item.name} | {item.relation} {item.limit:g} | {text} | {verdict} |")
    return "\n".join(lines) + "\n"


def enlarge(picture: bytes, height: int, width: int) -> bytes:
    """The picture as a JPEG of another size, with a little noise so that it compresses like a photograph."""
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    larger = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    noise = np.random.default_rng(0).normal(0, 3, larger.shape).astype(np.int16)
    done, data = cv2.imencode(".jpg", np.clip(larger + noise, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])
    if not done:
        raise OSError("OpenCV cannot write JPEG here")
    return data.tobytes()


def _pillow_milliseconds(encoded: bytes, size: tuple[int, int], box: tuple[int, ...], side: int) -> float:
    from PIL import Image

    start = time.perf_counter()
    image = Image.open(io.BytesIO(encoded)).convert("RGB")
    image.resize(size, Image.Resampling.BILINEAR)
    image.crop((box[0], box[1], box[2], box[3])).resize((side, side), Image.Resampling.BILINEAR)
    return (time.perf_counter() - start) * 1000


def _own_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    return sum(os.times()[:4])


def _runner(name: str, bundle: Bundle, pictures: Sequence[bytes], threads: int) -> LocalRunner:
    engines = [
        OnnxEngine(bundle.file(stage, "onnx"), providers=["cpu"], threads=threads)
        for stage in ("segmenter", "classifier")
    ]
    return LocalRunner(name, bundle, engines[0], engines[1], pictures, threads)


def _median_interval(values: Sequence[float]) -> Interval:
    drawn = np.random.default_rng(0).integers(0, len(values), (2000, len(values)))
    low, high = np.quantile(np.median(np.asarray(values)[drawn], axis=1), (0.025, 0.975))
    return Interval(median(values), float(low), float(high))
