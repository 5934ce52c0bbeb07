"""Variants take turns, every part has its size and its ratio, and the table says both."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import variants
from edge_infer.bundle.manifest import Variant
from edge_infer.bundle.store import Bundle, load_bundle


def test_candidates_take_turns_and_the_first_one_changes() -> None:
    order: list[str] = []
    runs: dict[tuple[str, str], Callable[[], object]] = {
        (name, "both"): lambda name=name: order.append(name)
        for name in "abc"  # type: ignore[misc]
    }
    samples = variants.take_turns(runs, rounds=2, warmup=1)
    assert "".join(order) == "abcbcacab"
    assert {len(times) for times in samples.values()} == {2}


def test_every_part_of_every_variant_has_its_size_and_ratio(
    toy_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_bundle(toy_bundle)
    spec = loaded.manifest
    stages = {}
    for name in ("segmenter", "classifier"):
        stage, file = getattr(spec, name), f"{name}.onnx"
        small = Variant("onnx", file, "int8", "x86", "the same file", spec.parity, spec.golden.tolerance)
        package = replace(small, format="coreml", precision="float16")
        stages[name] = replace(stage, variants={"int8": small, "coreml-float16": package})
    bundle = Bundle(loaded.path, replace(spec, **stages), loaded.sha256)
    run: Callable[[NDArray[np.uint8]], object] = lambda batch: batch  # noqa: E731
    monkeypatch.setattr(variants, "_eager", lambda bundle: [run, run])
    result = variants.compare_variants(bundle, rounds=8, warmup=1)
    rows = {(row.name, row.part): row for row in result.rows}
    assert len(rows) == 4 * 3
    files = spec.files
    assert rows["int8", "both"].bytes == files["segmenter.onnx"].bytes + files["classifier.onnx"].bytes
    assert rows["float32", "classifier"].bytes == files["classifier.onnx"].bytes
    assert rows["torch-eager", "both"].bytes is None and rows["torch-eager", "both"].speedup is None
    ratio = rows["int8", "both"].speedup
    assert ratio is not None and ratio.low <= ratio.value <= ratio.high
    assert rows["coreml-float16", "both"].milliseconds == () and rows["coreml-float16", "both"].median is None
    variants.write_comparison(tmp_path / "out.json", result)
    table = (tmp_path / "out.md").read_text(encoding="utf-8")
    assert "| int8 | both |" in table and "| coreml-float16 | both |" in table
    assert len(json.loads((tmp_path / "out.json").read_text())["rows"]) == 12
