"""Runs the serving path over labelled pictures and keeps one row of numbers per picture.

Every step comes from `edge_infer`; only the networks are passed in, as torch modules, ONNX Runtime sessions, or
anything else that takes and gives the same arrays. Tables are made from the rows alone: see `trainer.report.summary`.

Masks are compared at the size of the true mask as distributed (HAM10000: 600x450), to which the predicted one is
brought by `edge_infer.steps.mask.restore_mask`, as the runtime brings it to the picture's size.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge_infer.bundle.golden import Network
from edge_infer.bundle.manifest import DermoscopyRule, InputSpec, Manifest, MaskRule, QualityLimits, RoiRule
from edge_infer.steps.appearance import appearance_problem, dermoscopy_score, measure_appearance
from edge_infer.steps.image import open_picture
from edge_infer.steps.mask import clean_mask, crop_roi, lesion_box, lesion_confidence, restore_mask, roi_box
from edge_infer.steps.quality import Quality, lesion_problem, measure_quality, picture_problem
from edge_infer.steps.resize import resize, to_batch
from trainer.data.ham10000 import Record, read_mask
from trainer.data.splits import spread, standard_split
from trainer.errors import DataError

RoiSource = Literal["predicted", "truth", "whole"]

_PROBABILITY_PREFIX = "p_"


class Networks(NamedTuple):
    """Both stages as callables; see `edge_infer.bundle.golden.Network`."""

    segment: Network
    classify: Network


@dataclass(frozen=True)
class Rules:
    """What a manifest says about the steps outside the graphs; `quality` None refuses no picture for its quality."""

    segmenter_input: InputSpec
    classifier_input: InputSpec
    labels: tuple[str, ...]
    mask: MaskRule
    roi: RoiRule
    quality: QualityLimits | None = None
    dermoscopy: DermoscopyRule | None = None

    @classmethod
    def of_manifest(cls, manifest: Manifest) -> Rules:
        """The rules of a bundle."""
        return cls(
            manifest.segmenter.input,
            manifest.classifier.input,
            manifest.labels,
            manifest.mask,
            manifest.roi,
            manifest.quality,
            manifest.dermoscopy,
        )


class Counts(NamedTuple):
    """Pixels of a predicted mask against the true one, at the true mask's size."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def dice(self) -> float:
        """2 tp / (2 tp + fp + fn); 1 where both masks are empty."""
        below = 2 * self.tp + self.fp + self.fn
        return 2 * self.tp / below if below else 1.0

    @property
    def jaccard(self) -> float:
        """tp / (tp + fp + fn); 1 where both masks are empty."""
        return self.dice / (2 - self.dice)


@dataclass(frozen=True)
class Prediction:
    """One picture: its label and metadata, and what the path gave. One row of a predictions file.

    Attributes:
        image_id, lesion_id, split, dx, dx_type, age, sex, localization: from the metadata; empty or None where unknown.
        roi: whether the crop came from the predicted mask or the true one, or was the whole picture.
        reason: why the runtime gives no probability for this picture; empty where it gives one. Where only the
            picture's quality or the lesion's area is at fault, the probabilities are still recorded.
        quality: luminance, contrast, sharpness; see `edge_infer.steps.quality`.
        true_area, area: the lesion's fraction of the picture, true and as cropped.
        confidence: see `edge_infer.steps.mask.lesion_confidence`; 1 where no mask was predicted.
        raw: the thresholded map against the true mask; None where no mask was predicted.
        clean: the same after clean-up.
        probabilities: by class; empty where no lesion was found, so that there was no crop.
        dermoscopy: see `edge_infer.steps.appearance.dermoscopy_score`; None where the rules have no weights for it.
    """

    image_id: str
    lesion_id: str
    split: str
    dx: str
    dx_type: str
    age: float | None
    sex: str
    localization: str
    roi: RoiSource
    reason: str
    quality: Quality
    true_area: float
    area: float
    confidence: float
    raw: Counts | None
    clean: Counts | None
    probabilities: dict[str, float]
    dermoscopy: float | None = None


