"""What every engine offers, and what Core ML itself asks of the machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, get_args

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


Precision = Literal["float32", "bfloat16"]
"""What OpenVINO may compute in where a file has float32."""

NATIVE_OPENVINO = "openvino-native"
"""Provider name that stands for OpenVINO itself (`edge_infer.engines.openvino`). "openvino" alone is ONNX Runtime's
provider."""


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


def wants_openvino(providers: Sequence[str] | None) -> bool:
    """Whether OpenVINO itself is the wanted provider.

    Raises:
        ProviderUnavailableError: it and another one.
    """
    names = [name.lower() for name in providers or ()]
    if NATIVE_OPENVINO not in names:
        return False
    if len(names) > 1:
        raise ProviderUnavailableError(
            f"{', '.join(names)}: OpenVINO itself cannot share a network with another provider.",
            f"Give {NATIVE_OPENVINO} alone; `openvino` is ONNX Runtime's provider, which can.",
        )
    return True


def check_precision(precision: str | None, providers: Sequence[str] | None) -> Precision:
    """The precision to compute in; None is float32.

    Raises:
        ProviderUnavailableError: there is no such precision, or the engine takes none.
    """
    if precision is None:
        return "float32"
    for known in get_args(Precision):
        if precision == known:
            if not wants_openvino(providers):
                raise ProviderUnavailableError(
                    f"Only OpenVINO itself can be told a precision, here {precision}.",
                    f"Add --provider {NATIVE_OPENVINO}, or choose a variant such as int8 instead.",
                )
            return known  # type: ignore[no-any-return]
    raise ProviderUnavailableError(
        f"There is no precision '{precision}'.", f"Choose one of: {', '.join(get_args(Precision))}."
    )


def require_macos() -> None:
    """Raises ProviderUnavailableError where there is no Core ML."""
    if sys.platform != "darwin":
        raise ProviderUnavailableError(
            f"Core ML runs on macOS only; this is {sys.platform}.",
            "Use the bundle's ONNX files here: leave out Core ML's providers and variants.",
        )
