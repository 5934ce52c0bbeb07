"""The result file: schema version 1.

One JSON file holds one run on one device. Raw samples are kept, in the order in which they were taken, none left out;
every summary in the file can be computed from them again, and `read_results` refuses a file where it cannot.

Times are milliseconds, memory bytes, energy joules, shares 0..1. None means "not measured here"; why is said in the
row's `notes` or in the file's `warnings`. No host name, user name or path is stored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edge_infer.benchmark.stats import Interval, interval_of
from edge_infer.errors import EdgeInferError
from edge_infer.files import write_atomically
from edge_infer.schema import SchemaError, dump, parse

SCHEMA_VERSION = 1
PERCENTILES = (50, 90, 99)
STAGES = ("decode", "preprocess", "segment", "postprocess", "classify")


class ResultsError(EdgeInferError):
    """A result file cannot be read, contradicts itself, or does not fit the others."""

    code = "benchmark-results"


@dataclass(frozen=True)
class Conditions:
    """The state of the machine at one moment. `thermal_state` and `power_source` say why where they are unknown."""

    load_average: float | None
    power_source: str
    thermal_state: str
    temperature_celsius: float | None
    processor_mhz: float | None
    available_memory_bytes: int | None


@dataclass(frozen=True)
class Machine:
    """What the device is. `usable_processors` is what affinity and the cgroup quota leave of `logical_processors`."""

    device: str
    processor: str
    architecture: str
    processor_features: tuple[str, ...]
    logical_processors: int
    usable_processors: int
    cgroup_processors: float | None
    memory_bytes: int | None
    accelerators: tuple[str, ...]
    system: str
    virtualization: str
    frequency_governor: str
    python: str
    packages: dict[str, str]
    before: Conditions
    after: Conditions


@dataclass(frozen=True)
class BundleFacts:
    """Which networks were measured. `sha256` identifies the whole bundle; `gflops` is for one picture, both stages."""

    name: str
    sha256: str
    segmenter: str
    classifier: str
    segmenter_input: tuple[int, int]
    classifier_input: tuple[int, int]
    gflops: float | None


@dataclass(frozen=True)
class Pictures:
    """The encoded pictures that every target diagnosed, in turn. `sha256` is over all their bytes."""

    source: str
    count: int
    sizes: tuple[str, ...]
    sha256: str


@dataclass(frozen=True)
class Options:
    """What was asked for."""

    targets: tuple[str, ...]
    threads: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    warmup_runs: int
    minimum_runs: int
    minimum_seconds: float
    block: int
    offline_seconds: float
    sustained_minutes: float
    cold_starts: int
    baseline: str


@dataclass(frozen=True)
class Peak:
    """Best rate of a large matrix product (ONNX Runtime, square, side `side`) with this many threads.

    `gops` is the best of `samples_ms`, counting a multiply-add as two operations. A peak is a maximum, so here,
    and only here, the best sample is the figure.
    """

    kind: Literal["float32", "int8"]
    threads: int
    side: int
    gops: float
    samples_ms: tuple[float, ...]


@dataclass(frozen=True)
class Availability:
    """A target of the catalogue and, where it cannot run here, why and what to do."""

    target: str
    title: str
    available: bool
    reason: str = ""


@dataclass(frozen=True)
class Latency:
    """Samples of one scenario.

    Attributes:
        size: pictures per query: 1 in SingleStream, 8 in MultiStream.
        wall_ms: wall time of each query.
        cpu_ms: CPU time of the process during each query, all threads.
        rounds: the rotation in which each sample was taken; targets with the same rounds met the same conditions.
        stages_ms: wall time of each stage of each query (decode, preprocess, segment, postprocess, classify, and
            `outside_networks`: everything but the two network calls).
        percentiles: "p50", "p90", "p99"; one is absent where the samples are too few for a 95 % interval.
    """

    size: int
    wall_ms: tuple[float, ...]
    cpu_ms: tuple[float, ...]
    rounds: tuple[int, ...]
    stages_ms: dict[str, tuple[float, ...]]
    percentiles: dict[str, Interval]


@dataclass(frozen=True)
class Throughput:
    """Offline: pictures per second, where a segment is a stretch of back-to-back work in one rotation.

    `workers` call the same loaded networks at the same time; `threads` work inside one call.
    """

    batch_size: int
    threads: int
    workers: int
    segment_pictures: tuple[int, ...]
    segment_seconds: tuple[float, ...]
    segment_cpu_seconds: tuple[float, ...]
    pictures_per_second: float


@dataclass(frozen=True)
class Sustained:
    """Back-to-back single pictures for minutes. `end_seconds[i]` is when picture i was finished, from the start."""

    minutes: float
    end_seconds: tuple[float, ...]
    wall_ms: tuple[float, ...]
    last_over_first: float
    joules_per_picture: float | None


@dataclass(frozen=True)
class Cold:
    """New processes, one value for each.

    `process_ms` is the whole life of the process, from its start to its end, as its parent sees it. `bare_ms` is the
    same for one that only imports the engine and OpenCV, started in turn with the others.
    """

    process_ms: tuple[float, ...]
    bare_ms: tuple[float, ...]
    import_ms: tuple[float, ...]
    load_ms: tuple[float, ...]
    first_ms: tuple[float, ...]
    peak_memory_bytes: tuple[int, ...]


@dataclass(frozen=True)
class Check:
    """One gate: `value` must be at most (`relation` "<=") or at least (">=") `limit`. None: infinite or undefined."""

    measure: str
    value: float | None
    relation: Literal["<=", ">="]
    limit: float
    passed: bool


@dataclass(frozen=True)
class Labelled:
    """Accuracy on labelled pictures, against the truth and against `reference`.

    `dice` counts a picture without an outline as 0; `auc` is over the pictures that have a probability;
    `flipped` is the share of pictures whose decision differs from the reference's.
    """

    data: str
    images: int
    determinate: int
    dice: float
    auc: float | None
    reference: str
    reference_dice: float | None
    reference_auc: float | None
    flipped: float | None


@dataclass(frozen=True)
class Accuracy:
    """Whether the target still gives the bundle's answers."""

    checks: tuple[Check, ...]
    labelled: Labelled | None
    passed: bool


