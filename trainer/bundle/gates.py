"""Parity gates: an artifact is written only if it equals the PyTorch float32 model on real pictures.

`measure_parity` compares two pairs of networks; `Limit` lists say how far apart they may be; `require` refuses the
export where one is exceeded. The figures go into the manifest.

**On which pictures.** On those of the validation split: the segmenter never learnt from them, nor did a classifier
without folds. A cross-fitted classifier did learn from them, and there is no other picture that it did not: `test`
stays unread until the bundle is written. On what a network learnt from, its probabilities are near 0 and 1, hardly any
is near a threshold, and AUC is near 1, so that a file could differ much and still decide everything alike. There the
gates on decisions and on AUC therefore start from the answer of the network that left the picture's lesion out
(`Unseen`), and move it by as much as the candidate moves the shipped network's own answer to the same picture, in
log-odds. Pictures without such an answer then count for the other gates alone.

**How sure.** A change of AUC is measured on both networks' answers to the same pictures, with its 95 % interval from a
bootstrap by lesion (both networks always on the same resample). The gate holds only if the interval's lower end is
above its bound: too few pictures give a wide interval and fail.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge_infer.bundle.golden import Trace, trace
from edge_infer.bundle.manifest import Manifest, ParityGate
from edge_infer.rules import Metric
from edge_infer.steps.image import open_picture
from edge_infer.steps.mask import clean_mask, lesion_confidence, restore_mask
from edge_infer.steps.quality import measure_quality
from edge_infer.steps.resize import to_batch
from trainer.bundle.errors import ParityError
from trainer.bundle.storage import Store
from trainer.data.ham10000 import Record, read_mask
from trainer.scoring.metrics import Roc, Weights, lesion_weights, with_interval
from trainer.scoring.networks import Networks
from trainer.scoring.predict import Limits, Rules, reason_of

Unseen = Mapping[str, float]
"""Calibrated melanoma probability by image id, of networks that did not learn from the picture's lesion."""

_LEAST = 1e-5


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
        auc_change: absolute change of the melanoma AUC end to end, in the mean over the sources that show both classes;
            None where none does.
        auc_low, auc_high: 95 % interval of the AUC's change, candidate minus reference; None where it has none.
        answered: pictures that `flipped` and the AUC rest on.
        out_of_fold: whether their answers are of networks that left them out.
        max_familiarity: largest absolute difference of the score of familiarity; None where the bundle has none.
        refused_flipped: fraction of pictures that the two refuse for another reason, or only one of them refuses.
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
    auc_low: float | None = None
    auc_high: float | None = None
    answered: int = 0
    out_of_fold: bool = False
    max_familiarity: float | None = None
    refused_flipped: float = math.nan


Measured = Literal[
    "max_map",
    "min_mask_iou",
    "mean_mask_iou",
    "max_probability",
    "flipped",
    "dice_change",
    "worst_dice_change",
    "auc_change",
    "auc_low",
    "max_familiarity",
    "refused_flipped",
]

_OPTIONAL: tuple[Measured, ...] = ("max_familiarity",)
_DECIDED: tuple[Measured, ...] = ("flipped", "auc_change", "auc_low")
_WORDS: dict[Measured, str] = {
    "max_map": "max |Δp| of a pixel",
    "min_mask_iou": "mask IoU, worst picture",
    "mean_mask_iou": "mask IoU, mean",
    "max_probability": "max |Δp| of a class on the same crops",
    "flipped": "decisions flipped, end to end",
    "dice_change": "change of mean Dice",
    "worst_dice_change": "change of Dice, worst picture",
    "auc_change": "|change| of the melanoma AUC",
    "auc_low": "change of the melanoma AUC, lower end of its 95 % interval",
    "max_familiarity": "max |Δ| of the score of familiarity",
    "refused_flipped": "refusals flipped",
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
        Limit(segmenter, "max_familiarity", "<=", 0.01),
        Limit(segmenter, "max_map", "<=", 1e-4),
        Limit(segmenter, "min_mask_iou", ">=", 0.999),
        Limit(classifier, "max_probability", "<=", 1e-4),
        Limit(f"{segmenter} + {classifier}", "flipped", "<=", 0.0),
    )


def int8_limits(segmenter: str, classifier: str) -> tuple[Limit, ...]:
    """What 8-bit files must hold: accuracy and decisions survive although single values move."""
    both = f"{segmenter} + {classifier}"
    return (
        Limit(segmenter, "refused_flipped", "<=", 0.005),
        Limit(segmenter, "dice_change", ">=", -0.001),
        Limit(segmenter, "worst_dice_change", ">=", -0.02),
        Limit(both, "auc_change", "<=", 0.002),
        Limit(both, "auc_low", ">=", -0.005),
        Limit(both, "flipped", "<=", 0.01),
        Limit(classifier, "max_probability", "<=", 0.05),
    )


