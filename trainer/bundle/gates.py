"""Parity gates: an artifact is written only if it equals the PyTorch float32 model on real pictures.

`measure_parity` compares two pairs of networks; `Limit` lists say how far apart they may be; `require` refuses the
export where one is exceeded. The figures go into the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge_infer.bundle.golden import Trace, trace
from edge_infer.bundle.manifest import Manifest, ParityGate
from edge_infer.steps.image import open_picture
from edge_infer.steps.mask import clean_mask, restore_mask
from edge_infer.steps.resize import to_batch
from trainer.bundle.errors import ParityError
from trainer.bundle.storage import Store
from trainer.data.ham10000 import Record, read_mask
from trainer.scoring.metrics import Roc
from trainer.scoring.networks import Networks


@dataclass(frozen=True)
class Parity:
    """How far a candidate is from its reference over some pictures.

    Attributes:
        pictures: how many.
        max_map: largest absolute difference of a pixel's lesion probability.
        min_mask_iou, mean_mask_iou: overlap of the cleaned masks at the picture's size, worst picture and mean.
        max_probability: largest absolute difference of a class probability on the reference's own crops.
        flipped: fraction of decisions that differ end to end, over pictures and operating points; a lesion that only
            one of the two finds counts as different.
        dice_change, worst_dice_change: candidate minus reference, mean and worst picture, against the true masks.
        auc_change: absolute change of the melanoma AUC end to end; None where the pictures show one class only.
    """

    pictures: int
    max_map: float
    min_mask_iou: float
    mean_mask_iou: float
    max_probability: float
    flipped: float
    dice_change: float
    worst_dice_change: float
    auc_change: float | None


Measured = Literal[
    "max_map",
    "min_mask_iou",
    "mean_mask_iou",
    "max_probability",
    "flipped",
    "dice_change",
    "worst_dice_change",
    "auc_change",
]

_WORDS: dict[Measured, str] = {
    "max_map": "max |Δp| of a pixel",
    "min_mask_iou": "mask IoU, worst picture",
    "mean_mask_iou": "mask IoU, mean",
    "max_probability": "max |Δp| of a class on the same crops",
    "flipped": "decisions flipped, end to end",
    "dice_change": "change of mean Dice",
    "worst_dice_change": "change of Dice, worst picture",
    "auc_change": "|change| of the melanoma AUC",
}


@dataclass(frozen=True)
class Limit:
    """One gate: the artifact (file) that it judges, the measure, and its bound."""

    artifact: str
    measure: Measured
    relation: Literal["<=", ">="]
    limit: float


def float32_limits(segmenter: str, classifier: str) -> tuple[Limit, ...]:
    """What a float32 file must hold: it is the same model, so nothing but rounding may differ."""
    return (
        Limit(segmenter, "max_map", "<=", 1e-4),
        Limit(segmenter, "min_mask_iou", ">=", 0.999),
        Limit(classifier, "max_probability", "<=", 1e-4),
        Limit(f"{segmenter} + {classifier}", "flipped", "<=", 0.0),
    )


def int8_limits(segmenter: str, classifier: str) -> tuple[Limit, ...]:
    """What 8-bit files must hold: accuracy and decisions survive although single values move."""
    both = f"{segmenter} + {classifier}"
    return (
        Limit(segmenter, "dice_change", ">=", -0.001),
        Limit(segmenter, "worst_dice_change", ">=", -0.02),
        Limit(both, "auc_change", "<=", 0.002),
        Limit(both, "flipped", "<=", 0.01),
        Limit(classifier, "max_probability", "<=", 0.05),
    )


def float16_limits(segmenter: str, classifier: str) -> tuple[Limit, ...]:
    """What float16 artifacts (Core ML) must hold."""
    return (
        Limit(segmenter, "max_map", "<=", 5e-3),
        Limit(segmenter, "mean_mask_iou", ">=", 0.998),
        Limit(classifier, "max_probability", "<=", 5e-3),
    )


def storage_limits(segmenter: str, classifier: str, store: Store) -> tuple[Limit, ...]:
    """What rounding the weights may change, before any file is written; see `trainer.bundle.rounding`."""
    first, second = (f"{store} weights of {file}" for file in (segmenter, classifier))
    if store == "int8":
        return int8_limits(first, second)
    return (*float16_limits(first, second), Limit(f"{first} + {classifier}", "flipped", "<=", 0.005))


def measure_parity(
    records: Sequence[Record],
    manifest: Manifest,
    reference: Networks,
    candidate: Networks,
    *,
    progress: bool = True,
) -> Parity:
    """Follows the whole path with both pairs of networks on labelled pictures; see `measure_parities`."""
    [parity] = measure_parities(records, manifest, reference, {"": candidate}, progress=progress).values()
    return parity


def measure_parities(
    records: Sequence[Record],
    manifest: Manifest,
    reference: Networks,
    candidates: Mapping[str, Networks],
    *,
    progress: bool = True,
) -> dict[str, Parity]:
    """Follows the whole path with the reference and every candidate on labelled pictures.

    Args:
        records: real pictures with masks and labels, from the validation split.
        manifest: rules, labels and operating points; its files are not read.
        reference: the PyTorch float32 networks, run once for all candidates.
        candidates: the artifacts' networks by name.
        progress: shows a bar on stderr.
    """
    tallies = {name: _Tally(manifest) for name in candidates}
    title = ", ".join(filter(None, candidates)) or "float32"
    for record in tqdm(records, desc=f"parity ({title})", unit="img", disable=not progress):
        image, truth = open_picture(record.image_path).pixels, read_mask(record.mask_path)
        ours = trace(image, manifest, *reference)
        for name, candidate in candidates.items():
            tallies[name].add(record, truth, ours, trace(image, manifest, *candidate), candidate)
    return {name: tally.result() for name, tally in tallies.items()}


class _Tally:
    """What one candidate did so far."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._maps, self._probabilities = [0.0], [0.0]
        self._ious: list[float] = []
        self._dices: list[float] = []
        self._flips: list[bool] = []
        self._scores: list[tuple[float, float, bool]] = []

    def add(self, record: Record, truth: NDArray[np.uint8], ours: Trace, theirs: Trace, candidate: Networks) -> None:
        manifest, points = self._manifest, self._manifest.operating_points
        self._maps.append(_max_difference(ours["probability_map"], theirs["probability_map"]))
        self._ious.append(_iou(ours["mask"], theirs["mask"]))
        self._dices.append(_dice(theirs, truth, manifest) - _dice(ours, truth, manifest))
        if "roi" in ours:
            again = candidate.classify(to_batch([np.asarray(ours["roi"], np.uint8)]))[0]
            self._probabilities.append(_max_difference(ours["probabilities"], again))
        if "probabilities" in ours and "probabilities" in theirs:
            a, b = (float(steps["probabilities"][manifest.melanoma_index]) for steps in (ours, theirs))
            self._scores.append((a, b, record.dx == manifest.melanoma_label))
            self._flips += [(a >= point.threshold) != (b >= point.threshold) for point in points]
        else:
            self._flips += [("probabilities" in ours) != ("probabilities" in theirs)] * len(points)

    def result(self) -> Parity:
        return Parity(
            len(self._ious),
            max(self._maps),
            min(self._ious),
            float(np.mean(self._ious)),
            max(self._probabilities),
            float(np.mean(self._flips)),
            float(np.mean(self._dices)),
            min(self._dices),
            _auc_change(self._scores),
        )


