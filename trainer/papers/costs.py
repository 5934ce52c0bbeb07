"""What each row's network costs: operations, weights, and the measured time of its ONNX export.

Weights do not change any of these, so no trained network is needed: a row's recipe builds it anew.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edge_infer.benchmark.hardware import conditions, describe_machine
from edge_infer.bundle.manifest import OutputSpec, Stage
from edge_infer.engines.onnx import OnnxEngine
from edge_infer.files import write_atomically
from edge_infer.rules import InputSpec
from edge_infer.schema import SchemaError, dump, parse
from trainer.bundle.onnx import export_onnx
from trainer.errors import DataError
from trainer.models.complexity import Complexity, measure_module
from trainer.models.serving import (
    INPUT_NAME,
    MAP_NAME,
    PROBABILITIES_NAME,
    ServingClassifier,
    ServingGraph,
    ServingJoint,
    ServingSegmenter,
)
from trainer.papers.rows import Row, read_rows
from trainer.recipe import ModelConfig, Recipe
from trainer.training.checkpoint import build_model, class_names
from trainer.training.initial import encoder_of

COSTS = "costs.json"
ROUNDS, CALLS = 7, 3


@dataclass(frozen=True)
class Cost:
    """Of one network at one input size, one picture.

    Attributes:
        parameters: trainable weights.
        gflops: floating-point operations in 1e9; a multiply-add counts as two.
        milliseconds: median time in ONNX Runtime, float32, one thread, the network alone.
        low, high: quartiles of the rounds' medians.
    """

    parameters: int
    gflops: float
    milliseconds: float
    low: float
    high: float


@dataclass(frozen=True)
class Costs:
    """All that was measured in one run, every network in turn.

    Attributes:
        machine: the processor, in words.
        onnxruntime: version.
        networks: by `key_of`.
    """

    machine: str
    onnxruntime: str
    networks: dict[str, Cost]


def key_of(recipe: Recipe) -> str:
    """What sets a recipe's cost: network, options, classes and input size."""
    recipe = _pictured(recipe)
    options = "".join(f", {name} {value}" for name, value in sorted(recipe.model.options.items()))
    classes = "" if recipe.task == "segmentation" else f", {len(class_names(recipe))} classes"
    return f"{recipe.model.name}{options}{classes}, {recipe.data.size} px"


def recipe_of(row: Row) -> Recipe | None:
    """As it was trained; None where nothing was.

    Raises:
        DataError: it cannot be read.
    """
    if row.recipe is None:
        return None
    try:
        return parse(Recipe, row.recipe)
    except SchemaError as error:
        raise DataError(
            f"Row '{row.name}' holds no recipe: {error}.", "Make it again with `trainer compare`."
        ) from error


def measure_costs(folder: Path, say: Callable[[str], None] = print) -> Costs:
    """Builds, exports and times the networks of all rows in the comparisons of a folder, in turn on one thread.

    Args:
        folder: of the comparisons.
        say: receives progress in sentences.

    Raises:
        DataError: it holds no row of a trained network.
        ExportError: a network cannot be exported.
    """
    rows = [row for home in sorted(folder.iterdir()) if home.is_dir() for row in read_rows(home)]
    found = [recipe for row in rows if row.table != "ablations" and (recipe := recipe_of(row)) is not None]
    recipes = {key_of(recipe): _pictured(recipe) for recipe in found}
    if not recipes:
        raise DataError(f"'{folder}' holds no row of a trained network.", "Make one with `python -m trainer compare`.")
    sizes: dict[str, Complexity] = {}
    engines: dict[str, _Timed] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, (key, recipe) in enumerate(sorted(recipes.items()), 1):
            say(f"{number} of {len(recipes)}: {key}")
            with torch.device("meta"):
                sizes[key] = measure_module(build_model(recipe), recipe.data.size)
            engines[key] = _engine(recipe, sizes[key], Path(scratch) / f"{number}.onnx")
        times = _times(engines, say)
    networks = {key: Cost(sizes[key].parameters, round(sizes[key].gflops, 3), *times[key]) for key in sorted(recipes)}
    machine = describe_machine(conditions(), conditions())
    return Costs(f"{machine.processor}, one thread", machine.packages["onnxruntime"], networks)


def write_costs(costs: Costs, folder: Path) -> Path:
    """Writes `costs.json` at once and returns its path."""
    path = folder / COSTS
    write_atomically(path, (json.dumps(dump(costs), indent=1) + "\n").encode())
    return path


def read_costs(folder: Path) -> Costs | None:
    """What `write_costs` wrote; None where nothing was measured.

    Raises:
        DataError: of another form.
    """
    path = folder / COSTS
    if not path.is_file():
        return None
    try:
        return parse(Costs, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, SchemaError) as error:
        raise DataError(f"'{path}' holds no costs: {error}.", "Make it with `python -m trainer costs`.") from error


def cost_of(row: Row, costs: Costs) -> Cost | None:
    """Of a row's network; None where nothing was trained, or it was not measured yet."""
    recipe = recipe_of(row)
    return None if recipe is None else costs.networks.get(key_of(recipe))


def _pictured(recipe: Recipe) -> Recipe:
    """The part that sees the picture: a network that takes metadata too adds some thousand weights to it."""
    if recipe.model.name != "metadata_fusion":
        return recipe
    return replace(recipe, model=ModelConfig(encoder_of(recipe)), data=replace(recipe.data, metadata=False))


@dataclass(frozen=True)
class _Timed:
    engine: OnnxEngine
    outputs: tuple[str, ...]
    picture: NDArray[np.uint8]

    def milliseconds(self) -> float:
        start = time.perf_counter()
        self.engine.run_named(self.picture, self.outputs)
        return 1000 * (time.perf_counter() - start)


def _engine(recipe: Recipe, size: Complexity, path: Path) -> _Timed:
    network = build_model(recipe)
    side = recipe.data.size
    outlines = OutputSpec(MAP_NAME, "probability_map")
    named = OutputSpec(PROBABILITIES_NAME, "probabilities")
    graph: ServingGraph
    if recipe.task == "segmentation":
        graph, outputs = ServingSegmenter(network, recipe.normalization), [outlines]
    elif recipe.task == "classification":
        graph, outputs = ServingClassifier(network, recipe.normalization), [named]
    else:
        graph, outputs = ServingJoint(network, recipe.normalization), [outlines, named]
    stage = Stage(recipe.model.name, size.parameters, InputSpec(INPUT_NAME, side, side), outputs[0], {})
    labels = None if recipe.task == "segmentation" else class_names(recipe)
    export_onnx(graph, stage, path, labels, outputs[1:])
    picture = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    return _Timed(OnnxEngine(path, providers=["cpu"], threads=1), tuple(output.name for output in outputs), picture)


def _times(engines: dict[str, _Timed], say: Callable[[str], None]) -> dict[str, tuple[float, float, float]]:
    """Median and quartiles in milliseconds; each network's turn comes once a round, so that a slow minute hits all."""
    taken: dict[str, list[float]] = {key: [] for key in engines}
    for number in range(ROUNDS + 1):
        say("warming up" if number == 0 else f"round {number} of {ROUNDS}")
        for key, timed in engines.items():
            calls = [timed.milliseconds() for _ in range(CALLS)]
            if number:
                taken[key].append(float(np.median(calls)))
    return {key: _quartiles(values) for key, values in taken.items()}


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    low, middle, high = np.percentile(values, (25, 50, 75))
    return round(float(middle), 2), round(float(low), 2), round(float(high), 2)
