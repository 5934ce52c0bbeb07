"""Predictions, their overlap with the truth, and the files that hold them."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_infer.rules import MaskRule
from edge_infer.steps.mask import restore_mask
from edge_infer.steps.quality import Quality, lesion_problem
from trainer.errors import DataError

RoiSource = Literal["predicted", "truth", "whole"]


_PROBABILITY_PREFIX = "p_"


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
