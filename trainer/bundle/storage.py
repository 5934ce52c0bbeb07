"""How an ONNX file stores its weights: in 8 or 16 bits where that keeps every value, widened to float32 by the graph.

All arithmetic stays float32: ONNX Runtime widens the weights once, when it opens the file. Which values fit is decided
before the export; see `trainer.bundle.rounding`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from trainer.bundle.errors import ExportError

Store = Literal["float32", "float16", "int8"]

IR_VERSION, MAX_OPSET = 9, 20
"""ONNX's format of the files, and the newest operators that it may hold. ONNX Runtime 1.17 and its contemporaries on
phones and in browsers refuse format 10, although these graphs use nothing of it."""
MIN_ONNXRUNTIME = "1.20"
"""The oldest that a bundle's files are proven with (`tests/contract/test_oldest_engine.py`), as `pyproject.toml` says:
the format would let older ones open them."""

_NEEDS_NEWER_IR = {TensorProto.UINT4, TensorProto.INT4}

MIN_ELEMENTS = 16384
"""Smaller tensors stay float32. First and depthwise layers are small, and sensitive: in `mobile`'s segmenter those of
1,024 to 16,384 elements would add 7 % to what is saved, and with them rounded the map moves nine times as far."""

MIN_INT8_ELEMENTS = 2**18
"""Below this, "int8" stores float16. In `reference` these layers, the first ones among them, hold less than a tenth of
all weights; with them in 8 bits as well it fails the gate on the melanoma AUC."""

LEVELS = 127
"""Largest magnitude of an 8-bit weight; -128 is not used, so that the levels are symmetric."""

_LEAST_OF_CHANNEL = 8
"""With fewer weights to a channel, its scale would take up what 8 bits save; a lone weight is on its own grid."""

_HALF, _BYTE, _SCALE, _LEVEL = ".float16", ".int8", ".scale", ".level"


def parse_store(text: str) -> Store:
    """The way of storing weights of that name.

    Raises:
        ExportError: there is none.
    """
    for store in get_args(Store):
        if text == store:
            return store  # type: ignore[no-any-return]
    raise ExportError(f"Weights cannot be stored as '{text}'.", f"Choose one of: {', '.join(get_args(Store))}.")


def save_onnx(model: onnx.ModelProto, path: Path) -> None:
    """Writes an ONNX file of format `IR_VERSION`; the graph is as it was.

    Raises:
        ExportError: the graph needs a newer format: its operators are newer, or it has tensors or notes of newer kinds.
    """
    newest = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    if newest > MAX_OPSET:
        raise ExportError(
            f"The graph uses opset {newest}; files of IR version {IR_VERSION} hold opset {MAX_OPSET} at most.",
            "Export it with an older opset.",
        )
    if any(tensor.data_type in _NEEDS_NEWER_IR for tensor in model.graph.initializer) or any(
        node.metadata_props or node.overload for node in model.graph.node
    ):
        raise ExportError(
            f"The graph holds 4-bit tensors, overloads or notes on nodes, which IR version {IR_VERSION} does not know.",
            "Store weights in 8 bits or more, and strip the exporter's notes.",
        )
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    onnx.save(model, path)


def narrow(model: onnx.ModelProto) -> int:
    """Stores float32 initializers of `MIN_ELEMENTS` or more in fewer bits where that is exact, in place.

    Those on a grid of 255 levels a channel become int8 with a float32 scale for each channel, those that float16 holds
    become float16. A Cast, for int8 a Cast and a Mul, gives the values back under the initializer's own name, so that
    the nodes that take it are as before.

    Returns:
        How many initializers were narrowed.
    """
    nodes, scales, count = [], [], 0
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < MIN_ELEMENTS:
            continue
        name, levels, half = tensor.name, _levels(values), _half(values)
        if levels is not None:
            whole, scale = levels
            scales.append(numpy_helper.from_array(scale, name + _SCALE))
            nodes += [
                helper.make_node("Cast", [name + _BYTE], [name + _LEVEL], f"{name}.cast", to=TensorProto.FLOAT),
                helper.make_node("Mul", [name + _LEVEL, name + _SCALE], [name], f"{name}.mul"),
            ]
            _replace_values(tensor, name + _BYTE, TensorProto.INT8, whole)
        elif half is not None:
            nodes.append(helper.make_node("Cast", [name + _HALF], [name], f"{name}.cast", to=TensorProto.FLOAT))
            _replace_values(tensor, name + _HALF, TensorProto.FLOAT16, half)
        else:
            continue
        count += 1
    model.graph.initializer.extend(scales)
    _replace_nodes(model, [*nodes, *model.graph.node])
    return count


def widen(model: onnx.ModelProto) -> int:
    """Undoes `narrow`, in place.

    Returns:
        How many initializers were narrow.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    made = {node.output[0]: node for node in model.graph.node if node.op_type in ("Cast", "Mul")}
    undone: set[str] = set()
    count = 0
    for name, node in made.items():
        half, whole, scale = (tensors.get(name + suffix) for suffix in (_HALF, _BYTE, _SCALE))
        if half is not None and list(node.input) == [name + _HALF]:
            wide = numpy_helper.to_array(half).astype(np.float32)
            _replace_values(half, name, TensorProto.FLOAT, wide)
        elif whole is not None and scale is not None and list(node.input) == [name + _LEVEL, name + _SCALE]:
            wide = numpy_helper.to_array(whole).astype(np.float32) * numpy_helper.to_array(scale)
            _replace_values(whole, name, TensorProto.FLOAT, wide)
            model.graph.initializer.remove(scale)
            undone.add(name + _LEVEL)
        else:
            continue
        undone.add(name)
        count += 1
    _replace_nodes(model, [node for node in model.graph.node if node.output[0] not in undone])
    return count


