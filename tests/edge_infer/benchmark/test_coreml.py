"""The Neural Engine path without a Mac: plans shaped like `MLComputePlan`, written by hand, and engines that pretend.

They prove what this code does with what Core ML says. They say nothing about what Core ML would say.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_infer.benchmark import coreml, targets
from edge_infer.benchmark.coreml import conclude, shares_of, triangulate
from edge_infer.benchmark.measure import Effort
from edge_infer.benchmark.opening import OpenTarget, open_target
from edge_infer.benchmark.plan import Plan
from edge_infer.benchmark.results import Latency, Row
from edge_infer.benchmark.stats import Interval
from edge_infer.benchmark.suite import run_suite
from edge_infer.benchmark.targets import Target, find_target
from edge_infer.bundle.store import Bundle, load_bundle
from edge_infer.errors import EngineError

FIXTURE = Path(__file__).parents[2] / "benchmarks" / "compute_plan.json"


class MLCPUComputeDevice: ...


class MLGPUComputeDevice: ...


class MLNeuralEngineComputeDevice: ...


DEVICES: dict[str, Any] = {
    "cpu": MLCPUComputeDevice(),
    "gpu": MLGPUComputeDevice(),
    "ane": MLNeuralEngineComputeDevice(),
}


class Plan_:  # noqa: N801
    """An `MLComputePlan` as the coremltools documentation describes it, made from the fixture's operations."""

    def __init__(self, operations: Sequence[dict[str, Any]]) -> None:
        block = SimpleNamespace(operations=[self._operation(entry) for entry in operations])
        program = SimpleNamespace(functions={"main": SimpleNamespace(inputs=[], block=block)})
        self.model_structure = SimpleNamespace(neuralnetwork=None, pipeline=None, program=program)

    def _operation(self, entry: dict[str, Any]) -> SimpleNamespace:
        blocks = [SimpleNamespace(operations=[self._operation(item) for item in entry.get("block", [])])]
        return SimpleNamespace(operator_name=entry["operator_name"], blocks=blocks, entry=entry)

    def get_estimated_cost_for_mlprogram_operation(self, operation: SimpleNamespace) -> SimpleNamespace | None:
        weight = operation.entry.get("weight")
        return None if weight is None else SimpleNamespace(weight=weight)

    def get_compute_device_usage_for_mlprogram_operation(self, operation: SimpleNamespace) -> SimpleNamespace | None:
        device = operation.entry.get("device")
        if device is None:
            return None
        supported = [DEVICES[name] for name in operation.entry["supported"]]
        return SimpleNamespace(preferred_compute_device=DEVICES[device], supported_compute_devices=supported)


@pytest.fixture(scope="module")
def operations() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(FIXTURE.read_text())["operations"]
    return found


def test_planned_shares_weigh_operations_by_cost(operations: list[dict[str, Any]]) -> None:
    shares = shares_of(Plan_(operations))
    assert shares == {
        "cpu": pytest.approx(0.10),
        "gpu": pytest.approx(0.15),
        "neural_engine": pytest.approx(0.70),
        "unplaced": pytest.approx(0.05),
    }


def test_a_plan_without_costs_is_no_plan() -> None:
    with pytest.raises(EngineError, match="no operation a cost"):
        shares_of(Plan_([{"operator_name": "const"}]))
    empty = Plan_([])
    empty.model_structure.program = None
    with pytest.raises(EngineError, match="not of an ML program"):
        shares_of(empty)


def test_the_stand_ins_have_the_real_classes_shape() -> None:
    plan = pytest.importorskip("coremltools.models.compute_plan")
    device = pytest.importorskip("coremltools.models.compute_device")
    for name in ("get_compute_device_usage_for_mlprogram_operation", "get_estimated_cost_for_mlprogram_operation"):
        assert callable(getattr(plan.MLComputePlan, name))
    assert {"operator_name", "blocks"} <= {field.name for field in fields(plan.MLModelStructureProgramOperation)}
    assert "preferred_compute_device" in {field.name for field in fields(plan.MLComputePlanDeviceUsage)}
    assert "weight" in {field.name for field in fields(plan.MLComputePlanCost)}
    assert all(hasattr(device, name) for name in coreml._DEVICES)


