"""Golden examples: every intermediate result of the whole path, stored in the bundle and replayed on any engine.

The trainer records a trace with its PyTorch models; `edge-infer verify` replays it with the bundle's own files. Both go
through `trace`, so a port to another language has one list of steps to reproduce.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from edge_infer.bundle.manifest import Manifest
from edge_infer.errors import BundleSchemaError
from edge_infer.rules import Tolerance
from edge_infer.steps.crop import crop_roi, lesion_box, roi_box
from edge_infer.steps.mask import clean_mask, restore_mask
from edge_infer.steps.prevalence import correct_classes, known_ratio
from edge_infer.steps.resize import resize, to_batch

Network = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
Trace = dict[str, NDArray[np.uint8] | NDArray[np.float32]]
Scores = NDArray[np.float32] | None
STEPS = ("image", "segmenter_input", "probability_map", "familiarity", "mask", "roi", "probabilities", "corrected")
PREVALENCE = 0.02
"""Share of melanoma that the step `corrected` is for."""
_LARGEST = 2**30
END_TO_END = "probabilities (end to end)"
"""The replay's step whose deviation is that of the whole path; `probabilities` alone is on the stored crop."""


@dataclass(frozen=True)
class Scoring:
    """A segmenter's network that scores familiarity in the same run; called as a `Network` it gives the maps alone.

    Attributes:
        both: uint8 (n, h, w, 3) to maps (n, h, w) and scores (n,), float32; None where the bundle has no score.
    """

    both: Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], Scores]]

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The maps."""
        return self.both(batch)[0]


def segment_and_score(segment: Network, batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], Scores]:
    """Maps (n, h, w) and, of a `Scoring` network, scores (n,)."""
    return segment.both(batch) if isinstance(segment, Scoring) else (segment(batch), None)


def trace(image: NDArray[np.uint8], manifest: Manifest, segment: Network, classify: Network) -> Trace:
    """Runs the whole path on one picture and keeps what every step gave.

    Args:
        image: RGB uint8, shape (h, w, 3), upright.
        manifest: sizes, mask and ROI rules.
        segment: uint8 (n, h, w, 3) -> float32 (n, h, w); `Scoring` where the bundle has a score of familiarity.
        classify: uint8 (n, s, s, 3) -> float32 (n, classes).

    Returns:
        One array per name in `STEPS`; `mask` is at the picture's size, `familiarity` has shape (1,) and is absent where
        the bundle has no such score. Without a lesion the steps after `mask` are absent; `corrected` are the
        probabilities for a share of melanoma of `PREVALENCE`, absent where the bundle states no prior.
    """
    spec = manifest.segmenter.input
    height, width = image.shape[:2]
    segmenter_input = resize(image, spec.height, spec.width)
    maps, scores = segment_and_score(segment, to_batch([segmenter_input]))
    probability_map = maps[0]
    mask = restore_mask(clean_mask(probability_map, manifest.mask.threshold), height, width)
    steps: Trace = {
        "image": image,
        "segmenter_input": segmenter_input,
        "probability_map": probability_map,
        "mask": mask,
    }
    if manifest.familiarity is not None and scores is not None:
        steps["familiarity"] = scores[:1]
    lesion = lesion_box(mask)
    if lesion is not None:
        box = roi_box(lesion, height, width, manifest.roi.margin, manifest.roi.outside)
        steps["roi"] = crop_roi(image, mask, box, manifest.roi, manifest.classifier.input.height)
        steps["probabilities"] = classify(to_batch([steps["roi"]]))[0]  # type: ignore[list-item]
        if manifest.calibration.prior is not None:
            ratio = known_ratio(manifest.calibration, PREVALENCE)
            corrected = correct_classes(np.asarray(steps["probabilities"]), manifest.melanoma_index, ratio)
            steps["corrected"] = corrected.astype(np.float32)
    return steps


def write_golden(path: Path, traces: list[Trace]) -> None:
    """Writes traces as one compressed `.npz` whose keys are `<example>/<step>`."""
    arrays = {f"{i}/{step}": array for i, steps in enumerate(traces) for step, array in steps.items()}
    with path.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]


def read_golden(path: Path | BinaryIO) -> list[Trace]:
    """Reads what `write_golden` wrote, from a file's path or an open stream.

    Raises:
        BundleSchemaError: the file is damaged or holds no complete example.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _LARGEST:
                raise ValueError("it unpacks to more than a gigabyte")
        if not isinstance(path, Path):
            path.seek(0)
        with np.load(path, allow_pickle=False) as arrays:
            stored = {key: arrays[key] for key in arrays.files}
        numbers = sorted({int(key.split("/")[0]) for key in stored})
    except (
        OSError,
        ValueError,
        TypeError,
        AttributeError,
        EOFError,
        MemoryError,
        NotImplementedError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise BundleSchemaError(f"'{path}' is no readable .npz file: {error}.", "Restore the bundle.") from error
    traces = [{step: stored[f"{i}/{step}"] for step in STEPS if f"{i}/{step}" in stored} for i in numbers]
    if not traces or any(not {"image", "probability_map", "mask"} <= set(steps) for steps in traces):
        raise BundleSchemaError(f"'{path}' holds no complete golden example.", "Export the bundle again.")
    return traces


@dataclass(frozen=True)
class Deviation:
    """The worst deviation of one step over all golden examples, and whether it is within the bundle's bound."""

    step: str
    measure: str
    value: float
    limit: float
    passed: bool


def replay(
    traces: list[Trace],
    manifest: Manifest,
    segment: Network,
    classify: Network,
    tolerance: Tolerance | None = None,
) -> Iterator[Deviation]:
    """Runs every golden example again and yields, step by step, the worst deviation from what was stored.

    The classifier is checked twice: on the stored ROI, which tells its own deviation, and end to end. `tolerance` is
    that of the variants that run; None takes the bundle's own, for the float32 files.
    """
    bounds = tolerance or manifest.golden.tolerance
    again = [trace(np.asarray(steps["image"], np.uint8), manifest, segment, classify) for steps in traces]

    def worst(step: str, measure: Callable[[NDArray[np.float64], NDArray[np.float64]], float]) -> float:
        values = []
        for stored, now in zip(traces, again, strict=True):
            if (step in stored) != (step in now):
                return float("inf")
            if step in stored:
                a, b = stored[step].astype(np.float64), now[step].astype(np.float64)
                values.append(measure(a, b) if a.shape == b.shape else float("inf"))
        return max(values, default=0.0)

    def mean_abs(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        return float(np.abs(a - b).mean())

    def max_abs(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        return float(np.abs(a - b).max())

    def lost_overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        union = np.maximum(a, b).sum()
        return 1.0 - float(np.minimum(a, b).sum() / union) if union else 0.0

    def check(step: str, measure: str, value: float, limit: float) -> Deviation:
        return Deviation(step, measure, value, limit, value <= limit)

    yield check("segmenter_input", "max |Δ| grey levels", worst("segmenter_input", max_abs), 1.0)
    yield check("probability_map", "mean |Δ|", worst("probability_map", mean_abs), bounds.max_map)
    if manifest.familiarity is not None:
        yield check("familiarity", "max |Δ| of the score", worst("familiarity", max_abs), bounds.max_familiarity or 0.0)
    yield check("mask", "1 - IoU", worst("mask", lost_overlap), 1.0 - bounds.min_mask_iou)
    cropped = [steps for steps in traces if "roi" in steps]
    given = [classify(to_batch([np.asarray(steps["roi"], np.uint8)]))[0] for steps in cropped]
    alone = max((float(np.abs(p - s["probabilities"]).max()) for p, s in zip(given, cropped, strict=True)), default=0.0)
    yield check("probabilities (stored ROI)", "max |Δ|", alone, bounds.max_probability)
    yield check(END_TO_END, "max |Δ|", worst("probabilities", max_abs), bounds.max_end_to_end)
    if manifest.calibration.prior is not None:
        name = f"corrected for {PREVALENCE:.0%} melanoma"
        yield check(name, "max |Δ|", worst("corrected", max_abs), bounds.max_end_to_end)
