"""The ratios that the project promises, each measured in one run on this machine.

Numerator and denominator always take turns, so a slow minute falls on both. A missed goal is reported like a met one.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Literal

import cv2
import numpy as np

from edge_infer.benchmark.cold import BARE, timed_process
from edge_infer.benchmark.hardware import resident_memory_bytes
from edge_infer.benchmark.measure import Effort, Pulse, measure_latency, measure_offline
from edge_infer.benchmark.results import Results
from edge_infer.benchmark.runners import LocalRunner
from edge_infer.benchmark.stats import Interval, ratio_of_medians, ratio_of_rates
from edge_infer.bundle import Bundle
from edge_infer.engine import OnnxEngine
from edge_infer.files import write_atomically
from edge_infer.pipeline import Diagnoser
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


def write_goals(path: Path, goals: Goals) -> None:
    """Writes the samples as JSON and, beside it, the table as Markdown."""
    write_atomically(path, (json.dumps(dump(goals), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
    head = f"{goals.machine}; {goals.created}; bundle {goals.bundle[:20]}; pair {goals.pair}\n\n"
    write_atomically(path.with_suffix(".md"), (head + markdown(goals)).encode())


def goal(
    name: str,
    relation: Literal["<=", ">="],
    limit: float,
    measured: Interval | None,
    how: str,
    samples: Mapping[str, Sequence[float]],
) -> Goal:
    """Decides by the figure itself; its interval stands beside it. None where there is no figure."""
    met = None if measured is None else (measured.value <= limit if relation == "<=" else measured.value >= limit)
    kept = {key: tuple(float(f"{value:.6g}") for value in values) for key, values in samples.items()}
    return Goal(name, relation, limit, measured, met, how, kept)


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
        name = (
            "our default configuration of the pair against PyTorch eager" if target == "ours" else "the shipped bundle"
        )
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
    return goal("time outside the two session.run calls", "<=", 0.04, _median_interval(shares), how, samples)


def large_picture(bundle: Bundle, picture: bytes, rounds: int) -> Goal:
    """Everything outside the networks for a 12-megapixel JPEG, against a full decode by Pillow and its two resizes."""
    encoded = enlarge(picture, *_LARGE)
    spec, side = bundle.manifest.segmenter.input, bundle.manifest.classifier.input.height
    engines = [OnnxEngine(bundle.file(stage, "onnx"), providers=["cpu"]) for stage in ("segmenter", "classifier")]
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
        *("-c", "from edge_infer.cli import main; main()", "diagnose", str(picture)),
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
) -> list[Goal]:
    """Offline with two threads inside the operators, and with two callers of one thread each, against one thread."""
    one, two = _runner("one", bundle, pictures, 1), _runner("two", bundle, pictures, 2)
    runners = [one, two, one]
    found = measure_offline(runners, batch_size, [1, 2, 1], [1, 1, 2], seconds, pulse)
    for runner in (one, two):
        runner.close()
    rates = [
        [count / spent for count, spent in zip(part.segment_pictures, part.segment_seconds, strict=True)]
        for part in found
    ]
    how = f"pictures/s, batches of {batch_size}, encoded picture to Diagnosis"
    return [
        goal(
            f"{name}: {label} against one thread, Offline",
            ">=",
            1.8,
            ratio_of_rates(rates[0], rates[i]),
            how,
            {"one_per_second": rates[0], "two_per_second": rates[i]},
        )
        for i, label in ((1, "two threads inside operators"), (2, "two callers of one thread each"))
    ]


def memory(bundle: Bundle, pictures: Sequence[bytes], count: int, progress: Callable[[str], None]) -> Goal:
    """Resident memory over many pictures of mixed size: mean of the last hundred over mean of the second hundred."""
    sizes = [
        (225, 300),
        (450, 600),
        (768, 1024),
        (1200, 1600),
        (1944, 2592),
        *([(450, 600)] * 3),
        (3000, 4000),
        (600, 450),
    ]
    mixed = [enlarge(pictures[i % len(pictures)], *size) for i, size in enumerate(sizes)]
    runner = _runner("memory", bundle, pictures, 1)
    resident: list[float] = []
    for i in range(count):
        runner.diagnoser.diagnose(mixed[i % len(mixed)])
        resident.append((resident_memory_bytes() or 0) / 1e6)
        if i % 100 == 0:
            progress(f"memory, picture {i}")
    runner.close()
    name, how = "memory over 1,000 pictures of mixed size", "mean resident MB, last hundred over second hundred"
    if not all(resident) or count < 300:
        return goal(name, "<=", 1.02, None, f"{how}: not measured here", {})
    value = mean(resident[-100:]) / mean(resident[100:200])
    return goal(name, "<=", 1.02, Interval(value, value, value), how, {"resident_mb": resident})


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
