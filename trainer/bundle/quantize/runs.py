"""Runs of a network on pictures: its results, and means of the channels inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from trainer.bundle.quantize.errors import QuantizationError

Pictures = NDArray[np.uint8]
Results = NDArray[np.float32]
_BATCH = 8


def check_pictures(model: onnx.ModelProto, *sets: Pictures) -> None:
    """Refuses sets of pictures that are empty or not what the network takes."""
    wanted = tuple(size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim)[1:]
    for pictures in sets:
        if pictures.dtype != np.uint8 or pictures.shape[1:] != wanted or not len(pictures):
            raise QuantizationError(
                f"The network takes uint8 pictures of {wanted}, got {pictures.dtype} {pictures.shape}.",
                "Prepare the pictures as the pipeline does (resize, or crop for the classifier).",
            )


def batches(pictures: Pictures) -> list[Pictures]:
    """The pictures in small batches."""
    return [pictures[start : start + _BATCH] for start in range(0, len(pictures), _BATCH)]


def _session(model: onnx.ModelProto) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", "1")  # as `edge_infer.engines.onnx` has it
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(model: onnx.ModelProto, pictures: Pictures) -> Results:
    """The network's results, picture by picture, from one thread of the CPU."""
    session, name = _session(model), model.graph.input[0].name
    return np.concatenate([session.run(None, {name: batch})[0] for batch in batches(pictures)])


def channel_means(model: onnx.ModelProto, tensors: Sequence[str], pictures: Pictures) -> dict[str, Results]:
    """Mean of each channel (axis 1) of inner tensors over pictures and positions."""
    outputs = list(model.graph.output)
    del model.graph.output[:]
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None) for tensor in tensors
    )
    session = _session(model)
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    totals: dict[str, NDArray[np.float64]] = {}
    for batch in batches(pictures):
        for tensor, value in zip(tensors, session.run(None, {model.graph.input[0].name: batch}), strict=True):
            axes = (0, *range(2, value.ndim))
            share = value.mean(axis=axes, dtype=np.float64) * (len(batch) / len(pictures))
            totals[tensor] = totals.get(tensor, 0) + share
    return {tensor: total.astype(np.float32) for tensor, total in totals.items()}
