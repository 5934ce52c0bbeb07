"""What each goal measures: a numerator and a denominator that take turns."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, median

import cv2
import numpy as np

from benchmarks.goals.parts import cold_parts, outside_parts, told, told_as_steps
from benchmarks.goals.record import Goal, Limit, goal
from benchmarks.peers import start_peer
from benchmarks.workers import PeerConfig, RemoteRunner
from edge_infer.benchmark import cold
from edge_infer.benchmark.hardware import resident_memory_bytes
from edge_infer.benchmark.measure import Effort, Pulse, measure_latency
from edge_infer.benchmark.results import Results, Row
from edge_infer.benchmark.runners import LocalRunner
from edge_infer.benchmark.stats import Interval, ratio_of_medians, ratio_of_rates
from edge_infer.bundle.store import Bundle
from edge_infer.diagnoser import Diagnoser
from edge_infer.engines.onnx import OnnxEngine
from edge_infer.engines.threads import available_threads

STEPS = ("decode", "preprocess", "postprocess")
_LARGE = (3000, 4000)
_ROUNDS = 6
_SHORTEST = 3.0
"""Seconds of a turn of many pictures: its end, where a processor waits for the other, is then less than a hundredth."""
_SIZES = (
    *((225, 300), (450, 600), (768, 1024), (1200, 1600), (1944, 2592)),
    *((450, 600), (450, 600), (450, 600), (3000, 4000), (600, 450)),
)
PAIR = Limit("pair, int8: our best engine against PyTorch eager", ">=", 4.3)
BARE = Limit("pair, int8: our best engine against bare OpenVINO on the same file", ">=", 0.98)
SHIPPED = Limit("shipped bundle, file to answer, our best engine: against PyTorch eager on the pair", ">=", 20.0)
OUTSIDE = Limit("600x450 JPEG: milliseconds outside the networks", "<=", 2.5)
LARGE_MS = Limit("12-megapixel JPEG: milliseconds outside the networks", "<=", 15.0)
LARGE = Limit("12-megapixel JPEG: decode and resizes, against Pillow", "<=", 0.3)
COLD = Limit("cold `edge-infer diagnose` against a bare import of onnxruntime and cv2", "<=", 1.8)
MANY = Limit("`diagnose_many` against independent one-thread processes, as many as processors", ">=", 0.97)
MEMORY = Limit("memory over many pictures of mixed size", "<=", 1.02)
OURS = ("ours", "ours-openvino")
SHIPPED_AS = ("shipped", "shipped-openvino")


def from_peers(results: Results) -> list[Goal]:
    """The speed-ups that a peers run has, one thread, end to end: over PyTorch eager, and over bare OpenVINO."""
    eager, bare = (results.row(name, 1) for name in ("torch-eager", "openvino-int8"))
    ours, shipped = (
        [row for name in names if (row := results.row(name, 1)) is not None] for names in (OURS, SHIPPED_AS)
    )
    found = []
    if ours:
        found.append(_best(PAIR, ours, eager))
        found.append(_best(BARE, ours, bare))
    if shipped:
        found.append(_best(SHIPPED, shipped, eager))
    return found


def _best(promise: Limit, rows: Sequence[Row], base: Row | None) -> Goal:
    """Wall time of `base` over that of the quickest row, among those inside their gates; each row's ratio is told."""
    samples: dict[str, Sequence[float]] = {}
    ratios: dict[str, Interval] = {}
    told = []
    for row in rows:
        ratio, by_cpu = _over(base, row)
        if ratio is None or by_cpu is None or row.single is None:
            told.append(f"{row.target} withheld: {row.error or row.status}")
            continue
        samples[f"{row.target}_ms".replace("-", "_")] = row.single.wall_ms
        ratios[row.target] = ratio
        told.append(f"{row.target} {ratio.value:.2f} (by CPU time {by_cpu.value:.2f})")
    if base is None or base.single is None or base.status != "ok":
        told.append("no baseline inside its gate")
    else:
        samples[f"{base.target}_ms".replace("-", "_")] = base.single.wall_ms
    best = max(ratios, key=lambda target: ratios[target].value, default=None)
    how = f"p50 over p50, one thread, encoded picture to Diagnosis, in turn; {', '.join(told)}"
    return goal(promise, ratios[best] if best else None, how, samples)


