"""Part of the result file: device, bundle, pictures, options, peaks, and how quiet the machine was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_infer.bundle.store import Bundle


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

    @classmethod
    def of(cls, bundle: Bundle) -> BundleFacts:
        """What the result file says about a bundle; a multiply-add counts as two operations."""
        first, second = bundle.manifest.segmenter, bundle.manifest.classifier
        return cls(
            name=bundle.manifest.name,
            sha256=bundle.sha256,
            segmenter=first.architecture,
            classifier=second.architecture,
            segmenter_input=(first.input.height, first.input.width),
            classifier_input=(second.input.height, second.input.width),
            gflops=None if first.gflops is None or second.gflops is None else first.gflops + second.gflops,
        )


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
class Stability:
    """Whether the machine was quiet.

    `heartbeat_ms` is the time of a fixed small piece of work between rotations. `other_share` is the CPU time that
    other processes took, `stolen_share` what the hypervisor took, both as shares of all processors' time.
    """

    heartbeat_ms: tuple[float, ...]
    other_share: float | None
    stolen_share: float | None
    warnings: tuple[str, ...]
