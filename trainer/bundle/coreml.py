"""Core ML export: one stage as an ML program (`.mlpackage`) with an image input.

The model is captured with `torch.export`, as for ONNX, and not with `torch.jit.trace`: a trace silently bakes in the
Python branches that one example took, while `torch.export` refuses what it cannot capture. So both formats come from
the same kind of graph, nothing is decided by the environment, and the versions used are written into the package.

Minimum deployment target: iOS 16 / macOS 13. It is the oldest that decompresses 8-bit and palettised weights
(`constexpr_*` operations) in an ML program, so one target serves every option here.

Float16 is not float16 throughout. A first layer behind which batch normalisation divides by a very small variance has
folded weights of 20 and more that cancel each other on smooth skin; rounding them, or its input, moves every later
value. `find_float_layers` measures how many of the first layers must compute in float32. They are the first, so that
a device that computes in float16 only (the Neural Engine) is entered once; what they cost is a share of the
multiplications that then runs on the CPU or the GPU, written into the package and the manifest.

The package's batch is 1 and its shapes are static, because the Neural Engine takes nothing else. Several pictures are
handed to Core ML as a list (its own batch prediction), one image each; see `edge_infer.engines.coreml`.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import edge_infer
from edge_infer.bundle.manifest import Stage
from edge_infer.schema import dump
from trainer.bundle.errors import ExportError
from trainer.bundle.mil import FirstLayers, MilProgram
from trainer.bundle.storage import MIN_INT8_ELEMENTS

Precision = Literal["float16", "float32"]
Weights = Literal["int8", "palette6"]
MINIMUM_TARGET = "iOS16"
_FLOAT_LAYERS = (0, 1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128)
_MOST_FLOAT32 = 0.5


def export_coreml(
    model: nn.Module,
    stage: Stage,
    labels: Sequence[str] | None,
    path: Path,
    *,
    precision: Precision = "float16",
    float_layers: int = 0,
    weights: Weights | None = None,
) -> None:
    """Converts one stage and writes the package; an existing one at `path` is replaced when the new one is complete.

    Args:
        model: a `ServingSegmenter` or `ServingClassifier`, as ONNX gets it: pictures (n, height, width, 3) of values
            0..255 in, probabilities out; normalisation, sigmoid or softmax and temperature are inside. It is called
            with float32 pictures here, because Core ML hands an image to a program as floating point.
        stage: name and size of the input, name and kind of the output.
        labels: class names in the classifier's order, stored in the metadata; None for a segmenter.
        path: the `.mlpackage` to write.
        precision: of activations and weights. The output is float32 either way.
        float_layers: with "float16", so many of the first layers, and all before and between them, stay in float32
            (`trainer.bundle.mil.FirstLayers`); see `find_float_layers`.
        weights: "int8" stores tensors of `MIN_INT8_ELEMENTS` or more as 8-bit integers, linear, symmetric, per channel,
            as `trainer.bundle.storage` does; "palette6" stores tensors of 2,048 or more as 6-bit indices into a k-means
            palette of each. Core ML decompresses them when it loads the model: the file gets smaller, the arithmetic
            does not get faster.

    The result takes an RGB image of the stage's size, named as in `stage`, and gives one float32 multi-array of the
    same name, shape and meaning as the ONNX file's output for one picture.

    Raises:
        ExportError: the model is in training mode, cannot be captured or converted, or `path` has another suffix.
    """
    import coremltools as ct

    if model.training:
        raise ExportError(f"{stage.architecture} is in training mode.", "Call eval() before exporting it.")
    if path.suffix != ".mlpackage":
        raise ExportError(f"'{path}' is no name for a Core ML package.", "Let it end in .mlpackage.")
    height, width = stage.input.height, stage.input.width
    example = torch.zeros(1, 3, height, width)
    further: tuple[str, ...] = getattr(model, "further_outputs", ())
    try:
        program = torch.export.export(_PlanesFirst(model), (example,)).run_decompositions({})
        _drop_aliases(program)
        package = ct.convert(
            program,
            inputs=[ct.ImageType(name="image", shape=example.shape, color_layout=ct.colorlayout.RGB)],
            outputs=[ct.TensorType(name=name, dtype=np.float32) for name in (stage.output.name, *further)],
            convert_to="mlprogram",
            minimum_deployment_target=ct.target[MINIMUM_TARGET],
            compute_precision=_compute_precision(precision, float_layers),
            skip_model_load=True,
        )
    except (RuntimeError, NotImplementedError, ValueError) as error:
        raise ExportError(
            f"{stage.architecture} cannot be exported to Core ML: {error}.",
            "Avoid data-dependent control flow and operations without a Core ML counterpart.",
        ) from error
    package = _compress(package, weights)
    if stage.input.name != "image":
        spec = package.get_spec()
        ct.utils.rename_feature(spec, "image", stage.input.name, rename_outputs=False)
        package = ct.models.MLModel(spec, weights_dir=package.weights_dir, skip_model_load=True)
    package.short_description = f"{stage.architecture}: {stage.output.kind} of a dermoscopic picture"
    package.user_defined_metadata.update(_metadata(stage, labels, precision, float_layers, weights))
    _save(package, path)


def find_float_layers(model: nn.Module, stage: Stage, pictures: NDArray[np.uint8], limit: float) -> int:
    """The least number of first layers in float32 with which float16 moves no result by more than `limit`.

    Measured with the interpreter, which rounds weights and every operation's result; see `trainer.bundle.mil`.

    Args:
        model: as for `export_coreml`.
        stage: the same.
        pictures: uint8 (n, height, width, 3) from the training split, as the network sees them.
        limit: in probability. What is found here must hold on other pictures, so take half of what the gate allows.

    Raises:
        ExportError: more than half of the multiplications would have to be float32.
    """
    with tempfile.TemporaryDirectory(prefix="coreml-") as folder:
        path = Path(folder) / "float32.mlpackage"
        export_coreml(model, stage, None, path, precision="float32")
        program = MilProgram(path)
    expected = program.run(pictures)

    def holds(count: int) -> bool:
        pairs = zip(pictures, expected, strict=True)
        return all(np.abs(program.run(p[None], float_layers=count)[0] - e).max() <= limit for p, e in pairs)

    for count in _FLOAT_LAYERS:
        if program.share_of_first(count) > _MOST_FLOAT32:
            break
        if holds(count):
            return count
    raise ExportError(
        f"{stage.architecture} moves by more than {limit:g} in float16 even with half of its work in float32.",
        "Export it to Core ML in float32.",
    )


def _compute_precision(precision: Precision, float_layers: int) -> Any:
    import coremltools as ct

    if precision == "float32":
        return ct.precision.FLOAT32
    if not float_layers:
        return ct.precision.FLOAT16
    in_float = FirstLayers(float_layers)
    return ct.transform.FP16ComputePrecision(op_selector=lambda op: not in_float(op.op_type))


class _PlanesFirst(nn.Module):
    """Hands Core ML's image planes (1, 3, height, width) on as pictures; the converter cancels both moves."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, image: Tensor) -> Any:
        return self.model(image.permute(0, 2, 3, 1))


