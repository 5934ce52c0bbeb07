"""What this machine could do at best, and whether it is doing it steadily."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from edge_infer.benchmark.results import Row
from edge_infer.benchmark.setting import Peak
from edge_infer.engines.install import load_onnxruntime

# ONNX files of one node each, float32 MatMul and uint8 x int8 MatMulInteger, written with onnx.helper; a test writes
# them again. They are kept as bytes because the runtime does not need the onnx package for anything else.
FLOAT32_PRODUCT = bytes.fromhex(
    "080812003a5b0a110a01610a016212016322064d61744d756c1201705a150a016112100a0e0801120a0a0312016e0a0312016e5a150a01"
    "6212100a0e0801120a0a0312016e0a0312016e62150a016312100a0e0801120a0a0312016e0a0312016e42040a001011"
)
INT8_PRODUCT = bytes.fromhex(
    "080812003a620a180a01610a0162120163220d4d61744d756c496e74656765721201705a150a016112100a0e0802120a0a0312016e0a03"
    "12016e5a150a016212100a0e0803120a0a0312016e0a0312016e62150a016312100a0e0806120a0a0312016e0a0312016e42040a001011"
)

_HEARTBEAT = np.random.default_rng(0).random(120_000)


def probe_peak(kind: Literal["float32", "int8"], threads: int, *, side: int = 1024, seconds: float = 1.0) -> Peak:
    """Times square matrix products in ONNX Runtime on the CPU, the library that also runs the networks there.

    Args:
        kind: float32 x float32, or uint8 x int8 with 32-bit sums.
        threads: inside the product.
        side: rows and columns of the matrices.
        seconds: how long to repeat, after two warm-up products; at least five are timed.
    """
    runtime = load_onnxruntime()
    options: Any = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model = FLOAT32_PRODUCT if kind == "float32" else INT8_PRODUCT
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    if kind == "float32":
        feeds: dict[str, Any] = {name: random.random((side, side), np.float32) for name in "ab"}
    else:
        feeds = {
            "a": random.integers(0, 255, (side, side), np.uint8),
            "b": random.integers(-63, 63, (side, side), np.int8),
        }
    for _ in range(2):
        session.run(None, feeds)
    samples: list[float] = []
    end = time.perf_counter() + seconds
    while len(samples) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        session.run(None, feeds)
        samples.append((time.perf_counter() - start) * 1000)
    return Peak(kind, threads, side, 2 * side**3 / min(samples) / 1e6, tuple(samples))


def heartbeat() -> float:
    """Milliseconds of a fixed piece of single-threaded work; between rotations it tells how steady the machine is."""
    start = time.perf_counter()
    np.sort(_HEARTBEAT)
    return (time.perf_counter() - start) * 1000


def attained_share(row: Row, peaks: Sequence[Peak], gflops: float | None) -> dict[str, float]:
    """Share of each probed peak that the row's best Offline throughput attains, with as many threads at work."""
    if gflops is None or not row.offline:
        return {}
    best = max(row.offline, key=lambda part: part.pictures_per_second)
    busy = best.threads * best.workers
    return {peak.kind: best.pictures_per_second * gflops / peak.gops for peak in peaks if peak.threads == busy}
