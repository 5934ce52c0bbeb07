"""Whether loaded networks are those that the manifest describes, and whether what they return can be true."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

from edge_infer.bundle.manifest import Manifest
from edge_infer.engines.base import Engine
from edge_infer.errors import BundleMismatchError, InferenceError


def check_probabilities(stage: str, values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A network's output, clipped to 0..1.

    Raises:
        InferenceError: it has another shape, or holds values that are no probabilities.
    """
    if values.shape != shape:
        raise InferenceError(
            f"The {stage} returned shape {values.shape}, not {shape}.", "Restore or re-export the bundle."
        )
    # NaN fails both comparisons, so it is caught here too.
    least, most = values.min(), values.max()
    if not (least >= -1e-4 and most <= 1 + 1e-4):
        raise InferenceError(f"The {stage} returned values that are no probabilities.", "Try the cpu provider.")
    return values if least >= 0 and most <= 1 else np.clip(values, 0.0, 1.0)


def check_scores(values: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Scores of familiarity, float32 (n,), as they are.

    Raises:
        InferenceError: they have another shape, or are not finite.
    """
    if values.shape != (count,) or not np.isfinite(values).all():
        raise InferenceError(
            f"The segmenter returned no {count} scores of familiarity.", "Restore or re-export the bundle."
        )
    return values


def check_maps(values: NDArray[np.float32], count: int, classes: int) -> NDArray[np.float32]:
    """Class activation maps, float32 (n, rows, columns, classes), as they are.

    Raises:
        InferenceError: they have another shape, or are not finite.
    """
    if values.ndim != 4 or values.shape[0] != count or values.shape[3] != classes or not np.isfinite(values).all():
        raise InferenceError(
            f"The classifier returned no {count} class activation maps of {classes} classes.",
            "Leave the explanation out, or restore the bundle.",
        )
    return values


def check_engines(manifest: Manifest, segmenter: Engine, classifier: Engine) -> None:
    """Compares both networks with the manifest.

    Raises:
        BundleMismatchError: an input size or the labels differ, or the score of familiarity is missing.
    """
    remedy = "Export the bundle again; do not mix files of different bundles."
    for name, engine, spec in (
        ("segmenter", segmenter, manifest.segmenter.input),
        ("classifier", classifier, manifest.classifier.input),
    ):
        wanted = (spec.height, spec.width, spec.channels)
        if any(size not in (None, want) for size, want in zip(engine.input_shape, wanted, strict=True)):
            raise BundleMismatchError(f"The {name} takes {engine.input_shape}, the manifest says {wanted}.", remedy)
    rule = manifest.familiarity
    if rule is not None and rule.output not in segmenter.outputs:
        raise BundleMismatchError(
            f"The segmenter has no output '{rule.output}', which the manifest refuses pictures by.", remedy
        )
    stored = classifier.metadata.get("edge_infer.labels")
    try:
        labels = None if stored is None else tuple(json.loads(stored))
    except ValueError:
        labels = (stored,)
    if labels != manifest.labels:
        raise BundleMismatchError(
            f"The classifier was exported for the labels {labels}, the manifest says {manifest.labels}.", remedy
        )
