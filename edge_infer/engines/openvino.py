"""OpenVINO's own runtime behind the `Engine` protocol: runs a bundle's ONNX files on the CPU, without ONNX Runtime.

It is chosen by name alone (`--provider openvino-native`). "openvino" is something else: ONNX Runtime's provider of that
name. The openvino package is imported only when an engine is made, so this module imports anywhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_infer.engines.base import Precision
from edge_infer.engines.compiled import Entry, entry_path, read_entry, write_entry
from edge_infer.engines.threads import available_threads
from edge_infer.errors import EngineError, EngineNotInstalledError, InferenceError, ProviderUnavailableError

_INSTALL = "Run: pip install 'edge-infer[openvino-native]'."
_HINTS: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16"}
_DEVICE = "CPU"


class OpenVinoEngine:
    """A network in OpenVINO, on the CPU, set for latency.

    The network is compiled for one picture: in a form that takes any number, OpenVINO is slower even in batches. So the
    pictures of a batch run one after the other. `kept` says what became of that form: "read" from the cache, "written"
    to it, or why it is not there.
    """

    def __init__(
        self, path: Path, *, threads: int | None = None, precision: Precision = "float32", data: bytes | None = None
    ) -> None:
        """Compiles an ONNX file, or takes what was compiled of the same file before; see `edge_infer.engines.compiled`.

        Args:
            path: the model.
            threads: inside an operator; None takes what affinity and the cgroup quota allow.
            precision: of what the file has in float32; "bfloat16" is quicker and moves the answers. 8-bit layers stay
                as they are.
            data: its bytes, where they were read and checked already; None reads the file, once. What is compiled, and
                what a compiled form is looked up by, are these bytes, whatever becomes of the file.

        Raises:
            EngineNotInstalledError: the openvino package is missing or broken.
            ProviderUnavailableError: this processor has no bfloat16, or OpenVINO takes another precision than asked.
            EngineError: the file cannot be loaded.
        """
        self._form: _Form | None = _File(path, threads or available_threads(), precision, data).form()
        facts = self._form.facts
        self.kept = self._form.kept
        self.provider: str = f"OpenVINO:{_DEVICE}" + ("" if precision == "float32" else f":{precision}")
        self.metadata: Mapping[str, str] = facts["metadata"]
        self.outputs: tuple[str, ...] = tuple(facts["outputs"])
        height, width, channels = facts["input_shape"]
        self.input_shape: tuple[int | None, int | None, int | None] = (height, width, channels)
        self.warnings: tuple[str, ...] = ()

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `edge_infer.engines.base.Engine.run`."""
        return self.run_named(batch, self.outputs[:1])[0]

    def run_named(self, batch: NDArray[np.uint8], names: Sequence[str]) -> tuple[NDArray[np.float32], ...]:
        """As `run`, with these outputs of one run, in their order.

        Raises:
            InferenceError: OpenVINO failed, has no such output, or the engine is closed.
        """
        wanted = self.input_shape
        if batch.ndim != 4 or any(size not in (None, have) for size, have in zip(wanted, batch.shape[1:], strict=True)):
            # OpenVINO itself may answer a wrong shape with an empty result.
            raise InferenceError(f"The network takes {wanted}, got {batch.shape[1:]}.", "Resize the pictures first.")
        try:
            return self._run(batch, names)
        except Exception as error:
            raise InferenceError(
                f"{self.provider} failed while it ran: {_first_line(error)}", "Try the cpu provider."
            ) from error

    def close(self) -> None:
        """See `edge_infer.engines.base.Engine.close`."""
        self._form = None

    def _run(self, batch: NDArray[np.uint8], names: Sequence[str]) -> tuple[NDArray[np.float32], ...]:
        form = self._form
        if form is None:
            raise RuntimeError("the engine is closed")
        if not len(batch):
            raise RuntimeError("there is no picture in the batch")
        rows = [form.run(batch[number : number + 1], names) for number in range(len(batch))]
        return rows[0] if len(rows) == 1 else tuple(np.concatenate(row) for row in zip(*rows, strict=True))


def import_openvino() -> Any:
    """The openvino module.

    Raises:
        EngineNotInstalledError: it is missing or broken.
    """
    try:
        module = importlib.import_module("openvino")
    except ImportError as error:
        raise EngineNotInstalledError(f"openvino cannot be imported: {error}.", _INSTALL) from error
    if not hasattr(module, "Core"):
        raise EngineNotInstalledError("openvino's files are incomplete.", _INSTALL)
    return module


