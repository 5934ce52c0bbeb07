"""int8 graphs: the scheme asked for, and in float what has to stay so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from tests.trainer.bundle.quantize.networks import SIZE, Classifier, Segmenter, export, run
from trainer.bundle.quantize import QuantizationReport, find_blocks, quantize_onnx


def zero_point_types(model: onnx.ModelProto, operation: str) -> set[int]:
    """Types of the zero points of activations that go into an operation."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    found = set()
    for node in model.graph.node:
        source = made_by.get(node.input[0]) if node.op_type == operation else None
        if source is not None:
            found.add(types[source.input[2]] if source.op_type == "DequantizeLinear" else onnx.TensorProto.FLOAT)
    return found


@pytest.mark.parametrize(("target", "kind"), [("x86", onnx.TensorProto.UINT8), ("arm", onnx.TensorProto.INT8)])
def test_each_target_gets_its_scheme(
    target: Any,
    kind: int,
    classifier: Path,
    pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    tmp_path: Path,
) -> None:
    path = tmp_path / "int8.onnx"
    report = quantize_onnx(classifier, path, *pictures, limit=1.0, target=target, float_blocks=[])
    model = onnx.load(path)
    assert zero_point_types(model, "Conv") == {kind}
    weights = {t.name: t for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 4}
    scales = {
        node.input[0]: next(t for t in model.graph.initializer if t.name == node.input[1])
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in weights
    }
    assert scales
    assert all(list(scales[name].dims) == [tensor.dims[0]] for name, tensor in weights.items())
    largest = max(int(np.abs(numpy_helper.to_array(tensor)).max()) for tensor in weights.values())
    assert largest <= 64 if target == "x86" else largest == 127
    assert report.scheme.startswith("QDQ U8S8" if target == "x86" else "QDQ S8S8")
    assert report.sensitivity == ()


def test_normalisation_and_softmax_stay_float(quantized: tuple[Path, QuantizationReport]) -> None:
    model = onnx.load(quantized[0])
    assert zero_point_types(model, "Softmax") <= {onnx.TensorProto.FLOAT}
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.index("Cast") < kinds.index("QuantizeLinear")
    first = next(
        node
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] not in {tensor.name for tensor in model.graph.initializer}
    )
    made_by = {name: node.op_type for node in model.graph.node for name in node.output}
    assert made_by[first.input[0]] in {"Sub", "Add", "Mul"}


def test_float_blocks_stay_float(
    classifier: Path, pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]], tmp_path: Path
) -> None:
    blocks = find_blocks(onnx.load(classifier))
    quantize_onnx(classifier, tmp_path / "int8.onnx", *pictures, limit=1.0, float_blocks=["stem.0", "head"])
    model = onnx.load(tmp_path / "int8.onnx")
    stored = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    layers = {node.name: node for node in model.graph.node if node.op_type in ("Conv", "Gemm")}
    for block, names in blocks.items():
        for name in set(names) & set(layers):
            is_float = stored.get(layers[name].input[1]) == onnx.TensorProto.FLOAT
            assert is_float == (block in {"stem.0", "head"})


def test_a_segmenters_transposed_convolution_runs_in_int8_too(
    pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    source = export(Segmenter(), tmp_path / "segmenter.onnx")
    report = quantize_onnx(source, tmp_path / "int8.onnx", *pictures, limit=0.02)
    expected, actual = run(source, pictures[1]), run(tmp_path / "int8.onnx", pictures[1])
    assert actual.shape == expected.shape == (16, SIZE, SIZE)
    assert 0 < np.abs(expected - actual).mean() < 0.02
    assert report.float_blocks == ()
    assert "ConvTranspose" in {node.op_type for node in onnx.load(source).graph.node}
    assert not {"ConvTranspose", "DepthToSpace"} & {
        node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node
    }


def test_nothing_between_the_int8_layers_is_converted(
    pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    source = export(Segmenter(), tmp_path / "segmenter.onnx")
    quantize_onnx(source, tmp_path / "int8.onnx", *pictures, limit=0.1)
    kinds = [node.op_type for node in optimised(tmp_path / "int8.onnx", tmp_path).graph.node]
    # In once and out once: every conversion in between was fused or dropped.
    assert kinds.count("QuantizeLinear") == kinds.count("DequantizeLinear") == 1
    assert kinds.index("QuantizeLinear") < kinds.index("QLinearConv") < kinds.index("DequantizeLinear")


def optimised(path: Path, folder: Path) -> onnx.ModelProto:
    """The graph as ONNX Runtime runs it."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "optimised.onnx")


def test_the_mean_over_mirrored_views_stays_float(
    pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    source = export(Classifier(), tmp_path / "views.onnx", views=4)
    quantize_onnx(source, tmp_path / "int8.onnx", *pictures, limit=0.05, float_blocks=[])
    model = onnx.load(tmp_path / "int8.onnx")
    kinds = [node.op_type for node in model.graph.node]
    assert not {"QuantizeLinear", "DequantizeLinear"}.intersection(kinds[kinds.index("Softmax") :])