def select(records: Sequence[Record], split: str, limit: int | None = None) -> list[Record]:
    """The records of a split (see `trainer.data.splits.standard_split`); with a limit, that many spread over it.

    Raises:
        DataError: there is no such split, or it is empty.
    """
    parts = standard_split(records)
    if not parts.get(split):
        raise DataError(f"The data set has no split '{split}'.", f"Choose one of: {', '.join(parts)}.")
    return [replace(record, split=split) for record in spread(parts[split], limit)]


def predict(
    records: Sequence[Record],
    rules: Rules,
    networks: Networks,
    *,
    roi: RoiSource = "predicted",
    batch_size: int = 16,
    progress: bool = True,
) -> Iterator[Prediction]:
    """Runs the path over the records, in order, at each picture's own resolution.

    Args:
        records: pictures with labels and masks.
        rules: sizes, thresholds and limits.
        networks: both stages.
        roi: "predicted" crops around the predicted mask, as in use; "truth" crops around the true mask; "whole" takes
            the whole picture, squeezed to a square. The last two do not run the segmenter.
        batch_size: pictures per network call.
        progress: shows a bar on stderr.
    """
    queue = iter(tqdm(records, desc=f"evaluate ({roi} ROI)", unit="img", disable=not progress))
    while batch := list(islice(queue, batch_size)):
        works = [_Work(record, rules) for record in batch]
        if roi != "predicted":
            for work in works:
                work.use_truth() if roi == "truth" else work.use_whole()
        else:
            maps = networks.segment(to_batch([work.segmenter_input for work in works]))
            for work, probability in zip(works, maps, strict=True):
                work.use_map(probability)
        cropped = [work for work in works if work.crop is not None]
        if cropped:
            rows = networks.classify(to_batch([work.crop for work in cropped if work.crop is not None]))
            for work, row in zip(cropped, rows, strict=True):
                work.probabilities = {name: float(p) for name, p in zip(rules.labels, row, strict=True)}
        for work in works:
            yield work.prediction(roi)


class _Work:
    """One picture on its way."""

    def __init__(self, record: Record, rules: Rules) -> None:
        self.record, self.rules = record, rules
        self.pixels = open_picture(record.image_path).pixels
        self.truth = read_mask(record.mask_path)
        spec = rules.segmenter_input
        self.segmenter_input = resize(self.pixels, spec.height, spec.width)
        self.quality: Quality = measure_quality(self.segmenter_input)
        rule = rules.dermoscopy
        self.dermoscopy = None if rule is None else dermoscopy_score(measure_appearance(self.segmenter_input), rule)
        self.raw: Counts | None = None
        self.clean: Counts | None = None
        self.crop: NDArray[np.uint8] | None = None
        self.area = 0.0
        self.confidence = 0.0
        self.probabilities: dict[str, float] = {}

    def use_truth(self) -> None:
        self.confidence = 1.0
        self._cut(restore_mask(self.truth, *self.pixels.shape[:2]))

    def use_whole(self) -> None:
        self.area = self.confidence = 1.0
        side = self.rules.classifier_input.height
        self.crop = resize(self.pixels, side, side)

    def use_map(self, probability: NDArray[np.float32]) -> None:
        threshold = self.rules.mask.threshold
        small = clean_mask(probability, threshold)
        self.raw = overlap((probability >= threshold).astype(np.uint8), self.truth)
        self.clean = overlap(small, self.truth)
        self.confidence = lesion_confidence(probability, small)
        self._cut(restore_mask(small, *self.pixels.shape[:2]))

    def _cut(self, mask: NDArray[np.uint8]) -> None:
        height, width = mask.shape
        self.area = cv2.countNonZero(mask) / mask.size
        box = lesion_box(mask)
        if box is not None:
            square = roi_box(box, height, width, self.rules.roi.margin)
            self.crop = crop_roi(self.pixels, mask, square, self.rules.roi, self.rules.classifier_input.height)

    def _reason(self) -> str:
        """The runtime's reason, checked in the runtime's order."""
        limits, (height, width) = self.rules.quality, self.pixels.shape[:2]
        problem = None if limits is None else picture_problem(height, width, self.quality, limits)
        if problem is None and self.dermoscopy is not None and self.rules.dermoscopy is not None:
            problem = appearance_problem(self.dermoscopy, self.rules.dermoscopy)
        problem = problem or lesion_problem(self.area, self.confidence, self.rules.mask)
        return problem[0].value if problem else ""

    def prediction(self, roi: RoiSource) -> Prediction:
        record = self.record
        return Prediction(
            record.image_id,
            record.lesion_id,
            record.split,
            record.dx,
            record.dx_type,
            record.age,
            record.sex,
            record.localization,
            roi,
            self._reason(),
            self.quality,
            cv2.countNonZero(self.truth) / self.truth.size,
            self.area,
            self.confidence,
            self.raw,
            self.clean,
            self.probabilities,
            self.dermoscopy,
        )


