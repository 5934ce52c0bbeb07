"""What each goal measures: a numerator and a denominator that take turns."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, median

import cv2
import numpy as np

from benchmarks.goals.record import Goal, goal
from edge_infer.benchmark.cold import BARE, timed_process
from edge_infer.benchmark.hardware import resident_memory_bytes
from edge_infer.benchmark.measure import Effort, Pulse, measure_latency, measure_offline
from edge_infer.benchmark.results import Results
from edge_infer.benchmark.runners import LocalRunner
from edge_infer.benchmark.stats import Interval, ratio_of_medians, ratio_of_rates
from edge_infer.bundle.store import Bundle
from edge_infer.diagnoser import Diagnoser
from edge_infer.engines.onnx import OnnxEngine

OUTSIDE = ("decode", "preprocess", "postprocess")
_LARGE = (3000, 4000)
_SIZES = (
    *((225, 300), (450, 600), (768, 1024), (1200, 1600), (1944, 2592)),
    *((450, 600), (450, 600), (450, 600), (3000, 4000), (600, 450)),
)
OUTSIDE_NAME = "pair, int8: time outside the two session.run calls"
LARGE_NAME = "12-megapixel JPEG: decode and resizes, against Pillow"
COLD_NAME = "cold `edge-infer diagnose` against a bare import of onnxruntime and cv2"
THREADS_NAME = "two threads against one, Offline"
MEMORY_NAME = "memory over 1,000 pictures of mixed size"


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
    return goal(OUTSIDE_NAME, "<=", 0.04, _median_interval(shares), how, samples)


def large_picture(bundle: Bundle, picture: bytes, rounds: int) -> Goal:
    """Everything outside the networks for a 12-megapixel JPEG, against a full decode by Pillow and its two resizes."""
    encoded = enlarge(picture, *_LARGE)
    spec, side = bundle.manifest.segmenter.input, bundle.manifest.classifier.input.height
    # Pillow resizes in one thread.
    cv2.setNumThreads(1)
    segmenter, classifier = _engines(bundle, 1)
    ours: list[float] = []
    theirs: list[float] = []
    with Diagnoser(bundle, segmenter, classifier) as diagnoser:
        box = diagnoser.diagnose(encoded).roi_box
        if box is None:
            return goal(LARGE_NAME, "<=", 0.3, None, "no lesion was found in the enlarged picture", {})
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
    return goal(LARGE_NAME, "<=", 0.3, measured, how, {"ours_ms": ours, "pillow_ms": theirs})


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
            return goal(COLD_NAME, "<=", 2.5, None, "the command failed", {})
        empty, _ = timed_process(BARE)
        if number:
            ours.append(spent)
            bare.append(empty)
    numbers = list(range(starts))
    measured = ratio_of_medians(ours, numbers, bare, numbers)
    how = "median wall time of whole processes, started in turn, files in the page cache"
    return goal(COLD_NAME, "<=", 2.5, measured, how, {"diagnose_ms": ours, "bare_import_ms": bare})


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
    return goal(f"{name}: {THREADS_NAME}", ">=", 1.8, measured[best] if best else None, how, samples)


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
    name, how = MEMORY_NAME, f"mean resident MB over {count} pictures, last hundred over second hundred"
    if not all(resident) or count < 300:
        return goal(name, "<=", 1.02, None, f"{how}: not measured here", {})
    value = mean(resident[-100:]) / mean(resident[100:200])
    return goal(name, "<=", 1.02, Interval(value, value, value), how, {"resident_mb": resident})


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
    return LocalRunner(name, bundle, *_engines(bundle, threads), pictures, threads)


def _engines(bundle: Bundle, threads: int) -> tuple[OnnxEngine, OnnxEngine]:
    segmenter, classifier = bundle.file("segmenter", "onnx"), bundle.file("classifier", "onnx")
    return (
        OnnxEngine(segmenter, providers=["cpu"], threads=threads),
        OnnxEngine(classifier, providers=["cpu"], threads=threads),
    )


def _median_interval(values: Sequence[float]) -> Interval:
    drawn = np.random.default_rng(0).integers(0, len(values), (2000, len(values)))
    low, high = np.quantile(np.median(np.asarray(values)[drawn], axis=1), (0.025, 0.975))
    return Interval(median(values), float(low), float(high))
