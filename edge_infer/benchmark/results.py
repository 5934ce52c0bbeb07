"""The result file: schema version 1.

One JSON file holds one run on one device. Raw samples are kept, in the order in which they were taken, none left out;
every summary in the file can be computed from them again, and `result_file.read_results` refuses a file where it
cannot.

Times are milliseconds, memory bytes, energy joules, shares 0..1. None means "not measured here"; why is said in the
row's `notes` or in the file's `warnings`. No host name, user name or path is stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from edge_infer.benchmark.setting import Availability, BundleFacts, Machine, Options, Peak, Pictures, Stability
from edge_infer.benchmark.stats import Interval, interval_of
from edge_infer.errors import EdgeInferError

SCHEMA_VERSION = 1
PERCENTILES = (50, 90, 99)
STAGES = ("decode", "preprocess", "segment", "postprocess", "classify")


class ResultsError(EdgeInferError):
    """A result file cannot be read, contradicts itself, or does not fit the others."""

    code = "benchmark-results"


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
