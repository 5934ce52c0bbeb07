"""What every engine offers, and what Core ML itself asks of the machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_infer.errors import ProviderUnavailableError

ComputeUnits = Literal["ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE"]


NATIVE_COREML: dict[str, ComputeUnits] = {
    "coreml-all": "ALL",
    "coreml-cpu-only": "CPU_ONLY",
    "coreml-cpu-and-gpu": "CPU_AND_GPU",
    "coreml-cpu-and-ne": "CPU_AND_NE",
}
"""Provider names that stand for Core ML itself (`edge_infer.engines.coreml`), with what it may use; "ne" is the Neural
Engine. "coreml" alone is ONNX Runtime's provider."""


class Engine(Protocol):
    """One loaded network.

    Attributes:
        provider: what really runs it, as the engine reports it.
        metadata: strings stored in the model file.
        input_shape: (height, width, channels) that the model takes, None where dynamic.
        warnings: what the caller should know, for example that an accelerator did not start.
        outputs: names of all outputs, the stage's own first.
    """

    provider: str
    metadata: Mapping[str, str]
    input_shape: tuple[int | None, int | None, int | None]
    warnings: tuple[str, ...]
    outputs: tuple[str, ...]

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (n, h, w, 3) in, the first output out: float32 (n, ...). Safe to call from several threads at once.

        Raises:
            InferenceError: the engine failed.
        """
        ...

    def run_named(self, batch: NDArray[np.uint8], names: Sequence[str]) -> tuple[NDArray[np.float32], ...]:
        """As `run`, with these outputs of one run, in their order.

        Raises:
            InferenceError: the engine failed, or has no such output.
        """
        ...

    def close(self) -> None:
        """Frees the network; `run` must not be called afterwards."""
        ...


def require_macos() -> None:
    """Raises ProviderUnavailableError where there is no Core ML."""
    if sys.platform != "darwin":
        raise ProviderUnavailableError(
            f"Core ML runs on macOS only; this is {sys.platform}.",
            "Use the bundle's ONNX files here: leave out Core ML's providers and variants.",
        )
