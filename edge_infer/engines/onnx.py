"""Inference engines: one small protocol, and ONNX Runtime behind it.

No accelerator is ever pretended: a provider that was asked for is active, or there is an error that says what is
installed.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_infer.errors import (
    EngineConflictError,
    EngineError,
    EngineNotInstalledError,
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
ComputeUnits = Literal["ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE"]
NATIVE_COREML: dict[str, ComputeUnits] = {
    "coreml-all": "ALL",
    "coreml-cpu-only": "CPU_ONLY",
    "coreml-cpu-and-gpu": "CPU_AND_GPU",
    "coreml-cpu-and-ne": "CPU_AND_NE",
}
"""Provider names that stand for Core ML itself (`edge_infer.engines.coreml`), with what it may use; "ne" is the Neural
Engine. "coreml" alone is ONNX Runtime's provider."""
_DISTRIBUTIONS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "onnxruntime-qnn",
    "onnxruntime-rocm",
    "onnxruntime-migraphx",
    "onnxruntime-silicon",
    "onnxruntime-training",
)
_DISTRIBUTION_FOLDER = re.compile(r"(onnxruntime(?:[-_.][a-z]+)*)-[^-]*\.(?:dist|egg)-info$", re.IGNORECASE)


class Engine(Protocol):
    """One loaded network.

    Attributes:
        provider: what really runs it, as the engine reports it.
        metadata: strings stored in the model file.
        input_shape: (height, width, channels) that the model takes, None where dynamic.
        warnings: what the caller should know, for example that an accelerator did not start.
    """

    provider: str
    metadata: Mapping[str, str]
    input_shape: tuple[int | None, int | None, int | None]
    warnings: tuple[str, ...]

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (n, h, w, 3) in, float32 (n, ...) out. Safe to call from several threads at once.

        Raises:
            InferenceError: the engine failed.
        """
        ...

    def close(self) -> None:
        """Frees the network; `run` must not be called afterwards."""
        ...


class OnnxEngine:
    """A network in ONNX Runtime."""

    def __init__(self, path: Path, *, providers: Sequence[str] | None = None, threads: int | None = None) -> None:
        """Loads an ONNX file.

        Args:
            path: the model.
            providers: short or full provider names, in order of preference; the first must become active. None tries
                those in `PROVIDERS` that are installed, in that order.
            threads: threads inside an operator; None takes what affinity and the cgroup quota allow.

        Raises:
            EngineNotInstalledError, EngineConflictError: no ONNX Runtime, or several.
            ProviderUnavailableError: a provider that was asked for is not installed or did not start.
            EngineError: the file cannot be loaded.
        """
        runtime = load_onnxruntime()
        installed = runtime.get_available_providers()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or available_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # On a busy machine, spinning threads take the time that the others need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")

        warnings: list[str] = []
        if providers is None:
            choices = [[name] for name in PROVIDERS.values() if name in installed]
        else:
            choices = [resolve_providers(providers, installed)]
        for i, wanted in enumerate(choices):
            try:
                session = runtime.InferenceSession(str(path), options, providers=wanted)
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
        self.metadata: Mapping[str, str] = dict(session.get_modelmeta().custom_metadata_map)
        self.warnings = tuple(warnings)
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type != "tensor(uint8)" or len(inputs[0].shape) != 4:
            raise EngineError(
                f"'{path}' does not take one uint8 picture batch and give one output.", "Export it with the trainer."
            )
        self._input, self._output = inputs[0].name, outputs[0].name
        height, width, channels = (size if isinstance(size, int) else None for size in inputs[0].shape[1:])
        self.input_shape = (height, width, channels)

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine.run`."""
        try:
            result = self._session.run([self._output], {self._input: batch})[0]
        except Exception as error:
            raise InferenceError(
                f"{self.provider} failed while it ran: {_first_line(error)}", "Try another provider."
            ) from error
        return np.asarray(result, np.float32)

    def close(self) -> None:
        """See `Engine.close`."""
        self._session = None


def load_onnxruntime() -> Any:
    """Imports ONNX Runtime after checking that exactly one build of it is installed.

    Raises:
        EngineNotInstalledError, EngineConflictError.
    """
    installed = _installed_distributions()
    found = [name for name in _DISTRIBUTIONS if name in installed]
    if len(found) > 1:
        raise EngineConflictError(
            f"Several ONNX Runtime builds are installed and overwrite each other: {', '.join(found)}.",
            f"Run: pip uninstall -y {' '.join(found)} && pip install {found[-1]}",
        )
    try:
        runtime = importlib.import_module("onnxruntime")
    except ImportError as error:
        if found:
            raise EngineNotInstalledError(
                f"{found[0]} is installed and cannot be imported: {error}.",
                f"Run: pip install --force-reinstall {found[0]}",
            ) from error
        raise EngineNotInstalledError(
            "No inference engine is installed.",
            "Run: pip install 'edge-infer[cpu]' (or [cuda], [openvino], [directml]).",
        ) from error
    if not hasattr(runtime, "InferenceSession"):
        raise EngineNotInstalledError(
            "ONNX Runtime's files are incomplete (another build was probably removed).",
            f"Run: pip install --force-reinstall {found[0] if found else 'onnxruntime'}",
        )
    return runtime


def require_macos() -> None:
    """Raises ProviderUnavailableError where there is no Core ML."""
    if sys.platform != "darwin":
        raise ProviderUnavailableError(
            f"Core ML runs on macOS only; this is {sys.platform}.",
            "Use the bundle's ONNX files here: leave out Core ML's providers and variants.",
        )


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


def available_threads() -> int:
    """Processors that this process may use: the smaller of its CPU affinity and its cgroup quota, at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    return max(1, affinity if quota is None else min(affinity, int(quota)))


def _cgroup_quota(membership: Path, root: Path) -> float | None:
    """Smallest CPU quota from this process's cgroup up to the root, in processors; None where there is none."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    quotas = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        unified = controllers == ""
        if not unified and "cpu" not in controllers.split(","):
            continue
        base = root if unified else root / controllers
        folder = base / group.lstrip("/")
        for level in (folder, *folder.parents):
            quotas.append(_quota_at(level))
            if level == base:
                break
        # In a container the group's path may not exist below the mount; the mount itself is then the group.
        quotas.append(_quota_at(base))
    found = [quota for quota in quotas if quota is not None]
    return min(found, default=None)


def _quota_at(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        return float(quota) / float(period) if quota not in ("max", "-1") else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _installed_distributions() -> set[str]:
    """Names of the installed distributions that begin with "onnxruntime".

    Read from the folders' names: `importlib.metadata` would find the same, but importing it takes a tenth of the time
    that a bare start of ONNX Runtime and OpenCV takes.
    """
    found = set()
    for folder in dict.fromkeys(sys.path):
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208 - a Path for each of thousands of entries takes longer
        except OSError:
            continue
        for name in names:
            match = _DISTRIBUTION_FOLDER.match(name)
            if match:
                found.add(re.sub(r"[-_.]+", "-", match.group(1)).lower())
    return found


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : ", "", lines[0]) if lines else type(error).__name__
