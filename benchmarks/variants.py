"""A bundle's variants against PyTorch eager: size and time of each network and of both, in turn in one process.

One thread each, so no thread pools meet. PyTorch runs the same architecture with random weights, since speed does not
depend on them; the variants are the bundle's own files.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_infer.benchmark.hardware import conditions, describe_machine
from edge_infer.benchmark.stats import Interval, interval_of, ratio_of_medians
from edge_infer.bundle.manifest import StageName
from edge_infer.bundle.store import Bundle
from edge_infer.engines.variants import open_variant
from edge_infer.files import write_atomically
from edge_infer.schema import dump

BASELINE = "torch-eager"
PARTS = ("segmenter", "classifier", "both")
Run = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One form of one network, or of both one after the other.

    Attributes:
        name: "torch-eager", "float32", or the variant's name.
        part: "segmenter", "classifier" or "both".
        bytes: of the files; None for PyTorch.
        milliseconds: every timed run in order.
        median: of them, with its 95 % interval; None with fewer than eight runs.
        speedup: PyTorch's median over this one, with a bootstrap interval over rounds; None with fewer than four.
    """

    name: str
    part: str
    bytes: int | None
    milliseconds: tuple[float, ...]
    median: Interval | None
    speedup: Interval | None


@dataclass(frozen=True)
class Comparison:
    """All rows of one run, and the machine that they were measured on."""

    bundle: str
    machine: str
    rounds: int
    load: float | None
    rows: tuple[Row, ...]


def compare_variants(bundle: Bundle, rounds: int = 40, warmup: int = 3) -> Comparison:
    """Times PyTorch eager and every ONNX variant of a bundle in turn, one picture, one thread.

    Args:
        bundle: checked; Core ML variants are sized but not timed here (`edge-infer benchmark` does that on macOS).
        rounds: how often each is timed.
        warmup: rounds before that do not count.
    """
    before = conditions()
    spec = bundle.manifest
    names = [name for name, v in spec.variants("segmenter").items() if name in spec.variants("classifier")]
    timed = [name for name in names if spec.variant("segmenter", name).format == "onnx"]
    rng = np.random.default_rng(0)
    shapes = [(1, s.input.height, s.input.width, 3) for s in (spec.segmenter, spec.classifier)]
    pictures = [rng.integers(0, 256, shape, np.uint8) for shape in shapes]
    runs: dict[tuple[str, str], Run] = {}
    for name in (BASELINE, *timed):
        networks = _eager(bundle) if name == BASELINE else _engines(bundle, name)
        for part, network, picture in zip(PARTS, networks, pictures, strict=False):
            runs[name, part] = _bound(network, picture)
        runs[name, "both"] = _in_sequence([runs[name, part] for part in PARTS[:2]])
    samples = take_turns(runs, rounds, warmup)
    order = list(range(rounds))
    rows = []
    for name in (BASELINE, *names):
        for part in PARTS:
            times = samples.get((name, part), [])
            slow = samples[BASELINE, part]
            ratio = ratio_of_medians(slow, order, times, order) if times and name != BASELINE else None
            size = None if name == BASELINE else _bytes(bundle, name, part)
            rows.append(Row(name, part, size, tuple(times), interval_of(times, 0.5) if times else None, ratio))
    machine = describe_machine(before, conditions())
    return Comparison(
        f"{spec.name} {bundle.sha256}",
        f"{machine.processor}, {machine.usable_processors} processors, {machine.system}",
        rounds,
        before.load_average,
        tuple(rows),
    )


def take_turns(runs: dict[tuple[str, str], Run], rounds: int, warmup: int) -> dict[tuple[str, str], list[float]]:
    """Milliseconds of each, all of them once in every round; who begins moves on by one each round."""
    samples: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    keys = list(runs)
    gc.disable()
    try:
        for number in range(rounds + warmup):
            start = number % len(keys)
            for key in keys[start:] + keys[:start]:
                began = time.perf_counter()
                runs[key]()
                if number >= warmup:
                    samples[key].append((time.perf_counter() - began) * 1e3)
    finally:
        gc.enable()
    return samples


def markdown(result: Comparison) -> str:
    """The table for people."""
    lines = [
        f"{result.machine}; one thread, one picture, {result.rounds} rounds in turn; load average before: "
        f"{'unknown' if result.load is None else f'{result.load:.1f}'}; bundle {result.bundle[:32]}.",
        "",
        "| variant | network | MB | median ms (95 %) | times PyTorch eager (95 %) |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in result.rows:
        size = "-" if row.bytes is None else f"{row.bytes / 1e6:.2f}"
        lines.append(f"| {row.name} | {row.part} | {size} | {_words(row.median)} | {_words(row.speedup)} |")
    return "\n".join(lines) + "\n"


def write_comparison(path: Path, result: Comparison) -> None:
    """Writes all samples as JSON, and the table beside it as Markdown."""
    write_atomically(path, (json.dumps(dump(result), indent=1) + "\n").encode("utf-8"))
    write_atomically(path.with_suffix(".md"), markdown(result).encode("utf-8"))


def _words(value: Interval | None) -> str:
    return "-" if value is None else f"{value.value:.2f} ({value.low:.2f}-{value.high:.2f})"


def _bytes(bundle: Bundle, name: str, part: str) -> int:
    stages: Sequence[StageName] = ("segmenter", "classifier")
    files = [bundle.manifest.variant(stage, name).file for stage in stages if part in (stage, "both")]
    listed = bundle.manifest.files.items()
    return sum(entry.bytes for path, entry in listed for file in files if path == file or path.startswith(f"{file}/"))


def _engines(bundle: Bundle, name: str) -> list[Callable[[NDArray[np.uint8]], object]]:
    stages: Sequence[StageName] = ("segmenter", "classifier")
    return [open_variant(bundle, stage, name, providers=["cpu"], threads=1).run for stage in stages]


def _eager(bundle: Bundle) -> list[Callable[[NDArray[np.uint8]], object]]:
    import torch

    torch.set_num_threads(1)
    from trainer._torchvision_compat import ensure_torchvision

    ensure_torchvision()
    from trainer.models import create
    from trainer.models.serving import ServingClassifier, ServingSegmenter, as_network
    from trainer.recipe import Normalization

    spec = bundle.manifest
    options: dict[str, Any] = dict(spec.provenance.recipes.get("segmenter", {}).get("model", {}).get("options", {}))
    first = create(spec.segmenter.architecture, **options)
    name, _, views = spec.classifier.architecture.partition(", mean of ")
    options = dict(spec.provenance.recipes.get("classifier", {}).get("model", {}).get("options", {}))
    second = create(name, classes=len(spec.labels), **options)
    count = int(views.split()[0]) if views else 1
    return [
        as_network(ServingSegmenter(first, Normalization())),
        as_network(ServingClassifier(second, Normalization(), views=count)),
    ]


def _bound(network: Callable[[NDArray[np.uint8]], object], picture: NDArray[np.uint8]) -> Run:
    return lambda: network(picture)


def _in_sequence(runs: Sequence[Run]) -> Run:
    def run() -> None:
        for one in runs:
            one()

    return run
