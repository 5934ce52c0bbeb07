"""Class activation maps from a classifier's own file: one more output, computed exactly, without another network.

Where a network ends in a global mean and one linear layer, a class's logit is the mean over places of what the layer
makes of each place's features, plus a constant (Zhou et al. 2016, "Learning Deep Features for Discriminative
Localization", section 2). The places' shares are its class activation map, and nothing about it is approximate:

    mean over rows and columns of map[n, :, :, c]  =  logit[n, c] - bias[c]

The file that the bundle holds stays as it is: nodes and an output are added to a copy of its bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_infer.bundle.protobuf import Span, encoded, fields, numbers, text
from edge_infer.errors import ExplanationUnavailableError

CLASS_MAP = "edge_infer.class_map"
"""Name of the further output: float32 (n, rows, columns, classes), logits before temperature and bias."""

_SCALINGS = frozenset({"Add", "Cast", "Div", "Identity", "Mul", "Softmax", "Sub"})
"""What may stand after the linear layer: it moves probabilities, and no place's share of a logit."""
_VIEWS = frozenset({"Identity", "Flatten", "Reshape", "Squeeze"})
_ONE = struct.unpack("<I", struct.pack("<f", 1.0))[0]


@dataclass
class _Node:
    operator: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    integers: dict[str, list[int]] = field(default_factory=dict)
    floats: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Head:
    """The end of a classifier, by the names of its tensors.

    Attributes:
        features: the last feature map.
        channels_last: whether it is (n, rows, columns, channels) instead of (n, channels, rows, columns).
        weights: of the linear layer.
        transposed: whether they are (classes, channels) instead of (channels, classes).
        logits: what the linear layer gives; without its constant where the file adds that in a node of its own.
    """

    features: str
    channels_last: bool
    weights: str
    transposed: bool
    logits: str


def with_class_map(data: bytes, output: str, name: str) -> bytes:
    """A classifier's ONNX file with the output `CLASS_MAP` added; the others are as before.

    Args:
        data: the file, checked by `edge_infer.bundle.onnx_file.check_network`.
        output: name of its probabilities.
        name: how messages call the file.

    Raises:
        ExplanationUnavailableError: it does not end in a global mean and one linear layer.
    """
    head = find_head(data, output, name)
    nodes, features, weights = [], head.features, head.weights
    if not head.channels_last:
        nodes.append(_node("Transpose", [features], f"{CLASS_MAP}.features", perm=(0, 2, 3, 1)))
        features = f"{CLASS_MAP}.features"
    if head.transposed:
        nodes.append(_node("Transpose", [weights], f"{CLASS_MAP}.weights", perm=(1, 0)))
        weights = f"{CLASS_MAP}.weights"
    nodes.append(_node("MatMul", [features, weights], CLASS_MAP))
    return add_to_graph(data, nodes, CLASS_MAP)


