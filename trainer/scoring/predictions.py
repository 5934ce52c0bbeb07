"""Predictions, their overlap with the truth, and the files that hold them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_infer.rules import MaskRule
from edge_infer.steps.mask import restore_mask
from edge_infer.steps.quality import Quality, lesion_problem
from trainer.data.ham10000 import SOURCE
from trainer.errors import DataError
from trainer.scoring.columns import Column, Kind, read_columns, write_columns

RoiSource = Literal["predicted", "truth", "whole"]

_ANSWER = "p_"
"""How the names of the columns of probabilities begin."""

_COUNTED = {"raw_": "raw", "": "clean"}
"""How the names of the columns of pixel counts begin, with what they count."""


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


_PIXELS = Counts._fields


@dataclass(frozen=True)
class Prediction:
    """One picture: its label and metadata, and what the path gave. One row of a predictions file.

    Attributes:
        image_id, lesion_id, split, dx, dx_type, age, sex, localization: from the metadata; empty or None where unknown.
        roi: whether the crop came from the predicted mask or the true one, or was the whole picture.
        reason: why the runtime gives no probability for this picture; empty where it gives one. Where only the
            picture's quality or the lesion's area is at fault, the probabilities are still recorded.
        quality: luminance, contrast, sharpness; see `edge_infer.steps.quality`.
        true_area, area: the lesion's fraction of the picture, true (None where it has no mask) and as cropped.
        confidence: see `edge_infer.steps.mask.lesion_confidence`; 1 where no mask was predicted.
        raw: the thresholded map against the true mask; None where no mask was predicted, or there is no true one.
        clean: the same after clean-up.
        probabilities: by class; empty where no lesion was found, so that there was no crop.
        dermoscopy: see `edge_infer.steps.appearance.dermoscopy_score`; None where the rules have no weights for it.
        source: where the picture was taken or published, see `trainer.data.ham10000.Record`.
        skin_angle: see `trainer.scoring.skin_tone.typology_angle`; None where skin is hardly seen, and in older files.
        familiarity: the segmenter's score, see `edge_infer.rules.FamiliarityRule`; None where it gives none.
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
    true_area: float | None
    area: float
    confidence: float
    raw: Counts | None
    clean: Counts | None
    probabilities: dict[str, float]
    dermoscopy: float | None = None
    source: str = SOURCE
    skin_angle: float | None = None
    familiarity: float | None = None


_PLAIN = {
    **dict.fromkeys(("image_id", "lesion_id", "split", "dx", "dx_type"), Kind.TEXT),
    "age": Kind.NUMBER,
    **dict.fromkeys(("sex", "localization", "roi", "reason"), Kind.TEXT),
    **dict.fromkeys(("true_area", "area", "confidence", "dermoscopy"), Kind.NUMBER),
    "source": Kind.TEXT,
    "skin_angle": Kind.NUMBER,
    "familiarity": Kind.NUMBER,
}
"""Attributes that are a column each."""

_LATER: dict[str, object] = {"source": SOURCE, "skin_angle": None, "familiarity": None}
"""Columns that a file lacks where this stands in all of its rows, as in older files."""


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
    """Writes predictions as a Parquet file at once; `trainer/results/FORMAT.md` describes it.

    Raises:
        DataError: there are none.
        OutputError: the file cannot be written.
    """
    if not predictions:
        raise DataError("There are no predictions to write.", "Check the split and --limit.")
    write_columns(path, _columns(predictions))


def read_predictions(path: Path) -> list[Prediction]:
    """Reads what `write_predictions` wrote.

    Raises:
        DataError: the file is missing or not such a table.
    """
    try:
        return _predictions(read_columns(path))
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            f"'{path}' is no table of predictions: {error}.", "Write it with `python -m trainer evaluate`."
        ) from error


def indeterminate(predictions: Iterable[Prediction]) -> dict[str, int]:
    """How many pictures got no probability, by reason."""
    return dict(Counter(p.reason for p in predictions if p.reason))


def _columns(predictions: Sequence[Prediction]) -> list[Column]:
    def column(name: str, kind: Kind, value_of: Callable[[Prediction], object]) -> Column:
        return Column(name, kind, [value_of(p) for p in predictions])

    columns = [column(name, kind, attrgetter(name)) for name, kind in _PLAIN.items()]
    columns = [one for one in columns if one.name not in _LATER or set(one.values) != {_LATER[one.name]}]
    columns += [column(name, Kind.NUMBER, attrgetter(f"quality.{name}")) for name in Quality._fields]
    for prefix, which in _COUNTED.items():
        counts = [getattr(p, which) for p in predictions]
        columns += [Column(f"{prefix}{name}", Kind.COUNT, [getattr(c, name, None) for c in counts]) for name in _PIXELS]
    labels = max((tuple(p.probabilities) for p in predictions), key=len)
    answers = [p.probabilities for p in predictions]
    columns += [Column(f"{_ANSWER}{label}", Kind.NUMBER, [row.get(label) for row in answers]) for label in labels]
    return columns


def _predictions(columns: Mapping[str, Sequence[Any]]) -> list[Prediction]:
    unknown = set(columns["roi"]) - set(get_args(RoiSource))
    if unknown:
        raise ValueError(f"roi is '{unknown.pop()}'")
    labels = [name.removeprefix(_ANSWER) for name in columns if name.startswith(_ANSWER)]
    rows = len(columns["roi"])
    plain = [columns[n] if n in columns or n not in _LATER else [_LATER[n]] * rows for n in _PLAIN]
    quality = zip(*(columns[name] for name in Quality._fields), strict=True)
    masks = {
        which: zip(*(columns[f"{prefix}{name}"] for name in _PIXELS), strict=True) for prefix, which in _COUNTED.items()
    }
    answers: Iterable[tuple[float | None, ...]] = [()] * rows
    if labels:
        answers = zip(*(columns[f"{_ANSWER}{label}"] for label in labels), strict=True)
    return [
        Prediction(
            **dict(zip(_PLAIN, cells, strict=True)),
            quality=Quality(*measured),
            raw=None if None in raw else Counts(*raw),
            clean=None if None in clean else Counts(*clean),
            probabilities={name: p for name, p in zip(labels, row, strict=False) if p is not None},
        )
        for *cells, measured, raw, clean, row in zip(
            *plain, quality, masks["raw"], masks["clean"], answers, strict=True
        )
    ]
