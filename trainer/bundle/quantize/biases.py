"""Bias correction: what rounded weights add to the means behind them is taken back from the biases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from trainer.bundle.quantize.blocks import WEIGHTED
from trainer.bundle.quantize.runs import Pictures, Results, channel_means


class BiasCorrection:
    """Corrects int8 forms of one network; the float network's means are measured once."""

    def __init__(self, model: onnx.ModelProto, layers: Sequence[onnx.NodeProto], pictures: Pictures) -> None:
        """Takes the float network, its layers with weights in order, and the pictures to take means over."""
        self._model, self._layers, self._pictures = model, layers, pictures
        self._means: dict[str, Results] | None = None

    def apply(self, model: onnx.ModelProto) -> int:
        """Corrects `model` in place; returns the number of layers whose bias changed."""
        last = self._layers[-1].output[0]
        if self._means is None:
            inner = dict.fromkeys([*(node.input[0] for node in self._layers), last])
            self._means = channel_means(self._model, list(inner), self._pictures)
        floats = {tensor.name: tensor for tensor in self._model.graph.initializer}
        originals = {node.name: node for node in self._layers}
        changed = set()
        for node in model.graph.node:
            original, bias = originals.get(node.name), _Bias.of(model, node)
            stored = _dequantized(model, node.input[1]) if original and bias else None
            if original is None or bias is None or stored is None:
                continue
            error = numpy_helper.to_array(floats[original.input[1]]) - stored
            moved = mean_of_error(original, error, self._means[original.input[0]])
            if moved is not None and bias.add(moved):
                changed.add(node.name)
        head = next(node for node in model.graph.node if node.name == self._layers[-1].name)
        bias = _Bias.of(model, head)
        if bias is not None:
            now = channel_means(model, [head.output[0]], self._pictures)[head.output[0]]
            if bias.add(self._means[last] - now):
                changed.add(head.name)
        return len(changed)


@dataclass(frozen=True)
class _Bias:
    """A layer's bias: a float initializer, or an int32 one with the scale of its DequantizeLinear."""

    tensor: onnx.TensorProto
    scale: Results | None

    @classmethod
    def of(cls, model: onnx.ModelProto, node: onnx.NodeProto) -> _Bias | None:
        """None where the node has no weights or no bias."""
        if node.op_type not in WEIGHTED or len(node.input) < 3 or not node.input[2]:
            return None
        initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        name = node.input[2]
        if name in initializers:
            return cls(initializers[name], None)
        dequantize = next(other for other in model.graph.node if name in other.output)
        return cls(initializers[dequantize.input[0]], numpy_helper.to_array(initializers[dequantize.input[1]]))

    def add(self, error: Results) -> bool:
        """Adds the error per channel; returns whether the stored values changed."""
        old = numpy_helper.to_array(self.tensor)
        step = error if self.scale is None else np.rint(error / self.scale)
        limits = np.iinfo(np.int32) if self.scale is not None else np.finfo(np.float32)
        new = np.clip(old.astype(np.float64) + step, limits.min, limits.max).astype(old.dtype)
        self.tensor.CopyFrom(numpy_helper.from_array(new, self.tensor.name))
        return bool((new != old).any())


def _dequantized(model: onnx.ModelProto, name: str) -> Results | None:
    """Values of a weight as the int8 file restores them; None where the layer stayed float."""
    dequantize = next((node for node in model.graph.node if name in node.output), None)
    if dequantize is None or dequantize.op_type != "DequantizeLinear":
        return None
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    values, scale, zero = (numpy_helper.to_array(initializers[part]) for part in dequantize.input)
    axis = next((attribute.i for attribute in dequantize.attribute if attribute.name == "axis"), 1)
    shape = [1] * values.ndim
    if scale.ndim:
        shape[axis] = -1
    difference = values.astype(np.float32) - zero.astype(np.float32).reshape(shape)
    return np.asarray(difference * scale.reshape(shape), np.float32)


def mean_of_error(node: onnx.NodeProto, error: Results, means: Results) -> Results | None:
    """What an error of the weights adds to the mean of each output channel, border effects left out.

    Args:
        node: a Conv, or a Gemm with transposed weights; for others the result is None.
        error: shape of the weights, (out, in / groups, ...).
        means: mean of each input channel.
    """
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    if node.op_type == "Gemm" and attributes.get("transB") == 1:
        return np.asarray(error @ means, np.float32)
    if node.op_type != "Conv":
        return None
    groups = attributes.get("group", 1)
    by_input = error.reshape(*error.shape[:2], -1).sum(axis=2)
    inputs = np.repeat(means.reshape(groups, -1), len(error) // groups, axis=0)
    return np.asarray((by_input * inputs).sum(axis=1), np.float32)
