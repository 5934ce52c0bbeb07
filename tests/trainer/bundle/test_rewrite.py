"""Transposed convolutions rewritten: the same results, in float32 to rounding and in int8 without a conversion left."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_infer.bundle.store import load_bundle
from tests.conftest import REPOSITORY
from trainer.bundle.rewrite import expand_depth_to_space, rewrite_transposed
from trainer.bundle.storage import load_wide

LIMIT = 1e-5


def network(**changes: Any) -> onnx.ModelProto:
    """One transposed convolution (n, 6, 5, 7) -> (n, 4, 10, 14) with random weights, and what is changed of it."""
    rng = np.random.default_rng(0)
    groups, kernel, bias = changes.get("group", 1), changes.get("kernel_shape", [2, 2]), changes.pop("bias", True)
    shared, size = changes.pop("shared", False), changes.pop("size", [5, 7])
    weight = rng.normal(size=(6, 4 // groups, *kernel)).astype(np.float32)
    initializers = [numpy_helper.from_array(weight, "up.weight")]
    inputs = ["x", "up.weight"]
    if bias:
        initializers.append(numpy_helper.from_array(rng.normal(size=4).astype(np.float32), "up.bias"))
        inputs.append("up.bias")
    attributes = {"kernel_shape": kernel, "strides": [2, 2], **changes}
    nodes = [helper.make_node("ConvTranspose", inputs, ["y"], "up", **attributes)]
    outputs = ["y"]
    if shared:
        nodes.append(helper.make_node("ConvTranspose", inputs, ["z"], "again", **attributes))
        outputs.append("z")
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 6, *size])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4, "rows", "columns"]) for name in outputs],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def results(model: onnx.ModelProto, batch: NDArray[Any]) -> NDArray[np.float32]:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: batch})[0]
    return found


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("bias", [True, False])
def test_random_weights_give_the_same_results(bias: bool) -> None:
    model = network(bias=bias)
    batch = np.random.default_rng(1).normal(size=(3, 6, 5, 7)).astype(np.float32)
    expected = results(model, batch)

    assert rewrite_transposed(model) == 1
    assert kinds(model) == ["Conv", "DepthToSpace"]
    assert np.abs(results(model, batch) - expected).max() < LIMIT

    assert expand_depth_to_space(model) == 1
    assert kinds(model) == ["Conv", "Transpose", "Reshape", "Transpose", "Reshape", "Transpose"]
    assert np.abs(results(model, batch) - expected).max() < LIMIT
    assert {tensor.name for tensor in model.graph.initializer} >= {"up.weight"}


@pytest.mark.parametrize(
    "changes",
    [
        {"group": 2},
        {"kernel_shape": [3, 3]},
        {"strides": [1, 1]},
        {"pads": [1, 1, 1, 1]},
        {"output_padding": [1, 1]},
        {"dilations": [2, 2]},
        {"auto_pad": "SAME_UPPER"},
        {"shared": True},
    ],
)
def test_what_is_another_operation_stays(changes: dict[str, Any]) -> None:
    model = network(**changes)
    before = model.SerializeToString()
    assert rewrite_transposed(model) == 0
    assert model.SerializeToString() == before


def test_a_size_that_the_graph_leaves_open_keeps_the_operation() -> None:
    model = network(size=["h", "w"])
    batch = np.random.default_rng(1).normal(size=(2, 6, 4, 3)).astype(np.float32)
    expected = results(model, batch)
    assert rewrite_transposed(model) == 1
    assert expand_depth_to_space(model) == 0
    assert np.abs(results(model, batch) - expected).max() < LIMIT


def test_the_trained_segmenter_of_reference_gives_the_same_map() -> None:
    bundle = load_bundle(REPOSITORY / "exported/reference")
    model = load_wide(bundle.file("segmenter", "onnx"))
    spec = bundle.manifest.segmenter.input
    noise = np.random.default_rng(0).integers(0, 256, (1, spec.height, spec.width, 3), dtype=np.uint8)
    ramp = np.broadcast_to(np.linspace(0, 255, spec.width, dtype=np.uint8)[:, None], noise.shape)
    batch = np.concatenate([noise, np.ascontiguousarray(ramp)])
    expected = results(model, batch)
    assert rewrite_transposed(model) == 7
    assert "ConvTranspose" not in kinds(model)
    assert np.abs(results(model, batch) - expected).max() < LIMIT
    assert expand_depth_to_space(model) == 7
    assert np.abs(results(model, batch) - expected).max() < LIMIT
