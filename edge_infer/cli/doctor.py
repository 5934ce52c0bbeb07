"""`edge-infer doctor`: what is installed, and whether it works."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from edge_infer import __version__
from edge_infer.errors import EdgeInferError

if TYPE_CHECKING:
    from edge_infer.bundle.store import Bundle


def doctor() -> None:
    """Check this installation.

    What is installed, which providers can be used, and whether the default bundle works.
    """
    import platform

    import cv2
    import numpy as np

    from edge_infer.bundle.store import find_bundle, read_manifest
    from edge_infer.diagnoser import Diagnoser
    from edge_infer.engines.install import load_onnxruntime, require_version
    from edge_infer.engines.onnx import short_name
    from edge_infer.engines.threads import available_threads

    typer.echo(f"edge-infer   {__version__}, Python {platform.python_version()}, {platform.platform()}")
    typer.echo(f"libraries    numpy {np.__version__}, OpenCV {cv2.__version__}")
    typer.echo(f"threads      {available_threads()} of {os.cpu_count()} processors may be used")
    runtime = load_onnxruntime()
    installed = ", ".join(map(short_name, runtime.get_available_providers()))
    typer.echo(f"engine       ONNX Runtime {runtime.__version__} with {installed}")
    bundle = read_manifest(find_bundle())
    typer.echo(f"bundle       {bundle.manifest.name} {bundle.manifest.version} in {bundle.path}")
    oldest = bundle.manifest.min_onnxruntime
    if oldest is not None:
        typer.echo(f"needs        ONNX Runtime {oldest} or newer")
    require_version(runtime, oldest)
    start = time.perf_counter()
    with Diagnoser.load(bundle.path) as diagnoser:
        diagnoser.warmup()
        took = (time.perf_counter() - start) * 1000
        typer.echo(f"works        on {diagnoser.provider}; loaded and run once in {took:.0f} ms")
        manifest = diagnoser.manifest
    names = list(manifest.variants("segmenter"))
    typer.echo(f"variants     {', '.join(names)}; {names[0]} runs unless --variant names another")
    packages = [name for name, entry in manifest.variants("segmenter").items() if entry.format == "coreml"]
    typer.echo(f"Core ML      {_coreml_state(packages)}")
    typer.echo(f"OpenVINO     {_openvino_state(bundle)}")


def _openvino_state(bundle: Bundle) -> str:
    """Whether OpenVINO itself can be asked for, and where it keeps what it compiles."""
    from edge_infer.bundle.store import read_file
    from edge_infer.engines.base import NATIVE_OPENVINO
    from edge_infer.engines.compiled import cache_folder
    from edge_infer.engines.openvino import OpenVinoEngine, import_openvino

    try:
        version = import_openvino().__version__.partition("-")[0]
        file = bundle.manifest.variant("classifier").file
        data = read_file(bundle.path, file, bundle.manifest.files[file])
        engine = OpenVinoEngine(bundle.path / file, threads=1, data=data)
    except EdgeInferError as error:
        return f"no: {error.message}"
    kept = engine.kept if engine.kept not in ("read", "written") else f"kept in {cache_folder()}"
    engine.close()
    return f"{version}, never picked by itself: --provider {NATIVE_OPENVINO}; compiled networks: {kept}"


def _coreml_state(packages: Sequence[str]) -> str:
    from edge_infer.engines.base import NATIVE_COREML, require_macos
    from edge_infer.engines.coreml import import_coreml

    try:
        require_macos()
        import_coreml()
    except EdgeInferError as error:
        return f"no: {error.message}"
    if not packages:
        return "no: the bundle has no Core ML variant."
    return f"yes, with {', '.join(packages)}: --provider {', '.join(NATIVE_COREML)}"
