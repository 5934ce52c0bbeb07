"""Result files made from the toy bundle, as two devices would have written them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edge_infer.benchmark.measure import Effort
from edge_infer.benchmark.plan import Plan
from edge_infer.benchmark.result_file import write_results
from edge_infer.benchmark.results import Results
from edge_infer.benchmark.suite import run_suite
from edge_infer.bundle.store import load_bundle


@pytest.fixture(scope="session")
def device_results(toy_bundle: Path) -> Results:
    """A short run on this machine with a target that failed."""
    plan = Plan(
        targets=("cpu", "cuda"),
        threads=(1,),
        batch_sizes=(1,),
        effort=Effort(warmup=1, runs=48, seconds=0.0, block=8),
        offline_seconds=0.05,
        sustained_minutes=0.003,
        cold_starts=1,
        probe_seconds=0.01,
    )
    return run_suite(load_bundle(toy_bundle), plan)


@pytest.fixture(scope="session")
def result_files(device_results: Results, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The run, and a second device that took three times as long and whose placement is planned by Core ML."""
    folder = tmp_path_factory.mktemp("results")
    rows = []
    for row in device_results.rows:
        if row.single is not None:
            slow = replace(row.single, wall_ms=tuple(3 * value for value in row.single.wall_ms))
            scaled = {
                name: replace(found, value=3 * found.value, low=3 * found.low, high=3 * found.high)
                for name, found in slow.percentiles.items()
            }
            row = replace(row, single=replace(slow, percentiles=scaled), planned={"segmenter": {"neural_engine": 1.0}})
        rows.append(row)
    machine = replace(device_results.machine, device="Pretend<Mac>", processor="M0 & co")
    other = replace(device_results, rows=tuple(rows), machine=machine)
    write_results(folder / "here.json", device_results)
    write_results(folder / "there.json", other)
    return folder / "here.json", folder / "there.json"