def on_grid(weight: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Weights rounded to the nearest of 255 levels, symmetric about zero, with a scale for each channel.

    A scale has 16 significant bits, so that its product with a level is exact in float32 and `narrow` finds it again.
    Channels whose scale would be subnormal, which has fewer bits, become zero.

    Args:
        weight: finite values.
        axis: of the output channels.
    """
    mantissa, exponent = np.frexp(_peaks(weight, axis) / LEVELS)
    scale = np.ldexp(np.ceil(mantissa * 2**16) / 2**16, exponent).astype(np.float32)
    scale = np.where(scale < np.finfo(np.float32).tiny, np.float32(0), scale)
    levels = np.clip(np.rint(weight / np.where(scale > 0, scale, 1)), -LEVELS, LEVELS)
    result: NDArray[np.float32] = levels * scale + np.float32(0)
    return result


def load_wide(path: Path) -> onnx.ModelProto:
    """Reads an ONNX file with all its weights as plain float32 initializers."""
    model = onnx.load(path)
    widen(model)
    return model


def _peaks(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Largest magnitude of each channel, with the other axes kept at length 1."""
    others = tuple(other for other in range(values.ndim) if other != axis)
    result: NDArray[np.float32] = np.abs(values).max(axis=others, keepdims=True)
    return result


def _levels(values: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]] | None:
    """Levels and scales that multiply to exactly these values, with channels along the first or second axis."""
    if not np.isfinite(values).all():
        return None
    for axis in range(min(values.ndim, 2)):
        scale = _peaks(values, axis) / np.float32(LEVELS)
        if scale.size * _LEAST_OF_CHANNEL > values.size:
            continue
        levels = np.rint(values / np.where(scale > 0, scale, 1)).astype(np.int8)
        if (levels.astype(np.float32) * scale).tobytes() == values.tobytes():
            return levels, scale
    return None


def _half(values: NDArray[np.float32]) -> NDArray[np.float16] | None:
    """The values as float16 if that is exact."""
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    return half if half.astype(np.float32).tobytes() == values.tobytes() else None


def _replace_values(tensor: onnx.TensorProto, name: str, kind: int, values: NDArray[Any]) -> None:
    del tensor.float_data[:]
    tensor.name, tensor.data_type = name, kind
    tensor.raw_data = values.astype(values.dtype.newbyteorder("<")).tobytes()


def _replace_nodes(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
