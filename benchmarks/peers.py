"""The same two networks in several libraries, interleaved in one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.trained import weights_of
from benchmarks.watch import Watch
from benchmarks.workers import PeerConfig, PeerError, RemoteRunner, Started, labels_json
from edge_infer.benchmark import results as r
from edge_infer.benchmark.accuracy import replay_golden
from edge_infer.benchmark.measure import Effort, Pulse, RunnerError, measure_latency
from edge_infer.benchmark.probe import probe_peak
from edge_infer.benchmark.ratios import ratios_of
from edge_infer.benchmark.runners import LocalRunner, Runner, load_pictures, skipped_notes
from edge_infer.benchmark.setting import BundleFacts, Options, Peak
from edge_infer.benchmark.suite import MULTI_STREAM
from edge_infer.bundle.manifest import DEFAULT_VARIANT
from edge_infer.bundle.store import Bundle, load_bundle
from edge_infer.engines.threads import available_threads

BASELINE = "torch-eager"


@dataclass(frozen=True)
class Peer:
    """One way to run the pair. `bundle` is which of the bundles it takes its files and rules from."""

    name: str
    title: str
    bundle: str


PEERS = (
    Peer("torch-eager", "PyTorch eager, float32, our decode and crop", "float32"),
    Peer("torch-compile", "torch.compile, float32, frozen", "float32"),
    Peer("torch-compile-bf16", "torch.compile, bfloat16 autocast, frozen", "float32"),
    Peer("pillow-torch", "Pillow + torchvision + PyTorch eager", "float32"),
    Peer("openvino", "OpenVINO, float32", "float32"),
    Peer("openvino-int8", "OpenVINO, our int8 file", "int8"),
    Peer("ours-openvino", "edge-infer on openvino-native, int8", "int8"),
    Peer("ours-float32", "edge-infer, float32", "float32"),
    Peer("ours", "edge-infer, int8 (our default configuration)", "int8"),
    Peer("shipped", "edge-infer, the shipped bundle (other networks)", "shipped"),
    Peer("shipped-openvino", "the same on openvino-native, int8", "shipped"),
)


def start_peer(config: PeerConfig) -> tuple[Runner, Started]:
    """Loads a peer in this process, diagnoses every picture once, and replays the bundle's golden examples.

    Raises:
        EdgeInferError: it cannot be loaded or cannot run.
    """
    bundle = load_bundle(config.bundle)
    networks: tuple[Any, Any] | None = None
    if config.peer.startswith("torch") or config.peer == "pillow-torch":
        import torch

        torch.set_num_threads(config.threads)
        from benchmarks.networks import serving_networks

        networks = serving_networks(config.pictures, config.segmenter, config.classifier)
        torch.set_num_threads(config.threads)
    if config.peer == "pillow-torch":
        from benchmarks.engines import PillowRunner

        assert networks is not None
        usual = PillowRunner(config.name, networks, config.pictures)
        return usual, Started("Pillow, torchvision, PyTorch eager", usual.statuses(), ())
    engines = _engines(config, bundle, networks)
    variant = "int8" if config.peer == "shipped-openvino" else DEFAULT_VARIANT
    runner = LocalRunner(config.name, bundle, *engines, config.pictures, config.threads, variant)
    return runner, Started(engines[0].provider, runner.statuses(), replay_golden(runner.diagnoser))


def _engines(config: PeerConfig, bundle: Bundle, networks: tuple[Any, Any] | None) -> tuple[Any, Any]:
    labels = (None, labels_json(bundle.manifest.labels))
    files = (bundle.file("segmenter", "onnx"), bundle.file("classifier", "onnx"))
    if networks is not None:
        from benchmarks.engines import TorchEngine

        mode = config.peer.removeprefix("torch-")
        return TorchEngine(networks[0], labels[0], mode), TorchEngine(networks[1], labels[1], mode)
    if config.peer.startswith("openvino"):
        from benchmarks.engines import OpenVinoEngine

        first, second = (OpenVinoEngine(f, n, config.threads) for f, n in zip(files, labels, strict=True))
        return first, second
    if config.peer in ("ours-openvino", "shipped-openvino"):
        from edge_infer.engines import openvino

        if config.peer == "shipped-openvino":
            files = (bundle.variant_file("segmenter", "int8"), bundle.variant_file("classifier", "int8"))
        native = [openvino.OpenVinoEngine(file, threads=config.threads) for file in files]
        return native[0], native[1]
    from edge_infer.engines.onnx import OnnxEngine

    ours = [OnnxEngine(file, providers=["cpu"], threads=config.threads) for file in files]
    return ours[0], ours[1]


def run_peers(
    bundles: dict[str, Path],
    pictures: Sequence[Path],
    *,
    peers: Sequence[str] = (),
    threads: Sequence[int] = (1, 2),
    segmenter: str,
    classifier: str,
    effort: Effort,
    probe_seconds: float = 1.0,
    progress: Callable[[str], None] = lambda text: None,
) -> r.Results:
    """Measures every peer with every number of threads, all of them in rotation.

    Args:
        bundles: folders by `Peer.bundle`; peers whose bundle is not among them are failed rows.
        pictures: files or folders; none: the bundle's golden pictures.
        peers: names; empty: all.
        threads: numbers of threads.
        segmenter: architecture in the trainer's registry.
        classifier: the same.
        effort: of SingleStream; MultiStream of 8 takes a quarter of the queries.
        probe_seconds: of each probe of the machine's peak.
        progress: is told what is being done.
    """
    created, start, watch = datetime.now(UTC), time.perf_counter(), Watch()
    main = load_bundle(bundles["float32"])
    encoded, described = load_pictures(pictures, main)
    chosen = [peer for peer in PEERS if not peers or peer.name in peers]
    unknown = set(peers) - {peer.name for peer in PEERS}
    if unknown:
        names = ", ".join(peer.name for peer in PEERS)
        raise PeerError(f"There is no peer {', '.join(sorted(unknown))}.", f"Choose among: {names}.")
    rows: dict[str, r.Row] = {}
    runners: dict[str, RemoteRunner] = {}
    for count in threads:
        for peer in chosen:
            progress(f"starting {peer.name} with {count} threads")
            name = f"{peer.name}/{count}"
            rows[name] = r.Row(peer.name, peer.title, "ok", count)
            try:
                if peer.bundle not in bundles:
                    raise PeerError(f"There is no {peer.bundle} bundle.", "Give its folder.")
                config = PeerConfig(peer.name, count, bundles[peer.bundle], segmenter, classifier, tuple(encoded))
                runners[name] = RemoteRunner(config, start_peer)
            except PeerError as error:
                rows[name] = replace(rows[name], status="failed", error=str(error))
            else:
                rows[name] = _started(rows[name], runners[name].started, peer, bundles)
    peaks = tuple(probe_peak(kind, n, seconds=probe_seconds) for kind in ("float32", "int8") for n in threads)
    for size in (1, MULTI_STREAM):
        progress("batch 1" if size == 1 else f"batch {size}")
        _measure(rows, runners, size, effort, watch.pulse)
    for runner in runners.values():
        runner.close()
    stability = watch.stability()
    gflops = BundleFacts.of(main).gflops
    found = tuple(
        row if row.target.startswith("shipped") else _against_peak(row, peaks, gflops) for row in rows.values()
    )
    return r.Results(
        schema_version=r.SCHEMA_VERSION,
        kind="peers",
        created=created.isoformat(timespec="seconds"),
        seconds=time.perf_counter() - start,
        machine=watch.machine(),
        bundle=BundleFacts.of(main),
        pictures=described,
        options=Options(
            targets=tuple(peer.name for peer in chosen),
            threads=tuple(threads),
            batch_sizes=(1, MULTI_STREAM),
            warmup_runs=effort.warmup,
            minimum_runs=effort.runs,
            minimum_seconds=effort.seconds,
            block=effort.block,
            offline_seconds=0.0,
            sustained_minutes=0.0,
            cold_starts=0,
            baseline=BASELINE,
        ),
        peaks=peaks,
        available=(),
        rows=found,
        ratios=ratios_of(found, BASELINE),
        stability=stability,
        warnings=(
            f"The pair has {weights_of(segmenter, classifier)}. The gate here is agreement with PyTorch eager on the "
            "same weights.",
        ),
    )


def _against_peak(row: r.Row, peaks: Sequence[Peak], gflops: float | None) -> r.Row:
    """The row with the share of each probed peak that single pictures attain: the pair's operations over its median."""
    if gflops is None or row.single is None:
        return row
    rate = gflops / (median(row.single.wall_ms) / 1000)
    return replace(row, attained={peak.kind: rate / peak.gops for peak in peaks if peak.threads == row.threads})


