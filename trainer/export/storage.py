"""How an ONNX file stores its weights: as float16 where that keeps every value, cast to float32 by the graph.

All arithmetic stays float32: ONNX Runtime runs the casts once, when it opens the file. Which values float16 keeps is
decided before the export; see `trainer.export.rounding`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from trainer.export.errors import ExportError

Store = Literal["float32", "float16"]

MIN_ELEMENTS = 16384
"""Smaller tensors stay float32. First and depthwise layers are small, and sensitive: in `mobile`'s segmenter those of
1,024 to 16,384 elements would add 7 % to what is saved, and with them rounded the map moves nine times as far."""

_SUFFIX = ".float16"


def parse_store(text: str) -> Store:
    """The way of storing weights of that name.

    Raises:
        ExportError: there is none.
    """
    for store in get_args(Store):
        if text == store:
            return store  # type: ignore[no-any-return]
    raise ExportError(f"Weights cannot be stored as '{text}'.", f"Choose one of: {', '.join(get_args(Store))}.")


def narrow(model: onnx.ModelProto) -> int:
    """Stores every float32 initializer of `MIN_ELEMENTS` or more that float16 holds exactly as float16, in place.

    A Cast gives the values back under the initializer's own name, so that the nodes that take it are as before.

    Returns:
        How many initializers were narrowed.
    """
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor) if tensor.data_type == TensorProto.FLOAT else np.empty(0)
        if values.size < MIN_ELEMENTS:
            continue
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if half.astype(np.float32).tobytes() != values.tobytes():
            continue
        name = tensor.name
        casts.append(helper.make_node("Cast", [name + _SUFFIX], [name], f"{name}.cast", to=TensorProto.FLOAT))
        _replace_values(tensor, name + _SUFFIX, TensorProto.FLOAT16, half)
    _replace_nodes(model, [*casts, *model.graph.node])
    return len(casts)


def widen(model: onnx.ModelProto) -> int:
    """Undoes `narrow`, in place.

    Returns:
        How many initializers were narrow.
    """
    narrowed = {
        tensor.name: tensor
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT16 and tensor.name.endswith(_SUFFIX)
    }
    kept = []
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in narrowed and node.input[0] == node.output[0] + _SUFFIX:
            tensor = narrowed[node.input[0]]
            wide = numpy_helper.to_array(tensor).astype(np.float32)
            _replace_values(tensor, node.output[0], TensorProto.FLOAT, wide)
        else:
            kept.append(node)
    count = len(model.graph.node) - len(kept)
    _replace_nodes(model, kept)
    return count


def load_wide(path: Path) -> onnx.ModelProto:
    """Reads an ONNX file with all its weights as plain float32 initializers."""
    model = onnx.load(path)
    widen(model)
    return model


def _replace_values(tensor: onnx.TensorProto, name: str, kind: int, values: NDArray[np.floating[Any]]) -> None:
    del tensor.float_data[:]
    tensor.name, tensor.data_type = name, kind
    tensor.raw_data = values.astype(values.dtype.newbyteorder("<")).tobytes()


def _replace_nodes(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
