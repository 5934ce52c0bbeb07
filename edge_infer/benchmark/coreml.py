"""Where Core ML says it would run a network, and what four timings say about it.

`MLComputePlan` is a forecast: it names the device that Core ML prefers for each operation and the operation's share of
the estimated cost. It never measured anything, so its figures are called "planned" everywhere. Loading the same package
with four settings of compute units and timing each is a measurement, and the only one from outside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edge_infer.benchmark.results import Row
from edge_infer.benchmark.targets import Target
from edge_infer.errors import EngineError

UNITS = ("CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE", "ALL")
_DEVICES = {"MLCPUComputeDevice": "cpu", "MLGPUComputeDevice": "gpu", "MLNeuralEngineComputeDevice": "neural_engine"}
UNPLACED = "unplaced"
# Two settings count as equally fast within this; the timings of one device in two processes differ by as much.
_TIE = 1.05


def planned_shares(package: Path, compute_units: str) -> dict[str, float]:
    """Asks Core ML for its plan of a package. macOS 14.4 or later.

    Raises:
        EngineError: coremltools or Core ML cannot give a plan here.
    """
    try:
        import coremltools as ct
        from coremltools.models.compute_plan import MLComputePlan

        units = getattr(ct.ComputeUnit, compute_units)
        model = ct.models.MLModel(str(package), compute_units=units)
        plan = MLComputePlan.load_from_path(path=model.get_compiled_model_path(), compute_units=units)
    except Exception as error:
        raise EngineError(
            f"Core ML gives no plan for '{package.name}': {error}.", "Use macOS 14.4 or later."
        ) from error
    return shares_of(plan)


def shares_of(plan: Any) -> dict[str, float]:
    """Share of the estimated cost by preferred device in an `MLComputePlan` of an ML program.

    Operations without a preferred device but with a cost count as "unplaced"; those without a cost (constants) do not
    count. Nested blocks are followed.

    Raises:
        EngineError: the plan is not of an ML program, or gives no cost at all.
    """
    program = plan.model_structure.program
    if program is None:
        raise EngineError("Core ML's plan is not of an ML program.", "Export the bundle with this trainer.")
    costs: Counter[str] = Counter()
    for function in program.functions.values():
        for operation in _operations(function.block):
            cost = plan.get_estimated_cost_for_mlprogram_operation(operation)
            if cost is None or not cost.weight:
                continue
            usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
            device = UNPLACED if usage is None else _device_name(usage.preferred_compute_device)
            costs[device] += cost.weight
    total = sum(costs.values())
    if not total:
        raise EngineError("Core ML's plan gives no operation a cost.", "Use macOS 14.4 or later.")
    return {device: weight / total for device, weight in sorted(costs.items())}


def _operations(block: Any) -> Iterator[Any]:
    for operation in block.operations:
        yield operation
        for nested in operation.blocks:
            yield from _operations(nested)


def _device_name(device: Any) -> str:
    name = type(device).__name__
    return _DEVICES.get(name, name)


def triangulate(median_ms: Mapping[str, float]) -> str:
    """What the four timings together say about where `ALL` runs, in one sentence.

    Args:
        median_ms: median time by compute units; some may be missing.
    """
    missing = [units for units in UNITS if units not in median_ms]
    if missing:
        return f"No conclusion: {', '.join(missing)} was not measured."
    cpu, gpu, engine, everything = (median_ms[units] for units in UNITS)
    engine_gain, gpu_gain = cpu / engine, cpu / gpu
    figures = f"CPU_AND_NE is {engine_gain:.1f}x and CPU_AND_GPU {gpu_gain:.1f}x as fast as CPU_ONLY"
    if engine_gain <= _TIE and gpu_gain <= _TIE:
        return f"{figures}: neither accelerator does visible work; ALL runs on the CPU."
    best, slower = ("Neural Engine", gpu) if engine <= gpu else ("GPU", engine)
    fastest = min(engine, gpu)
    if slower <= fastest * _TIE:
        return f"{figures}: Neural Engine and GPU are equally fast, so the timings cannot tell which one ALL uses."
    if everything > fastest * _TIE:
        slowdown = everything / fastest
        return f"{figures}; ALL takes {slowdown:.2f}x the time of the {best} setting, so it chose another mixture."
    return f"{figures}; ALL is as fast as the {best} setting, which agrees with running there."


def conclude(rows: Iterable[tuple[Target, Row]]) -> list[tuple[str, ...]]:
    """What the four compute-unit settings say together, as notes for each row; none for rows of other targets."""
    measured = list(rows)
    notes: list[tuple[str, ...]] = [() for _ in measured]
    for native in (True, False):
        units = [_units(target, native) for target, _ in measured]
        medians = {
            unit: row.single.percentiles["p50"].value
            for unit, (_, row) in zip(units, measured, strict=True)
            if unit and row.single and "p50" in row.single.percentiles
        }
        if medians:
            said = triangulate(medians)
            notes = [(*old, said) if unit else old for old, unit in zip(notes, units, strict=True)]
    return notes


def _units(target: Target, native: bool) -> str | None:
    if target.variant is not None:
        return None
    if native:
        return target.compute_units
    suffix = target.name.removeprefix("coreml-ep-").upper().replace("-", "_")
    return suffix if target.name.startswith("coreml-ep-") and suffix in UNITS else None
