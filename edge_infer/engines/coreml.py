"""Core ML behind the `Engine` protocol: runs a bundle's `.mlpackage` on macOS.

coremltools and Pillow are imported only when an engine is made, so this module imports anywhere. Pillow is needed
because the packages take an image, as an iOS app hands it over (`CVPixelBuffer`), and coremltools accepts such an input
only as a Pillow picture; a second package with a multi-array input would no longer be the file that phones run.
"""

from __future__ import annotations

import importlib
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from edge_infer.engines.base import ComputeUnits, require_macos
from edge_infer.errors import EngineError, EngineNotInstalledError, InferenceError, ProviderUnavailableError

_INSTALL = "Run: pip install 'edge-infer[coreml]'."


class CoreMLEngine:
    """A network in Core ML.

    `provider` names the compute units that Core ML was allowed to use. Core ML does not report which of them ran, so
    nothing more is claimed.
    """

    def __init__(
        self, path: Path, *, compute_units: ComputeUnits = "ALL", files: Mapping[str, bytes] | None = None
    ) -> None:
        """Loads a package and runs it once on a black picture, because Core ML reports some failures only then.

        Args:
            path: an `.mlpackage` with one RGB image input, as the trainer exports it.
            compute_units: what Core ML may use; "CPU_AND_NE" is CPU and Neural Engine. A choice of this load, not of
                the file.
            files: what the package holds, by path below it, where this was checked: Core ML opens files by itself, so
                it then gets a private copy of these, and `path` is only a name.

        Raises:
            ProviderUnavailableError: this is not macOS, or there are no such compute units.
            EngineNotInstalledError: coremltools or Pillow is missing.
            EngineError: the package cannot be loaded or run.
        """
        require_macos()
        if compute_units not in get_args(ComputeUnits):
            raise ProviderUnavailableError(
                f"Core ML has no compute units '{compute_units}'.",
                f"Choose one of: {', '.join(get_args(ComputeUnits))}.",
            )
        coremltools, self._pillow = import_coreml()
        try:
            self._copy = None if files is None else _private_copy(files, path.name)
            opened = path if self._copy is None else Path(self._copy.name, path.name)
            self._model: Any = coremltools.models.MLModel(
                str(opened), compute_units=getattr(coremltools.ComputeUnit, compute_units)
            )
            description = self._model.get_spec().description
        except Exception as error:
            raise EngineError(
                f"Core ML cannot load '{path}': {error}", "Restore the bundle; the packages need macOS 13 or later."
            ) from error
        inputs, outputs = description.input, description.output
        if len(inputs) != 1 or inputs[0].type.WhichOneof("Type") != "imageType" or not outputs:
            raise EngineError(f"'{path}' does not take one picture and give an output.", "Export it with the trainer.")
        image = inputs[0].type.imageType
        self._input = inputs[0].name
        self.outputs: tuple[str, ...] = tuple(output.name for output in outputs)
        self._lock = threading.Lock()
        self.provider: str = f"CoreML:{compute_units}"
        self.metadata: Mapping[str, str] = dict(description.metadata.userDefined)
        self.input_shape: tuple[int | None, int | None, int | None] = (int(image.height), int(image.width), 3)
        self.warnings: tuple[str, ...] = ()
        try:
            self.run(np.zeros((1, image.height, image.width, 3), np.uint8))
        except InferenceError as error:
            raise EngineError(
                f"Core ML loads '{path}' and cannot run it: {error.message}",
                "The packages need macOS 13 or later; try compute_units='CPU_ONLY'.",
            ) from error

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `edge_infer.engines.base.Engine.run`. The package's batch is 1: Core ML gets a list of single pictures.

        Raises:
            InferenceError: Core ML failed, or the engine is closed.
        """
        return self.run_named(batch, self.outputs[:1])[0]

    def run_named(self, batch: NDArray[np.uint8], names: Sequence[str]) -> tuple[NDArray[np.float32], ...]:
        """See `edge_infer.engines.base.Engine.run_named`.

        Raises:
            InferenceError: Core ML failed, the engine is closed, or there is no such output.
        """
        pictures = [{self._input: self._pillow.fromarray(picture)} for picture in batch]
        try:
            with self._lock:
                results = self._model.predict(pictures)
            return tuple(np.concatenate([np.asarray(one[name], np.float32) for one in results]) for name in names)
        except Exception as error:
            raise InferenceError(
                f"Core ML failed while it ran: {error}", "Try other compute units, for example CPU_ONLY."
            ) from error

    def close(self) -> None:
        """See `edge_infer.engines.base.Engine.close`."""
        self._model = None
        if self._copy is not None:
            self._copy.cleanup()


def _private_copy(files: Mapping[str, bytes], name: str) -> tempfile.TemporaryDirectory[str]:
    """The files below a folder `name` in a folder that only this user can enter; gone with the engine."""
    folder = tempfile.TemporaryDirectory(prefix="edge-infer-")
    for file, data in files.items():
        place = Path(folder.name, name, file)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return folder


def import_coreml() -> tuple[Any, Any]:
    """coremltools and Pillow's `Image`.

    Raises:
        EngineNotInstalledError: one is missing.
    """
    return _import("coremltools"), _import("PIL.Image")


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise EngineNotInstalledError(f"{name.partition('.')[0]} cannot be imported: {error}.", _INSTALL) from error