def overlap(mask: NDArray[np.uint8], truth: NDArray[np.uint8]) -> Counts:
    """A 0/1 mask of any size, shape (h, w), against the true one, which gives the size, shape (H, W)."""
    restored = restore_mask(mask, *truth.shape)
    both, predicted, true = (cv2.countNonZero(m) for m in (restored & truth, restored, truth))
    return Counts(both, predicted - both, true - both, truth.size - predicted - true + both)


def refuse(prediction: Prediction, rule: MaskRule) -> Prediction:
    """The same picture under another mask rule, which may refuse it."""
    problem = None if prediction.reason else lesion_problem(prediction.area, prediction.confidence, rule)
    return replace(prediction, reason=problem[0].value) if problem else prediction


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Writes predictions as CSV: ids, labels and numbers. `dice` and `jaccard` are added for people who read it.

    Raises:
        DataError: there are none.
    """
    if not predictions:
        raise DataError("There are no predictions to write.", "Check the split and --limit.")
    rows = [_row(prediction) for prediction in predictions]
    columns = max((list(row) for row in rows), key=len)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_predictions(path: Path) -> list[Prediction]:
    """Reads what `write_predictions` wrote.

    Raises:
        DataError: the file is missing or not such a table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        return [_prediction(row) for row in rows]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            f"'{path}' is no table of predictions: {error}.", "Write it with `python -m trainer evaluate`."
        ) from error


def indeterminate(predictions: Iterable[Prediction]) -> dict[str, int]:
    """How many pictures got no probability, by reason."""
    return dict(Counter(p.reason for p in predictions if p.reason))


def _row(p: Prediction) -> dict[str, str]:
    values: dict[str, object] = {
        "image_id": p.image_id,
        "lesion_id": p.lesion_id,
        "split": p.split,
        "dx": p.dx,
        "dx_type": p.dx_type,
        "age": p.age,
        "sex": p.sex,
        "localization": p.localization,
        "roi": p.roi,
        "reason": p.reason,
        **p.quality._asdict(),
        "true_area": p.true_area,
        "area": p.area,
        "confidence": p.confidence,
        "dermoscopy": p.dermoscopy,
    }
    for prefix, counts in (("raw_", p.raw), ("", p.clean)):
        values |= {f"{prefix}{name}": getattr(counts, name, None) for name in Counts._fields}
    values |= {"dice": p.clean and p.clean.dice, "jaccard": p.clean and p.clean.jaccard}
    values |= {f"{_PROBABILITY_PREFIX}{label}": value for label, value in p.probabilities.items()}
    return {key: _text(value) for key, value in values.items()}


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _prediction(row: dict[str, str]) -> Prediction:
    def counts(prefix: str) -> Counts | None:
        cells = [row[f"{prefix}{name}"] for name in Counts._fields]
        return Counts(*map(int, cells)) if all(cells) else None

    if row["roi"] not in get_args(RoiSource):
        raise ValueError(f"roi is '{row['roi']}'")
    return Prediction(
        image_id=row["image_id"],
        lesion_id=row["lesion_id"],
        split=row["split"],
        dx=row["dx"],
        dx_type=row["dx_type"],
        age=float(row["age"]) if row["age"] else None,
        sex=row["sex"],
        localization=row["localization"],
        roi=cast(RoiSource, row["roi"]),
        reason=row["reason"],
        quality=Quality(*(float(row[name]) for name in Quality._fields)),
        true_area=float(row["true_area"]),
        area=float(row["area"]),
        confidence=float(row["confidence"]),
        raw=counts("raw_"),
        clean=counts(""),
        probabilities={
            key.removeprefix(_PROBABILITY_PREFIX): float(value)
            for key, value in row.items()
            if key.startswith(_PROBABILITY_PREFIX) and value
        },
        dermoscopy=float(row["dermoscopy"]) if row.get("dermoscopy") else None,
    )
