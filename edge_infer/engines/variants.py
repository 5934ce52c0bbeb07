"""Opens one form of a stage, whatever engine it needs; see `edge_infer.bundle.manifest.Variant`."""

from __future__ import annotations

from collections.abc import Sequence

from edge_infer.bundle.class_map import with_class_map
from edge_infer.bundle.manifest import StageName
from edge_infer.bundle.onnx_file import check_network
from edge_infer.bundle.store import Bundle, read_file
from edge_infer.engines.base import ComputeUnits, Engine, Precision, wants_openvino
from edge_infer.engines.onnx import OnnxEngine
from edge_infer.errors import ExplanationUnavailableError, ProviderUnavailableError


def open_variant(
    bundle: Bundle,
    stage: StageName,
    variant: str | None = None,
    *,
    providers: Sequence[str] | None = None,
    threads: int | None = None,
    compute_units: ComputeUnits = "ALL",
    precision: Precision = "float32",
    data: bytes | None = None,
    explain: bool = False,
) -> Engine:
    """Loads one network of a bundle whose files were checked.

    Args:
        bundle: see `edge_infer.bundle.store.load_bundle`.
        stage: which network.
        variant: its name; None is the float32 ONNX file.
        providers: of ONNX Runtime, as for `OnnxEngine`, or `NATIVE_OPENVINO` alone; only for ONNX files.
        threads: the same.
        compute_units: of Core ML; only for Core ML packages.
        precision: of OpenVINO itself.
        data: the checked bytes of an ONNX file; None reads and checks it.
        explain: gives a classifier the further output `edge_infer.bundle.class_map.CLASS_MAP`.

    Raises:
        BundleError: the bundle has no such variant of this stage, or its file is not what a bundle may hold.
        ProviderUnavailableError: a provider is not available, or a Core ML package is to run in ONNX Runtime.
        EngineError: the network cannot be loaded; see its subclasses.
        ExplanationUnavailableError: the classifier has no exact map, or this engine cannot give it.
    """
    entry, path = bundle.manifest.variant(stage, variant), bundle.variant_file(stage, variant)
    explain = explain and stage == "classifier"
    if explain and (entry.format != "onnx" or wants_openvino(providers)):
        raise ExplanationUnavailableError(
            "Core ML itself and OpenVINO itself load files as they are, without the output of an explanation.",
            "Leave the explanation out, or let ONNX Runtime run the float32 files (--provider cpu).",
        )
    if entry.format == "onnx":
        checked = read_file(bundle.path, entry.file, bundle.manifest.files[entry.file]) if data is None else data
        check_network(checked, getattr(bundle.manifest, stage), str(path))
        if explain:
            checked = with_class_map(checked, bundle.manifest.classifier.output.name, f"{bundle.manifest.name}")
        if wants_openvino(providers):
            from edge_infer.engines.openvino import OpenVinoEngine

            return OpenVinoEngine(path, threads=threads, precision=precision, data=checked)
        return OnnxEngine(
            path, providers=providers, threads=threads, oldest=bundle.manifest.min_onnxruntime, data=checked
        )
    if providers:
        raise ProviderUnavailableError(
            f"Variant '{variant}' is a Core ML package; the provider '{providers[0]}' cannot run it.",
            "Leave the provider out, or choose an ONNX variant.",
        )
    from edge_infer.engines.coreml import CoreMLEngine

    below = f"{entry.file}/"
    files = {
        name.removeprefix(below): read_file(bundle.path, name, listed)
        for name, listed in bundle.manifest.files.items()
        if name.startswith(below)
    }
    return CoreMLEngine(path, compute_units=compute_units, files=files)
