"""The published pair with the weights that this project trained: `reference`'s two networks, at the published sizes."""

from __future__ import annotations

from typing import Any

from torch import nn

from edge_infer.bundle.manifest import Manifest
from edge_infer.bundle.store import Bundle, load_bundle
from edge_infer.errors import BundleNotFoundError

SOURCE = "reference"


def trained_source(segmenter: str, classifier: str) -> Bundle | None:
    """The bundle `reference` where it is at hand and holds networks of these architectures, else None."""
    try:
        bundle = load_bundle(SOURCE)
    except BundleNotFoundError:
        return None
    held = bundle.manifest.segmenter.architecture, bundle.manifest.classifier.architecture
    return bundle if held == (segmenter, classifier) else None


def weights_of(segmenter: str, classifier: str) -> str:
    """Which weights the pair has, in words."""
    source = trained_source(segmenter, classifier)
    if source is None:
        return "random weights, so accuracy cannot be told from it"
    side = source.manifest.segmenter.input.height
    return f"the weights of '{SOURCE}' {source.manifest.version}, which were trained on pictures of {side} pixels"


def trained_pair(source: Bundle) -> tuple[nn.Module, nn.Module]:
    """Both networks as `source` serves them; they take pictures of any size."""
    from trainer.bundle.recover import recover_graph

    first, _, _ = recover_graph(source, "segmenter")
    second, _, _ = recover_graph(source, "classifier")
    return first, second


def trained_rules(manifest: Manifest) -> dict[str, Any]:
    """What a manifest of the pair takes over from the source's: labels, mask, crop, calibration and decision."""
    names = (
        *("labels", "label_names", "melanoma_label", "mask", "roi", "calibration"),
        *("operating_points", "default_operating_point", "provenance"),
    )
    return {name: getattr(manifest, name) for name in names}
