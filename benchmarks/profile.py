"""Which operations a network's time goes to, by ONNX Runtime's own profile."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from edge_infer.engines.install import load_onnxruntime


def time_by_operation(file: Path, runs: int = 6) -> dict[str, float]:
    """Milliseconds of each kind of node on the CPU, one thread, most first; of each node its quickest run.

    Args:
        file: an ONNX file that takes uint8 (n, h, w, 3); it gets one picture of noise.
        runs: how often it is run.
    """
    runtime = load_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.x64quantprecision", "1")  # as `edge_infer.engines.onnx` has it
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        entry = session.get_inputs()[0]
        picture = np.random.default_rng(0).integers(0, 256, (1, *entry.shape[1:]), dtype=np.uint8)
        for _ in range(runs):
            session.run(None, {entry.name: picture})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    quickest: dict[tuple[str, str], float] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            node = event["args"]["op_name"], event["name"]
            quickest[node] = min(quickest.get(node, float("inf")), event["dur"] / 1000)
    times: Counter[str] = Counter()
    for (kind, _), milliseconds in quickest.items():
        times[kind] += milliseconds  # type: ignore[assignment]
    return {kind: float(milliseconds) for kind, milliseconds in times.most_common()}


def table(times: dict[str, float]) -> str:
    """Markdown: operation, milliseconds, share."""
    total = sum(times.values()) or 1.0
    rows = [f"| {kind} | {spent:.2f} | {spent / total:.1%} |" for kind, spent in times.items()]
    return "\n".join(["| operation | ms | share |", "| --- | --- | --- |", *rows])