@dataclass(frozen=True)
class Row:
    """One target with one number of threads.

    Attributes:
        target: name in the catalogue, or of a peer.
        status: "ok"; "outside_gate": it ran and its answers deviate too far; "failed": it did not run, and `error` says
            why. A failed row has no figures at all.
        provider: what the engine itself reports as active.
        variant: of the bundle; empty for peers, and in files from before bundles had variants.
        placement: share of the networks' measured time by execution provider, from ONNX Runtime's own profile.
        planned: by stage, the share of estimated cost that Core ML's plan gives to each device. A plan, no measurement.
        attained: pictures per second times the bundle's GFLOPs, over the probed peak of the same kind and threads.
        statuses: how many of the pictures were "ok", "indeterminate".
    """

    target: str
    title: str
    status: Literal["ok", "outside_gate", "failed"]
    threads: int
    error: str = ""
    provider: str = ""
    variant: str = ""
    placement: dict[str, float] = field(default_factory=dict)
    planned: dict[str, dict[str, float]] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    single: Latency | None = None
    multi: Latency | None = None
    offline: tuple[Throughput, ...] = ()
    sustained: Sustained | None = None
    cold: Cold | None = None
    accuracy: Accuracy | None = None
    attained: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ratio:
    """How many times faster `target` is than `baseline`, with a bootstrap interval; above 1 is faster.

    There is none (`ratio` is None, `withheld` says why) where either row failed or is outside its gate.
    """

    measure: str
    target: str
    threads: int
    baseline: str
    baseline_threads: int
    ratio: Interval | None
    withheld: str = ""