def _started(row: r.Row, started: Started, peer: Peer, bundles: dict[str, Path]) -> r.Row:
    notes = skipped_notes(started.statuses)
    if peer.bundle == "shipped":
        shipped = load_bundle(bundles["shipped"])
        facts = BundleFacts.of(shipped)
        notes = (
            *notes,
            f"Bundle {facts.name}, {facts.sha256[:12]}: {facts.segmenter} + {facts.classifier}.",
        )
    if not started.checks:
        notes = (*notes, "Resizes and crops in its own way, so its answers are not compared.")
        return replace(row, provider=started.provider, statuses=started.statuses, notes=notes)
    passed = all(check.passed for check in started.checks)
    return replace(
        row,
        provider=started.provider,
        statuses=started.statuses,
        accuracy=r.Accuracy(started.checks, None, passed),
        status="ok" if passed else "outside_gate",
        notes=notes,
    )


def _measure(rows: dict[str, r.Row], runners: dict[str, RemoteRunner], size: int, effort: Effort, pulse: Pulse) -> None:
    if size > 1:
        effort = replace(effort, runs=max(1, effort.runs // 4), block=max(1, effort.block // 4), warmup=2)
    while runners:
        try:
            found = measure_latency(list(runners.values()), size, effort, pulse)
        except RunnerError as error:
            failed = rows[error.name]
            runners.pop(error.name).close()
            rows[error.name] = r.Row(failed.target, failed.title, "failed", failed.threads, str(error.__cause__))
            continue
        for name, latency in found.items():
            rows[name] = replace(rows[name], single=latency) if size == 1 else replace(rows[name], multi=latency)
        return


def usable_threads() -> tuple[int, ...]:
    """1 and 2, or 1 alone on a machine with one processor."""
    return (1, 2) if available_threads() > 1 else (1,)