def against_others(maps: NDArray[np.float32], index: int, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """One class's map less those of the others, each as much as it competes: float32 (rows, columns).

    Softmax does not see what all logits share, so a single class's map has an arbitrary part in it. This difference has
    none. With q the others' probabilities as shares of their sum, H(q) its entropy in nats and T the temperature:

        log-odds of the class  =  (mean of the difference + its bias - sum of q * the others' biases) / T  -  H(q)

    Args:
        maps: (rows, columns, classes).
        index: of the class.
        probabilities: (classes,), as the network gave them.
    """
    others = np.delete(probabilities, index).astype(np.float64)
    shares = others / others.sum() if others.sum() > 0 else np.full(others.size, 1 / others.size)
    difference: NDArray[np.float32] = (maps[..., index] - np.delete(maps, index, axis=-1) @ shares).astype(np.float32)
    return difference


def add_to_graph(data: bytes, nodes: Sequence[bytes], output: str) -> bytes:
    """An ONNX file with nodes at the end of its graph, and a float32 output of any shape."""
    view = memoryview(data)
    graph = next(span for number, _, span in fields(view, (0, len(view))) if number == 7)
    sizes = encoded(1, b"") * 4  # four axes of unknown size
    value = encoded(1, output) + encoded(2, encoded(1, encoded(1, 1) + encoded(2, sizes)))
    added = b"".join(encoded(1, node) for node in nodes) + encoded(12, value)
    key = _before(view, graph)
    return bytes(view[:key]) + encoded(7, bytes(view[graph[0] : graph[1]]) + added) + bytes(view[graph[1] :])


def find_head(data: bytes, output: str, name: str) -> Head:
    """Follows a classifier from its output back to its last feature map. Arguments and errors as for `with_class_map`.

    Examples:
        >>> head = find_head(open("exported/mobile/classifier.onnx", "rb").read(), "probabilities", "mobile")
        >>> head.channels_last, head.transposed, head.logits
        (False, True, 'linear')
    """
    makers, constants = _graph(memoryview(data))

    def constant(tensor: str) -> bool:
        node = makers.get(tensor)
        return tensor in constants or (node is not None and all(map(constant, node.inputs)))

    def data_input(node: _Node) -> str:
        moving = [tensor for tensor in node.inputs if not constant(tensor)]
        if len(moving) != 1:
            raise _unavailable(name, f"'{node.operator}' joins several tensors after the linear layer")
        return moving[0]

    def maker(tensor: str) -> _Node:
        if tensor not in makers:
            raise _unavailable(name, "no linear layer leads to its output")
        return makers[tensor]

    node = maker(output)
    while node.operator in _SCALINGS:
        node = maker(data_input(node))
    if node.operator in ("ReduceMean", "Mean"):
        raise _unavailable(name, "it answers with the mean over several mirrored views of the crop")
    plain = node.operator == "MatMul" or (
        node.operator == "Gemm" and node.integers.get("transA", [0]) == [0] and node.floats.get("alpha", _ONE) == _ONE
    )
    if not plain or len(node.inputs) < 2 or not constant(node.inputs[1]):
        raise _unavailable(name, f"'{node.operator}' stands where its last linear layer should")
    linear, pool = node, maker(node.inputs[0])
    while pool.operator in _VIEWS:
        pool = maker(pool.inputs[0])
    axes = {2, 3} if pool.operator == "GlobalAveragePool" else set()
    if pool.operator == "ReduceMean":
        listed = pool.integers.get("axes") or (constants.get(pool.inputs[1]) if len(pool.inputs) > 1 else None)
        axes = {axis % 4 for axis in listed or ()}
    if axes not in ({2, 3}, {1, 2}):
        raise _unavailable(name, f"'{pool.operator}' stands where the mean over all places should")
    transposed = linear.operator == "Gemm" and linear.integers.get("transB", [0]) == [1]
    return Head(pool.inputs[0], axes == {1, 2}, linear.inputs[1], transposed, linear.outputs[0])


def _unavailable(name: str, why: str) -> ExplanationUnavailableError:
    return ExplanationUnavailableError(
        f"There is no exact class activation map of '{name}': {why}.",
        "Leave the explanation out, or use a bundle and a variant whose classifier looks once and ends in a global "
        "mean and one linear layer, such as float32 of `sources`.",
    )


def _node(operator: str, inputs: Sequence[str], output: str, perm: Sequence[int] = ()) -> bytes:
    attribute = b"".join(encoded(8, axis) for axis in perm)
    return (
        b"".join(encoded(1, tensor) for tensor in inputs)
        + encoded(2, output)
        + encoded(3, output)
        + encoded(4, operator)
        + (encoded(5, encoded(1, "perm") + attribute + encoded(20, 7)) if perm else b"")
    )


def _before(data: memoryview, graph: Span) -> int:
    """Where the graph's own key begins: its bytes are key and length, then the span."""
    end = 0
    for _, _, span in fields(data, (0, len(data))):
        if span == graph:
            return end
        end = span[1]
    raise ValueError("graph")


def _graph(data: memoryview) -> tuple[dict[str, _Node], dict[str, list[int] | None]]:
    """The node that makes each tensor, and the stored tensors: the numbers of 64-bit integers, None for others."""
    makers: dict[str, _Node] = {}
    constants: dict[str, list[int] | None] = {"": None}
    for number, _, graph in fields(data, (0, len(data))):
        if number != 7:
            continue
        for part, _, span in fields(data, graph):
            if part == 1:
                node = _read_node(data, span)
                makers |= dict.fromkeys(node.outputs, node)
            elif part == 5:
                key, values = _read_tensor(data, span)
                constants[key] = values
    return makers, constants


def _read_node(data: memoryview, span: Span) -> _Node:
    node = _Node()
    for number, _, where in fields(data, span):
        if number == 1:
            node.inputs.append(text(data, where))
        elif number == 2:
            node.outputs.append(text(data, where))
        elif number == 4:
            node.operator = text(data, where)
        elif number == 5:
            key = next((text(data, at) for part, _, at in fields(data, where) if part == 1), "")
            integers = [value for part, _, at in fields(data, where) if part in (3, 8) for value in numbers(data, at)]
            if integers:
                node.integers[key] = list(_signed(integers))
            node.floats |= [(key, value) for part, value, _ in fields(data, where) if part == 2]
    return node


def _read_tensor(data: memoryview, span: Span) -> tuple[str, list[int] | None]:
    key, kind, raw, listed = "", 0, None, []
    for number, value, where in fields(data, span):
        if number == 2:
            kind = value
        elif number == 8:
            key = text(data, where)
        elif number == 9:
            raw = where
        elif number == 7:
            listed += numbers(data, where)
    if kind != 7:
        return key, None
    return key, list(_signed(listed)) if raw is None else np.frombuffer(data[raw[0] : raw[1]], "<i8").tolist()


def _signed(values: Sequence[int]) -> Iterator[int]:
    """Protocol buffers write a negative integer as its two's complement in 64 bits."""
    return (value - 2**64 if value >= 2**63 else value for value in values)