def _drop_aliases(program: torch.export.ExportedProgram) -> None:
    """Takes out `aten.alias`, which a slice of a whole axis leaves behind: a no-op that coremltools does not know."""
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten.alias.default and all(user.op != "output" for user in node.users):
            node.replace_all_uses_with(node.args[0])
            program.graph.erase_node(node)
    program.graph_module.recompile()


def _compress(package: Any, weights: Weights | None) -> Any:
    from coremltools.optimize import coreml as optimize

    if weights == "int8":
        below = MIN_INT8_ELEMENTS - 1
        linear = optimize.OpLinearQuantizerConfig(mode="linear_symmetric", dtype="int8", weight_threshold=below)
        return optimize.linear_quantize_weights(package, optimize.OptimizationConfig(global_config=linear))
    if weights == "palette6":
        palette = optimize.OpPalettizerConfig(mode="kmeans", nbits=6)
        return optimize.palettize_weights(package, optimize.OptimizationConfig(global_config=palette))
    return package


def _metadata(
    stage: Stage, labels: Sequence[str] | None, precision: Precision, float_layers: int, weights: Weights | None
) -> dict[str, str]:
    packages = {name: importlib.metadata.version(name) for name in ("torch", "coremltools", "numpy")}
    metadata = {
        "edge_infer.stage": json.dumps(dump(stage)),
        "edge_infer.trainer": edge_infer.__version__,
        "edge_infer.precision": precision,
        "edge_infer.float32_layers": str(float_layers) if precision == "float16" else "all",
        "edge_infer.weights": weights or precision,
        "edge_infer.minimum_target": MINIMUM_TARGET,
        "edge_infer.exporter": "torch.export",
        "edge_infer.packages": json.dumps(packages),
    }
    if labels is not None:
        metadata["edge_infer.labels"] = json.dumps(list(labels))
    return metadata


def _save(package: Any, path: Path) -> None:
    """Writes beside the destination first, so that a failure leaves no half-written package there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".coreml-", dir=path.parent) as folder:
        complete = Path(folder) / path.name
        package.save(str(complete))
        if path.exists():
            shutil.rmtree(path)
        complete.rename(path)
