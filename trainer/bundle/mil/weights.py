"""Stored constants and weights as the operations take them, decompressed where a package compresses them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Arguments = Mapping[str, Any]
Decompression = Callable[[Arguments], NDArray[Any]]


def constant(value: Any) -> Any:
    """Float arrays become float32 tensors; integers, flags and strings stay plain values (arrays become lists)."""
    if isinstance(value, np.ndarray | np.generic):
        if np.issubdtype(value.dtype, np.floating):
            return torch.from_numpy(np.array(value, np.float32))
        return value.tolist()
    return value


def _affine_dequantize(args: Arguments) -> NDArray[Any]:
    """(quantized - zero point) * scale along one axis, in the scale's precision."""
    data, scale, zero = args["quantized_data"], args["scale"], args["zero_point"]
    shape = [1] * data.ndim
    if np.ndim(scale):
        shape[int(args["axis"])] = -1
    difference = data.astype(np.float32) - np.reshape(zero, shape if np.ndim(zero) else [1] * data.ndim).astype(
        np.float32
    )
    dense = difference * np.reshape(scale, shape).astype(np.float32)
    return np.asarray(dense, scale.dtype)


def _lut_to_dense(args: Arguments) -> NDArray[Any]:
    """Look-up table indices, packed least significant bit first, back to the dense weight."""
    lut, shape = args["lut"], tuple(int(size) for size in args["shape"])
    bits = int(np.log2(lut.size))
    flags = np.unpackbits(args["indices"].view(np.uint8), bitorder="little")[: int(np.prod(shape)) * bits]
    weights = 1 << np.arange(bits)
    return np.asarray(lut.reshape(-1)[flags.reshape(-1, bits) @ weights].reshape(shape))


DECOMPRESSIONS: dict[str, Decompression] = {
    "constexpr_affine_dequantize": _affine_dequantize,
    "constexpr_lut_to_dense": _lut_to_dense,
    "constexpr_cast": lambda args: np.asarray(args["source_val"], np.float32),
}
