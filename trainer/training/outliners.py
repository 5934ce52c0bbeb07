"""Opens the segmenters that outline pictures without masks."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edge_infer.bundle.store import load_bundle
from edge_infer.engines.onnx import OnnxEngine
from edge_infer.rules import MaskRule
from trainer.data.outline import Outliner
from trainer.models.serving import ServingSegmenter, as_network
from trainer.training.checkpoint import load_checkpoint

_RULE = MaskRule(threshold=0.5, min_area_fraction=0.001, max_area_fraction=1.0, min_confidence=0.5)


def open_outliner(name: str, folder: Path) -> Outliner:
    """The segmenter of a bundle or of a run.

    Args:
        name: a bundle's name or path, or a checkpoint of a segmenter (`.pt`).
        folder: where the boxes are kept.

    Raises:
        EdgeInferError: there is no such bundle or checkpoint.
    """
    return _of_checkpoint(Path(name), folder) if name.endswith(".pt") else _of_bundle(name, folder)


def _of_bundle(name: str, folder: Path) -> Outliner:
    bundle = load_bundle(name)
    file = bundle.file("segmenter", "onnx")
    engine = OnnxEngine(file, providers=["cpu"], threads=1)
    digest = hashlib.sha256(file.read_bytes() + repr(bundle.manifest.mask).encode()).hexdigest()
    spec = bundle.manifest.segmenter.input
    return Outliner(engine.run, (spec.height, spec.width), bundle.manifest.mask, digest[:16], folder)


def _of_checkpoint(path: Path, folder: Path) -> Outliner:
    found = load_checkpoint(path)
    network = as_network(ServingSegmenter(found.model, found.recipe.normalization))
    side = found.recipe.data.size
    return Outliner(network, (side, side), _RULE, hashlib.sha256(path.read_bytes()).hexdigest()[:16], folder)