class _File:
    """An ONNX file, and how it is to be compiled."""

    def __init__(self, path: Path, threads: int, precision: Precision, data: bytes | None) -> None:
        openvino = import_openvino()
        self._data = _read(path) if data is None else data
        self._core, self._path, self._precision = openvino.Core(), path, precision
        capabilities = self._core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
        if precision == "bfloat16" and "BF16" not in capabilities:
            raise ProviderUnavailableError(
                "This processor does not compute in bfloat16.", "Leave the precision out: float32 runs everywhere."
            )
        self._options = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            # Pinned threads of two processes would share one core while another idles.
            "ENABLE_CPU_PINNING": False,
        }
        self._key = {
            "file": hashlib.sha256(self._data).hexdigest(),
            "openvino": openvino.__version__,
            "processor": f"{self._core.get_property(_DEVICE, 'FULL_DEVICE_NAME')} {sorted(capabilities)}",
            "options": repr(sorted(self._options.items())),
        }

    def form(self) -> _Form:
        """The network for one picture at a time: out of the cache, or compiled and kept there.

        Raises:
            ProviderUnavailableError, EngineError: see `OpenVinoEngine`.
        """
        kept = entry_path("openvino", {**self._key, "pictures": "1"})
        entry = read_entry(kept)
        if entry is not None and {"metadata", "outputs", "input_shape"} <= entry.facts.keys():
            # A blob may be whole, and yet not what this OpenVINO takes.
            with contextlib.suppress(RuntimeError):
                found = self._core.import_model(io.BytesIO(entry.blob), _DEVICE, self._options)
                return self._checked(_Form(found, entry.facts, "read"))
        try:
            model = self._core.read_model(self._data)
            facts = self._facts(model)
            shape = model.inputs[0].get_partial_shape()
            shape[0] = 1
            model.reshape(shape)
            compiled = self._core.compile_model(model, _DEVICE, self._options)
        except RuntimeError as error:
            raise EngineError(
                f"OpenVINO cannot load '{self._path}': {_first_line(error)}", "Restore the bundle, or update openvino."
            ) from error
        form = self._checked(_Form(compiled, facts, "written"))
        form.kept = write_entry(kept, Entry(facts, compiled.export_model().getvalue())) or form.kept
        return form

    def _checked(self, form: _Form) -> _Form:
        taken = form.compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if taken != _HINTS[self._precision]:
            raise ProviderUnavailableError(
                f"OpenVINO computes in {taken}, not in {self._precision}.", "Choose another precision or engine."
            )
        return form

    def _facts(self, model: Any) -> dict[str, Any]:
        inputs, outputs = model.inputs, model.outputs
        shape = inputs[0].get_partial_shape() if len(inputs) == 1 else ()
        if not outputs or len(shape) != 4 or inputs[0].get_element_type().to_string() != "u8":
            raise EngineError(
                f"'{self._path}' does not take one uint8 picture batch and give an output.",
                "Export it with the trainer.",
            )
        return {
            "metadata": _metadata(model),
            "outputs": [output.get_any_name() for output in outputs],
            "input_shape": [size.get_length() if size.is_static else None for size in list(shape)[1:]],
        }


class _Form:
    """A compiled network with its requests: one for each caller at a time."""

    def __init__(self, compiled: Any, facts: dict[str, Any], kept: str) -> None:
        self.compiled, self.facts, self.kept = compiled, facts, kept
        self._idle: list[Any] = []
        self._lock = threading.Lock()

    def run(self, batch: NDArray[np.uint8], names: Sequence[str]) -> tuple[NDArray[np.float32], ...]:
        with self._lock:
            request = self._idle.pop() if self._idle else self.compiled.create_infer_request()
        # The outputs are views of the request's memory, which its next run overwrites: each is copied once.
        found = request.infer([np.ascontiguousarray(batch)], share_inputs=True, share_outputs=True)
        results = tuple(np.array(found[name], np.float32) for name in names)
        with self._lock:
            self._idle.append(request)
        return results


def _metadata(model: Any) -> dict[str, str]:
    """The ONNX file's metadata, as OpenVINO keeps it."""
    if not model.has_rt_info("framework"):
        return {}
    found = model.get_rt_info("framework")
    found = getattr(found, "value", found)
    return {str(name): str(value) for name, value in dict(found).items()}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EngineError(f"'{path}' cannot be read: {error.strerror}.", "Restore the bundle.") from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # The first lines only say where in OpenVINO's source it was thrown.
    return next((line for line in lines if not line.startswith("Exception from")), type(error).__name__)
