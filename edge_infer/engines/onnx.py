"""Inference engines: one small protocol, and ONNX Runtime behind it.

No accelerator is ever pretended: a provider that was asked for is active, or there is an error that says what is
installed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_infer.engines.install import load_onnxruntime, require_version
from edge_infer.engines.threads import available_threads
from edge_infer.errors import (
    EngineError,
    InferenceError,
    ProviderUnavailableError,
)

PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""Short names of the providers that may be picked automatically, in the order in which they are tried."""

_OTHER_PROVIDERS = {
    "tensorrt": "TensorrtExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
}

_BOUND = frozenset({PROVIDERS["cuda"], PROVIDERS["directml"], _OTHER_PROVIDERS["tensorrt"]})
"""Providers with memory of their own."""


class OnnxEngine:
    """A network in ONNX Runtime."""

    def __init__(
        self,
        path: Path,
        *,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        oldest: str | None = None,
        data: bytes | None = None,
    ) -> None:
        """Loads an ONNX file.

        Args:
            path: the model.
            data: its bytes, where they were read and checked already; the file is not read again then.
            providers: short or full provider names, in order of preference; the first must become active. None tries
                those in `PROVIDERS` that are installed, in that order.
            threads: threads inside an operator; None takes what affinity and the cgroup quota allow.
            oldest: version of ONNX Runtime that is needed at least; see `Manifest.min_onnxruntime`.

        Raises:
            EngineNotInstalledError, EngineConflictError: no ONNX Runtime, or several.
            EngineVersionError: it is too old.
            ProviderUnavailableError: a provider that was asked for is not installed or did not start.
            EngineError: the file cannot be loaded.
        """
        runtime = load_onnxruntime()
        require_version(runtime, oldest)
        installed = runtime.get_available_providers()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or available_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # On a busy machine, spinning threads take the time that the others need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Without VNNI, int8 products are summed in pairs of 16 bits, which overflow: slower kernels do not.
        options.add_session_config_entry("session.x64quantprecision", "1")

        warnings: list[str] = []
        if providers is None:
            choices = [[name] for name in PROVIDERS.values() if name in installed]
        else:
            choices = [resolve_providers(providers, installed)]
        for i, wanted in enumerate(choices):
            try:
                session = runtime.InferenceSession(str(path) if data is None else data, options, providers=wanted)
            except Exception as error:
                if wanted[0] == PROVIDERS["cpu"]:
                    raise EngineError(
                        f"ONNX Runtime cannot load '{path}': {_first_line(error)}",
                        "Restore the bundle, or update ONNX Runtime.",
                    ) from error
                failure = _first_line(error)
            else:
                if session.get_providers()[0] == wanted[0]:
                    break
                failure = "ONNX Runtime fell back to another provider"
            if i + 1 == len(choices):
                raise ProviderUnavailableError(
                    f"{wanted[0]} is installed and did not start: {failure}.",
                    f"Check its driver and libraries, or choose one of: {', '.join(map(short_name, installed))}.",
                )
            warnings.append(f"{wanted[0]} is installed and did not start ({failure}); another provider is used.")

        self._session = session
        self.provider: str = session.get_providers()[0]
        self._binds = self.provider in _BOUND
        self.metadata: Mapping[str, str] = dict(session.get_modelmeta().custom_metadata_map)
        self.warnings = tuple(warnings)
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1 or not outputs or inputs[0].type != "tensor(uint8)" or len(inputs[0].shape) != 4:
            raise EngineError(
                f"'{path}' does not take one uint8 picture batch and give an output.", "Export it with the trainer."
            )
        self._input = inputs[0].name
        self.outputs: tuple[str, ...] = tuple(output.name for output in outputs)
        height, width, channels = (size if isinstance(size, int) else None for size in inputs[0].shape[1:])
        self.input_shape = (height, width, channels)

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine.run`."""
        return self.run_named(batch, self.outputs[:1])[0]

    def run_named(self, batch: NDArray[np.uint8], names: Sequence[str]) -> tuple[NDArray[np.float32], ...]:
        """See `Engine.run_named`."""
        try:
            results = self._bound(batch, names) if self._binds else self._session.run(list(names), {self._input: batch})
        except Exception as error:
            raise InferenceError(
                f"{self.provider} failed while it ran: {_first_line(error)}", "Try another provider."
            ) from error
        return tuple(np.asarray(result, np.float32) for result in results)

    def close(self) -> None:
        """See `Engine.close`."""
        self._session = None

    def _bound(self, batch: NDArray[np.uint8], names: Sequence[str]) -> list[NDArray[np.float32]]:
        """One run whose input and outputs cross to and from the device once each, and only the outputs asked for."""
        binding = self._session.io_binding()
        binding.bind_cpu_input(self._input, np.ascontiguousarray(batch))
        for name in names:
            binding.bind_output(name)
        self._session.run_with_iobinding(binding)
        results: list[NDArray[np.float32]] = binding.copy_outputs_to_cpu()
        return results


def resolve_providers(providers: Sequence[str], installed: Sequence[str]) -> list[str]:
    """Full names of the wanted providers.

    Raises:
        ProviderUnavailableError: one is unknown or not part of the installed ONNX Runtime.
    """
    names = {**PROVIDERS, **_OTHER_PROVIDERS}
    wanted = [names.get(provider.lower(), provider) for provider in providers]
    missing = [name for name in wanted if name not in installed]
    if missing or not wanted:
        raise ProviderUnavailableError(
            f"Not installed: {', '.join(missing)}." if missing else "The list of providers is empty.",
            f"This machine's ONNX Runtime has: {', '.join(map(short_name, installed))}. "
            "Other builds: pip install 'edge-infer[cuda]', [openvino] or [directml] in place of [cpu].",
        )
    return wanted


def short_name(provider: str) -> str:
    """The short name of a provider, or its full name where it has none."""
    return next((short for short, full in {**PROVIDERS, **_OTHER_PROVIDERS}.items() if full == provider), provider)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : ", "", lines[0]) if lines else type(error).__name__