def judge(parity: Parity, limits: Sequence[Limit]) -> tuple[ParityGate, ...]:
    """The gates with their measured values. A measure that is undefined on these pictures fails.

    Raises:
        ParityError: a value is not finite.
    """
    gates = []
    for limit in limits:
        value = getattr(parity, limit.measure)
        if value is None or not np.isfinite(value):
            raise ParityError(
                f"{limit.artifact}: '{_WORDS[limit.measure]}' is undefined on these {parity.pictures} pictures.",
                "Use validation pictures that show melanoma and other lesions, and check the model's output.",
            )
        measure = f"{_WORDS[limit.measure]} ({parity.pictures} validation pictures)"
        gates.append(ParityGate(limit.artifact, measure, limit.relation, limit.limit, float(value)))
    return tuple(gates)


def require(
    gates: Sequence[ParityGate], remedy: str = "Compare the graphs layer by layer; do not widen the limits."
) -> None:
    """Does nothing if all gates hold.

    Args:
        gates: as judged.
        remedy: what to do where one does not hold.

    Raises:
        ParityError: naming every gate that does not.
    """
    failed = [
        f"{gate.artifact}: {gate.measure} is {gate.value:.3g}, must be {gate.relation} {gate.limit:g}"
        for gate in gates
        if not gate.passed
    ]
    if failed:
        raise ParityError(
            "The export differs from the PyTorch model. " + "; ".join(failed) + ".",
            remedy,
        )


def _max_difference(a: NDArray[np.generic], b: NDArray[np.generic]) -> float:
    if a.shape != b.shape:
        return float("inf")
    difference = np.abs(a.astype(np.float64) - b.astype(np.float64)).max()
    return float(difference) if np.isfinite(difference) else float("inf")


def _iou(a: NDArray[np.generic], b: NDArray[np.generic]) -> float:
    union = int(np.logical_or(a, b).sum())
    return int(np.logical_and(a, b).sum()) / union if union else 1.0


def _dice(steps: Trace, truth: NDArray[np.uint8], manifest: Manifest) -> float:
    cleaned = clean_mask(np.asarray(steps["probability_map"], np.float32), manifest.mask.threshold)
    mask = restore_mask(cleaned, *truth.shape)
    total = int(mask.sum(dtype=np.int64)) + int(truth.sum(dtype=np.int64))
    return 2 * int((mask & truth).sum(dtype=np.int64)) / total if total else 1.0


def _auc_change(scores: Sequence[tuple[float, float, bool]]) -> float | None:
    positive = np.array([melanoma for _, _, melanoma in scores], dtype=bool)
    if positive.all() or not positive.any():
        return None
    ones = np.ones((1, len(scores)))
    ours, theirs = (Roc(np.array([row[i] for row in scores]), positive).auc(ones)[0] for i in (0, 1))
    return abs(float(theirs) - float(ours))