def float16_limits(segmenter: str, classifier: str) -> tuple[Limit, ...]:
    """What float16 artifacts (Core ML) must hold."""
    return (
        Limit(segmenter, "refused_flipped", "<=", 0.005),
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
    unseen: Unseen | None = None,
    progress: bool = True,
) -> Parity:
    """Follows the whole path with both pairs of networks on labelled pictures; see `measure_parities`."""
    candidates = {"": candidate}
    [parity] = measure_parities(records, manifest, reference, candidates, unseen=unseen, progress=progress).values()
    return parity


def measure_parities(
    records: Sequence[Record],
    manifest: Manifest,
    reference: Networks,
    candidates: Mapping[str, Networks],
    *,
    unseen: Unseen | None = None,
    progress: bool = True,
) -> dict[str, Parity]:
    """Follows the whole path with the reference and every candidate on labelled pictures.

    Args:
        records: real labelled pictures from the validation split; those with masks are judged by Dice too.
        manifest: rules, labels and operating points; its files are not read.
        reference: the PyTorch float32 networks, run once for all candidates.
        candidates: the artifacts' networks by name.
        unseen: answers that stand for the reference's in decisions and AUC, where it learnt from these pictures.
        progress: shows a bar on stderr.
    """
    tallies = {name: _Tally(manifest, unseen) for name in candidates}
    title = ", ".join(filter(None, candidates)) or "float32"
    for record in tqdm(records, desc=f"parity ({title})", unit="img", disable=not progress):
        image = open_picture(record.image_path).pixels
        truth = None if record.mask_path is None else read_mask(record.mask_path)
        ours = trace(image, manifest, *reference)
        for name, candidate in candidates.items():
            tallies[name].add(record, truth, ours, trace(image, manifest, *candidate), candidate)
    return {name: tally.result() for name, tally in tallies.items()}


class _Tally:
    """What one candidate did so far."""

    def __init__(self, manifest: Manifest, unseen: Unseen | None) -> None:
        self._manifest, self._unseen = manifest, unseen
        self._rules = Rules.of_manifest(manifest)
        self._maps, self._probabilities = [0.0], [0.0]
        self._ious: list[float] = []
        self._dices: list[float] = []
        self._flips: list[bool] = []
        self._refusals: list[bool] = []
        self._familiarity: list[tuple[float, float]] = []
        self._scores: list[_Score] = []

    def add(
        self, record: Record, truth: NDArray[np.uint8] | None, ours: Trace, theirs: Trace, candidate: Networks
    ) -> None:
        manifest, points = self._manifest, self._manifest.operating_points
        self._maps.append(_max_difference(ours["probability_map"], theirs["probability_map"]))
        self._ious.append(_iou(ours["mask"], theirs["mask"]))
        if truth is not None:
            self._dices.append(_dice(theirs, truth, manifest) - _dice(ours, truth, manifest))
        if manifest.familiarity is not None:
            self._familiarity.append((_score_of(ours), _score_of(theirs)))
        self._refusals.append(_refusal(record, ours, self._rules) != _refusal(record, theirs, self._rules))
        if "roi" in ours:
            again = candidate.classify(to_batch([np.asarray(ours["roi"], np.uint8)]))[0]
            self._probabilities.append(_max_difference(ours["probabilities"], again))
        if "probabilities" not in ours or "probabilities" not in theirs:
            self._flips += [("probabilities" in ours) != ("probabilities" in theirs)] * len(points)
            return
        first, second = (np.asarray(steps["probabilities"], np.float64) for steps in (ours, theirs))
        column = manifest.melanoma_index
        a, b = float(first[column]), float(second[column])
        if self._unseen is not None:
            if record.image_id not in self._unseen:
                return
            a = self._unseen[record.image_id]
            b = moved(a, first, second, column)
        self._scores.append(_Score(record.source, record.lesion_id, a, b, record.dx == manifest.melanoma_label))
        self._flips += [(a >= point.threshold) != (b >= point.threshold) for point in points]

    def result(self) -> Parity:
        change = _auc_change(self._scores)
        return Parity(
            len(self._ious),
            max(self._maps),
            min(self._ious),
            float(np.mean(self._ious)),
            max(self._probabilities),
            float(np.mean(self._flips)) if self._flips else math.nan,
            float(np.mean(self._dices)) if self._dices else math.nan,
            min(self._dices, default=math.nan),
            None if change is None else abs(change.value),
            None if change is None else change.low,
            None if change is None else change.high,
            len(self._scores),
            self._unseen is not None,
            max((abs(a - b) for a, b in self._familiarity), default=None),
            float(np.mean(self._refusals)),
        )


