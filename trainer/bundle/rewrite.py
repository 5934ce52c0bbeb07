"""Transposed convolutions as what int8 engines are quick at: 1x1 convolutions whose channels are dealt out to pixels.

A transposed convolution with a 2x2 kernel and stride 2 writes every output pixel once: four 1x1 convolutions side by
side, one for each position in the 2x2 cell. So it equals one 1x1 convolution with four times the channels, followed by
ONNX's DepthToSpace. ONNX Runtime has no int8 transposed convolution on the CPU; it has both of these in int8.

Its DepthToSpace moves single values, though, while pictures lie channels last between int8 convolutions. Written out as
moves of whole pixels, channels last, the network is a sixth quicker; `expand_depth_to_space` does that.

In float32 all three take the same time within 4 %, so only what is quantised is rewritten.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

_CELL = 2


def rewrite_transposed(model: onnx.ModelProto) -> int:
    """Replaces each ungrouped 2x2 stride-2 ConvTranspose without padding, in place; others stay.

    Nodes and weights keep their names. A weight gets the shape (4 * out, in, 1, 1), with the row and the column of the
    cell before the channel, and a bias is repeated four times. What is computed is the same sums of the same products;
    an engine may add them in another order, which float32 rounds otherwise.

    Args:
        model: with plain initializers; see `trainer.bundle.storage.load_wide`.

    Returns:
        How many were replaced.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    uses = Counter(name for node in model.graph.node for name in node.input)
    nodes: list[onnx.NodeProto] = []
    count = 0
    for node in model.graph.node:
        stored = [name for name in node.input[1:] if name]
        if not _is_cellwise(node) or any(name not in tensors or uses[name] > 1 for name in stored):
            nodes.append(node)
            continue
        weight, *bias = (tensors[name] for name in stored)
        _store(weight, _pointwise(numpy_helper.to_array(weight)))
        for tensor in bias:
            _store(tensor, np.tile(numpy_helper.to_array(tensor), _CELL * _CELL))
        cells = f"{node.output[0]}.cells"
        nodes += [
            helper.make_node("Conv", list(node.input), [cells], node.name, kernel_shape=[1, 1]),
            helper.make_node(
                "DepthToSpace", [cells], list(node.output), f"{node.name}.deal", blocksize=_CELL, mode="DCR"
            ),
        ]
        count += 1
    _replace_nodes(model, nodes)
    return count


def expand_depth_to_space(model: onnx.ModelProto) -> int:
    """Writes each DepthToSpace of a known size out as Reshape and Transpose of whole pixels, channels last, in place.

    The first and the last Transpose only say how the tensor lies; ONNX Runtime drops them between int8 convolutions.

    Returns:
        How many were written out; those whose rows, columns or channels the graph leaves open stay.
    """
    inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
    sizes = {info.name: [size.dim_value for size in info.type.tensor_type.shape.dim] for info in inferred}
    nodes: list[onnx.NodeProto] = []
    count = 0
    for node in model.graph.node:
        size = sizes.get(node.input[0], []) if node.op_type == "DepthToSpace" else []
        found = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        if len(size) != 4 or not all(size[1:]) or found.get("mode", b"DCR") != b"DCR":
            nodes.append(node)
            continue
        nodes += _pixels_moved(model.graph, node, size[1:], found["blocksize"])
        count += 1
    _replace_nodes(model, nodes)
    return count


def _pixels_moved(graph: onnx.GraphProto, node: onnx.NodeProto, size: list[int], cell: int) -> list[onnx.NodeProto]:
    """(n, cell * cell * c, h, w) to (n, c, cell * h, cell * w), like the node; 0 in a Reshape keeps n."""
    channels, rows, columns = size[0] // cell**2, size[1], size[2]
    name = node.name or node.output[0]
    shapes = {"split": [0, rows, columns, cell, cell, channels], "join": [0, cell * rows, cell * columns, channels]}
    for part, shape in shapes.items():
        graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), f"{name}.{part}.shape"))
    steps = (
        ("last", "Transpose", [0, 2, 3, 1]),
        ("split", "Reshape", None),
        ("deal", "Transpose", [0, 1, 3, 2, 4, 5]),
        ("join", "Reshape", None),
        ("first", "Transpose", [0, 3, 1, 2]),
    )
    result, source = [], node.input[0]
    for part, kind, order in steps:
        output = node.output[0] if part == "first" else f"{name}.{part}"
        inputs = [source] if order else [source, f"{name}.{part}.shape"]
        attributes = {"perm": order} if order else {}
        result.append(helper.make_node(kind, inputs, [output], f"{name}.{part}.node", **attributes))
        source = output
    return result


def _pointwise(kernel: NDArray[np.generic]) -> NDArray[np.generic]:
    """A transposed convolution's kernel (in, out, 2, 2) as that of the 1x1 convolution: (4 * out, in, 1, 1)."""
    return np.ascontiguousarray(kernel.transpose(2, 3, 1, 0).reshape(-1, kernel.shape[0], 1, 1))


def _is_cellwise(node: onnx.NodeProto) -> bool:
    """A ConvTranspose whose output is made of 2x2 cells, one for each input pixel."""
    if node.op_type != "ConvTranspose":
        return False
    found = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return (
        list(found.get("kernel_shape", ())) == [_CELL, _CELL]
        and list(found.get("strides", ())) == [_CELL, _CELL]
        and not any((*found.get("pads", ()), *found.get("output_padding", ())))
        and set(found.get("dilations", (1,))) == {1}
        and found.get("group", 1) == 1
        and found.get("auto_pad", b"NOTSET") == b"NOTSET"
        and "output_shape" not in found
    )


def _store(tensor: onnx.TensorProto, values: NDArray[np.generic]) -> None:
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _replace_nodes(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