@dataclass(frozen=True)
class Stability:
    """Whether the machine was quiet.

    `heartbeat_ms` is the time of a fixed small piece of work between rotations. `other_share` is the CPU time that
    other processes took, `stolen_share` what the hypervisor took, both as shares of all processors' time.
    """

    heartbeat_ms: tuple[float, ...]
    other_share: float | None
    stolen_share: float | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Results:
    """One run. `kind` is "device" for `edge-infer benchmark` and "peers" for `python -m benchmarks peers`."""

    schema_version: int
    kind: Literal["device", "peers"]
    created: str
    seconds: float
    machine: Machine
    bundle: BundleFacts
    pictures: Pictures
    options: Options
    peaks: tuple[Peak, ...]
    available: tuple[Availability, ...]
    rows: tuple[Row, ...]
    ratios: tuple[Ratio, ...]
    stability: Stability
    warnings: tuple[str, ...] = ()

    def row(self, target: str, threads: int) -> Row | None:
        """The row of this target with this many threads."""
        return next((row for row in self.rows if (row.target, row.threads) == (target, threads)), None)


def percentiles_of(wall_ms: tuple[float, ...]) -> dict[str, Interval]:
    """Those of p50, p90 and p99 for which there are enough samples."""
    found = {f"p{percent}": interval_of(wall_ms, percent / 100) for percent in PERCENTILES}
    return {name: interval for name, interval in found.items() if interval is not None}


def write_results(path: Path, results: Results) -> None:
    """Writes the file whole or not at all.

    Raises:
        OutputError: it cannot be written there.
    """
    text = json.dumps(_rounded(dump(results)), separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, text.encode())


def read_results(path: Path) -> Results:
    """Reads and checks a result file.

    Raises:
        ResultsError: unreadable, of another schema version, or its figures do not follow from its samples.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(f"'{path}' is no readable JSON file: {error}.", "Run the benchmark again.") from error
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        raise ResultsError(
            f"'{path}' has schema version {version!r}; this version reads {SCHEMA_VERSION}.",
            "Run the benchmark again, or install the matching edge-infer.",
        )
    try:
        results = parse(Results, data)
    except SchemaError as error:
        raise ResultsError(f"'{path}': {error}.", "Run the benchmark again.") from error
    for problem in contradictions(results):
        raise ResultsError(f"'{path}': {problem}.", "The file was changed by hand; run the benchmark again.")
    return results


def contradictions(results: Results) -> list[str]:
    """Figures that do not follow from the raw samples, and rows whose status contradicts their contents."""
    found = []
    for row in results.rows:
        name = f"row {row.target} with {row.threads} threads"
        measured = (row.single, row.multi, row.sustained, row.cold, row.accuracy)
        if row.status == "failed" and (any(part is not None for part in measured) or row.offline or not row.error):
            found.append(f"{name} failed and has figures, or no error")
        if row.status == "ok" and row.accuracy is not None and not row.accuracy.passed:
            found.append(f"{name} is 'ok' outside its gate")
        for latency in (row.single, row.multi):
            if latency is None:
                continue
            lengths = {len(latency.wall_ms), len(latency.cpu_ms), len(latency.rounds)}
            lengths |= {len(values) for values in latency.stages_ms.values()}
            if len(lengths) != 1:
                found.append(f"{name} has sample lists of different lengths")
            elif not _same(percentiles_of(latency.wall_ms), latency.percentiles):
                found.append(f"{name} has percentiles that do not follow from its samples")
        for part in row.offline:
            rate = sum(part.segment_pictures) / max(sum(part.segment_seconds), 1e-9)
            if abs(rate - part.pictures_per_second) > 1e-3 * rate:
                found.append(f"{name} has a throughput that does not follow from its segments")
    for ratio in results.ratios:
        for target, threads in ((ratio.target, ratio.threads), (ratio.baseline, ratio.baseline_threads)):
            rated = results.row(target, threads)
            if ratio.ratio is not None and (rated is None or rated.status != "ok"):
                found.append(f"there is a ratio for {target}, which is not inside its gate")
    return found


def _same(a: dict[str, Interval], b: dict[str, Interval]) -> bool:
    return a.keys() == b.keys() and all(
        abs(x - y) <= 1e-3 * max(abs(x), 1e-3)
        for name in a
        for x, y in zip(
            (a[name].value, a[name].low, a[name].high), (b[name].value, b[name].low, b[name].high), strict=True
        )
    )


def _rounded(value: Any) -> Any:
    """Six significant digits are more than any clock here is worth."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value