@pytest.mark.parametrize(
    ("cpu", "gpu", "ane", "everything", "expected"),
    [
        (10, 5, 2, 2.0, "as fast as the Neural Engine setting"),
        (10, 2, 5, 2.0, "as fast as the GPU setting"),
        (10, 10, 10, 10, "neither accelerator does visible work"),
        (10, 2, 2, 2, "cannot tell"),
        (10, 5, 2, 4, "another mixture"),
    ],
)
def test_four_timings_say_where_all_runs(cpu: float, gpu: float, ane: float, everything: float, expected: str) -> None:
    medians = {"CPU_ONLY": cpu, "CPU_AND_GPU": gpu, "CPU_AND_NE": ane, "ALL": everything}
    assert expected in triangulate(medians)


def test_three_timings_say_nothing() -> None:
    assert triangulate({"CPU_ONLY": 1, "CPU_AND_GPU": 1, "ALL": 1}) == "No conclusion: CPU_AND_NE was not measured."


def test_a_native_row_carries_its_plan_and_the_triangulation(
    toy_bundle: Path, operations: list[dict[str, Any]]
) -> None:
    bundle = load_bundle(toy_bundle)

    def opener(target: Target, bundle: Bundle, threads: int) -> OpenTarget:
        opened = open_target(find_target("cpu"), bundle, threads, prove=False)
        planned = {"segmenter": shares_of(Plan_(operations))}
        return OpenTarget(opened.segmenter, opened.classifier, {}, planned)

    names = tuple(target.name for target in targets.CATALOGUE if target.compute_units)
    plan = Plan(
        targets=names,
        threads=(1,),
        batch_sizes=(1,),
        effort=Effort(1, 10, 0.0, 2),
        offline_seconds=0.05,
        cold_starts=0,
        probe_seconds=0.01,
    )
    results = run_suite(bundle, plan, opener=opener)
    assert [row.target for row in results.rows] == list(names)
    for row in results.rows:
        assert row.status == "ok" and row.planned["segmenter"]["neural_engine"] == pytest.approx(0.7)
        assert row.placement == {}
        assert any("CPU_ONLY" in note or "No conclusion" in note for note in row.notes)
        assert row.attained == {}


def test_core_ml_is_never_pretended_here(toy_bundle: Path) -> None:
    if sys.platform == "darwin":
        pytest.skip("Core ML exists here")
    results = run_suite(
        load_bundle(toy_bundle),
        Plan(targets=("coreml-all",), threads=(1,), batch_sizes=(), cold_starts=0, probe_seconds=0.01),
    )
    assert results.rows[0].status == "failed" and "Apple" in results.rows[0].error


def test_both_kinds_of_core_ml_target_are_concluded_on_their_own() -> None:
    def row(name: str, median: float) -> tuple[Target, Row]:
        latency = Latency(1, (), (), (), {}, {"p50": Interval(median, median, median)})
        return find_target(name), Row(name, name, "ok", 1, single=latency)

    names = ("cpu-only", "cpu-and-gpu", "cpu-and-ne", "all")
    through_ort = [row(f"coreml-ep-{name}", median) for name, median in zip(names, (10, 5, 2, 2), strict=True)]
    native = [row(f"coreml-{name}", median) for name, median in zip(names, (10, 10, 10, 10), strict=True)]
    others = [row("cpu", 1), row("coreml-all:other", 1)]
    notes = conclude([*through_ort, *others, *native])
    assert [len(said) for said in notes] == [1] * 4 + [0] * 2 + [1] * 4
    assert all("as fast as the Neural Engine setting" in said[0] for said in notes[:4])
    assert all("neither accelerator does visible work" in said[0] for said in notes[6:])
    assert conclude(others) == [(), ()]
