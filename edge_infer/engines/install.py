"""Which inference engine is installed: exactly one build of ONNX Runtime."""

from __future__ import annotations

import importlib
import os
import re
import sys
from typing import Any

from edge_infer.errors import EngineConflictError, EngineNotInstalledError, EngineVersionError

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


def load_onnxruntime() -> Any:
    """Imports ONNX Runtime, its telemetry switched off, after checking that exactly one build of it is installed.

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
    # From 1.32 on, ONNX Runtime's own wheels for Linux keep a device id and events in the user's cache, and send them.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
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
    if hasattr(runtime, "disable_telemetry_events"):  # where the application imported it before us
        runtime.disable_telemetry_events()
    return runtime


def require_version(runtime: Any, oldest: str | None) -> None:
    """Does nothing where ONNX Runtime is new enough.

    Args:
        runtime: the module, see `load_onnxruntime`.
        oldest: a version such as "1.20"; None: any will do.

    Raises:
        EngineVersionError: it is older, and what to install.
    """
    if oldest is None or _release(runtime.__version__) >= _release(oldest):
        return
    found = [name for name in _DISTRIBUTIONS if name in _installed_distributions()]
    raise EngineVersionError(
        f"This bundle needs ONNX Runtime {oldest} or newer; {runtime.__version__} is installed.",
        f"Run: pip install --upgrade '{found[0] if found else 'onnxruntime'}>={oldest}'",
    )


def _release(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, without zeros at the end: 1.20.0rc1 and 1.20 are alike."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(part) for part in match.group().split(".")] if match else []
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


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
