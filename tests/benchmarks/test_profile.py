"""Time by operation."""

from __future__ import annotations

from pathlib import Path

from benchmarks.profile import table, time_by_operation
from edge_infer.bundle.store import load_bundle


def test_every_kind_of_node_is_named_with_its_share(toy_bundle: Path) -> None:
    times = time_by_operation(load_bundle(toy_bundle).file("segmenter", "onnx"), runs=2)
    assert times and list(times.values()) == sorted(times.values(), reverse=True)
    assert all(name in table(times) for name in times)
    assert table({"Conv": 3.0, "Add": 1.0}).splitlines()[-2:] == ["| Conv | 3.00 | 75.0% |", "| Add | 1.00 | 25.0% |"]