def _refusal(record: Record, steps: Trace, rules: Rules) -> str:
    """The runtime's reason for giving no probability, "" where it gives one; a score of dermoscopy is not taken."""
    image, mask = (np.asarray(steps[name], np.uint8) for name in ("image", "mask"))
    probability = np.asarray(steps["probability_map"], np.float32)
    confidence = lesion_confidence(probability, clean_mask(probability, rules.mask.threshold))
    limits = Limits(rules.mask, rules.quality, familiarity=rules.familiarity)
    if record.source in rules.size_exempt:
        limits = limits.of_any_size()
    quality = measure_quality(np.asarray(steps["segmenter_input"], np.uint8))
    score = None if rules.familiarity is None else _score_of(steps)
    area = np.count_nonzero(mask) / mask.size
    return reason_of((image.shape[0], image.shape[1]), quality, None, area, confidence, limits, score)


class _Score(NamedTuple):
    """One picture's melanoma probability by reference and candidate."""

    source: str
    lesion: str
    ours: float
    theirs: float
    melanoma: bool


def moved(unseen: float, ours: NDArray[np.float64], theirs: NDArray[np.float64], column: int) -> float:
    """The answer of a network that did not learn from a picture, moved as far as `theirs` is from `ours` in log-odds.

    The odds are of one class against the sum of the others, which stays exact where a probability is rounded to 1.

    Args:
        unseen: probability of the class.
        ours, theirs: probabilities of all classes, shape (classes,).
        column: of the class.
    """

    def log_odds(p: float, rest: float) -> float:
        return math.log(max(p, _LEAST) / max(rest, _LEAST))

    before, after = (log_odds(float(row[column]), float(np.delete(row, column).sum())) for row in (ours, theirs))
    if before == after:
        return unseen
    return 1 / (1 + math.exp(before - after - log_odds(unseen, 1 - unseen)))


def judge(parity: Parity, limits: Sequence[Limit]) -> tuple[ParityGate, ...]:
    """The gates with their measured values. A measure that is undefined on these pictures fails.

    Those of familiarity are left out where the bundle has no such score.

    Raises:
        ParityError: a value is not finite.
    """
    gates = []
    for limit in limits:
        value = getattr(parity, limit.measure)
        if value is None and limit.measure in _OPTIONAL:
            continue
        if value is None or not np.isfinite(value):
            raise ParityError(
                f"{limit.artifact}: '{_WORDS[limit.measure]}' is undefined on these {parity.pictures} pictures.",
                "Use validation pictures that show melanoma and other lesions, and check the model's output.",
            )
        measure = f"{_WORDS[limit.measure]} ({_pictures(parity, limit.measure)})"
        gates.append(ParityGate(limit.artifact, measure, limit.relation, limit.limit, float(value)))
    return tuple(gates)


def _pictures(parity: Parity, measure: Measured) -> str:
    """On what a measure was taken, in words."""
    if not parity.out_of_fold or measure not in _DECIDED:
        return f"{parity.pictures} validation pictures"
    return f"{parity.answered} validation pictures, as answered by networks that left them out"


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


def _score_of(steps: Trace) -> float:
    """The score of familiarity; infinite where the network gives none, which no gate lets through."""
    return float(steps["familiarity"][0]) if "familiarity" in steps else math.inf


def _iou(a: NDArray[np.generic], b: NDArray[np.generic]) -> float:
    union = int(np.logical_or(a, b).sum())
    return int(np.logical_and(a, b).sum()) / union if union else 1.0


def _dice(steps: Trace, truth: NDArray[np.uint8], manifest: Manifest) -> float:
    cleaned = clean_mask(np.asarray(steps["probability_map"], np.float32), manifest.mask.threshold)
    mask = restore_mask(cleaned, *truth.shape)
    total = int(mask.sum(dtype=np.int64)) + int(truth.sum(dtype=np.int64))
    return 2 * int((mask & truth).sum(dtype=np.int64)) / total if total else 1.0


def _auc_change(scores: Sequence[_Score]) -> Metric | None:
    """Candidate minus reference, in the mean over the sources, as every table counts them, with its paired interval.

    One AUC over all would compare the melanomas of one clinic with the nevi of another.
    """
    sources, melanoma = np.array([s.source for s in scores]), np.array([s.melanoma for s in scores], dtype=bool)
    rows = [np.flatnonzero(sources == source) for source in dict.fromkeys(sources.tolist())]
    rows = [own for own in rows if melanoma[own].any() and not melanoma[own].all()]
    if not rows:
        return None
    ours, theirs = (
        [Roc(np.array(values)[own], melanoma[own]) for own in rows]
        for values in zip(*((s.ours, s.theirs) for s in scores), strict=True)
    )

    def change(weights: Weights) -> Weights:
        each = [b.auc(weights[:, own]) - a.auc(weights[:, own]) for a, b, own in zip(ours, theirs, rows, strict=True)]
        return np.asarray(np.mean(each, axis=0))

    return with_interval(change, lesion_weights([score.lesion for score in scores]))