def _over(base: Row | None, row: Row) -> tuple[Interval | None, Interval | None]:
    """How many times quicker `row` is, by wall time and by CPU time; none unless both are inside their gates."""
    if base is None or base.single is None or row.single is None or {base.status, row.status} != {"ok"}:
        return None, None
    theirs, ours = base.single, row.single
    return (
        ratio_of_medians(theirs.wall_ms, theirs.rounds, ours.wall_ms, ours.rounds),
        ratio_of_medians(theirs.cpu_ms, theirs.rounds, ours.cpu_ms, ours.rounds),
    )


def outside_networks(bundle: Bundle, pictures: Sequence[bytes], effort: Effort, pulse: Pulse) -> Goal:
    """Wall time of a diagnosis that is not inside the two network calls, at one thread, 600x450 JPEGs."""
    pictures = [enlarge(picture, 450, 600) for picture in pictures[:8]]
    runner = _runner("shipped", bundle, pictures, 1)
    latency = measure_latency([runner], 1, effort, pulse)[runner.name]
    parts = outside_parts(runner.diagnoser, pictures, max(4, effort.runs // len(pictures)))
    runner.close()
    outside = latency.stages_ms["outside_networks"]
    steps = ", ".join(f"{step} {median(latency.stages_ms[step]):.2f}" for step in STEPS)
    how = (
        f"median over encoded 600x450 pictures to Diagnosis, less the two Engine.run calls, one thread; {steps}; "
        f"step by step, with the networks between them: {told(parts)}"
    )
    samples: dict[str, Sequence[float]] = {"outside_ms": outside, "wall_ms": latency.wall_ms}
    samples |= {f"{name.replace(' ', '_')}_ms": values for name, values in parts.items()}
    return goal(OUTSIDE, _median_interval(outside), how, samples)


def large_picture(bundle: Bundle, picture: bytes, rounds: int) -> list[Goal]:
    """Everything outside the networks for a 12-megapixel JPEG: in milliseconds, and against a full decode by Pillow and
    its two resizes."""
    encoded = enlarge(picture, *_LARGE)
    spec, side = bundle.manifest.segmenter.input, bundle.manifest.classifier.input.height
    # Pillow resizes in one thread.
    cv2.setNumThreads(1)
    segmenter, classifier = _engines(bundle, 1)
    ours: list[float] = []
    theirs: list[float] = []
    quarter: list[float] = []
    eighth: list[float] = []
    with Diagnoser(bundle, segmenter, classifier) as diagnoser:
        box = diagnoser.diagnose(encoded).roi_box
        if box is None:
            why = "no lesion was found in the enlarged picture"
            return [goal(LARGE_MS, None, why, {}), goal(LARGE, None, why, {})]
        for number in range(rounds + 1):
            timings = diagnoser.diagnose(encoded).timings_ms
            spent = _pillow_milliseconds(encoded, (spec.width, spec.height), tuple(box), side)
            if number:
                ours.append(sum(timings[step] for step in STEPS))
                theirs.append(spent)
                quarter.append(_decoder_milliseconds(encoded, cv2.IMREAD_REDUCED_COLOR_4))
                eighth.append(_decoder_milliseconds(encoded, cv2.IMREAD_REDUCED_COLOR_8))
    numbers = list(range(rounds))
    how = (
        "ours: decode + preprocess + postprocess of a Diagnosis, with quality measures, mask clean-up and crop; "
        "theirs: PIL.Image.open, convert, resize to the segmenter's input, crop, resize to the classifier's, bilinear"
    )
    measured = ratio_of_medians(ours, numbers, theirs, numbers)
    how_long = (
        "decode + preprocess + postprocess, one thread; cv2.imdecode alone at a quarter of the size, as is needed, "
        f"{median(quarter):.1f}, at an eighth, the least that the format allows, {median(eighth):.1f}"
    )
    return [
        goal(LARGE_MS, _median_interval(ours), how_long, {"ours_ms": ours, "quarter_ms": quarter, "eighth_ms": eighth}),
        goal(LARGE, measured, how, {"ours_ms": ours, "pillow_ms": theirs}),
    ]


def cold_start(bundle: Bundle, picture: Path, starts: int) -> Goal:
    """`edge-infer diagnose` of one picture in a new process, against one that imports onnxruntime and cv2."""
    command = (
        *("-m", "edge_infer.cli", "diagnose", str(picture)),
        *("--bundle", str(bundle.path.resolve()), "--provider", "cpu", "--format", "json"),
    )
    ours: list[float] = []
    bare: list[float] = []
    for number in range(starts + 1):
        spent, output = cold.timed_process(command)
        if not output:
            return goal(COLD, None, "the command failed", {})
        empty, _ = cold.timed_process(cold.BARE)
        if number:
            ours.append(spent)
            bare.append(empty)
    numbers = list(range(starts))
    measured = ratio_of_medians(ours, numbers, bare, numbers)
    parts = cold_parts(bundle.path, picture, max(3, starts // 2))
    how = (
        "median wall time of whole processes, started in turn, files in the page cache; milliseconds that each part "
        f"adds to a process that does one after the other: {told_as_steps(parts)}; the command overlaps some of it"
    )
    return goal(COLD, measured, how, {"diagnose_ms": ours, "bare_import_ms": bare})


def many_pictures(bundle: Bundle, pictures: Sequence[bytes], seconds: float, pulse: Pulse) -> Goal:
    """`diagnose_many` with all processors, against as many processes of one thread that know nothing of each other."""
    count, batch_size = available_threads(), 4
    config = PeerConfig("ours", 1, bundle.path, "", "", tuple(pictures))
    processes = [RemoteRunner(config, start_peer) for _ in range(count)]
    together: list[float] = []
    ours: list[float] = []
    cv2.setNumThreads(1)
    try:
        with Diagnoser.load(bundle.path, providers=["cpu"], threads=count) as diagnoser:
            for number in range(_ROUNDS + 1):
                pulse.beat()
                length = max(seconds / _ROUNDS, _SHORTEST) if number else 1.0
                turns = [
                    lambda length=length: ours.append(_streamed(diagnoser, pictures, batch_size, length)),
                    lambda length=length: together.append(_at_once(processes, batch_size, length)),
                ]
                for turn in turns if number % 2 else reversed(turns):
                    turn()
    finally:
        for process in processes:
            process.close()
    ours, together = ours[1:], together[1:]
    how = (
        f"pictures/s of {count} workers in one process over that of {count} processes, batches of {batch_size}, in turn"
    )
    samples = {"ours_per_second": ours, "processes_per_second": together}
    return goal(MANY, ratio_of_rates(together, ours), how, samples)


def _streamed(diagnoser: Diagnoser, pictures: Sequence[bytes], batch_size: int, seconds: float) -> float:
    start = time.perf_counter()

    def stream() -> Iterator[bytes]:
        number = 0
        while time.perf_counter() < start + seconds:
            yield pictures[number % len(pictures)]
            number += 1

    done = sum(1 for _ in diagnoser.diagnose_many(stream(), batch_size, workers=diagnoser.threads))
    return done / (time.perf_counter() - start)


def _at_once(processes: Sequence[RemoteRunner], batch_size: int, seconds: float) -> float:
    start = time.perf_counter()
    with ThreadPoolExecutor(len(processes)) as pool:
        parts = list(pool.map(lambda process: process.segment(seconds, batch_size, 1), processes))
    done: int = sum(part.pictures for part in parts)
    return done / (time.perf_counter() - start)


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
    how = f"mean resident MB over {count} pictures, last hundred over second hundred"
    if not all(resident) or count < 300:
        return goal(MEMORY, None, f"{how}: not measured here", {})
    value = mean(resident[-100:]) / mean(resident[100:200])
    return goal(MEMORY, Interval(value, value, value), how, {"resident_mb": resident})


def enlarge(picture: bytes, height: int, width: int) -> bytes:
    """The picture as a JPEG of another size, with a little noise so that it compresses like a photograph."""
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    larger = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    noise = np.random.default_rng(0).normal(0, 3, larger.shape).astype(np.int16)
    done, data = cv2.imencode(".jpg", np.clip(larger + noise, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])
    if not done:
        raise OSError("OpenCV cannot write JPEG here")
    return data.tobytes()


def _decoder_milliseconds(picture: bytes, flag: int) -> float:
    """Wall time of OpenCV's decoder alone, which no step around it can undercut."""
    start = time.perf_counter()
    cv2.imdecode(np.frombuffer(picture, np.uint8), flag)
    return (time.perf_counter() - start) * 1000


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
