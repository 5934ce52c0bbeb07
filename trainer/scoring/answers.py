"""All that a bundle's choices rest on: predictions and measures of pictures that its networks never saw, as one file.

Whoever has the file chooses again in seconds, without a network and without a picture: see `trainer.choices.choose`.
Numbers are stored as they were computed, so that stored and fresh answers give the same choices, digit for digit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_infer.files import write_atomically
from edge_infer.rules import FamiliarityRule
from edge_infer.schema import dump
from edge_infer.steps.appearance import Appearance
from edge_infer.steps.quality import Quality
from trainer.data.ham10000 import Record
from trainer.errors import DataError
from trainer.scoring.measures import Measures, measure_negatives, measure_records, measure_varied
from trainer.scoring.networks import Networks
from trainer.scoring.origin import Origin
from trainer.scoring.out_of_fold import predict_out_of_fold
from trainer.scoring.predict import Rules, predict, select
from trainer.scoring.predictions import Counts, Prediction
from trainer.training.checkpoint import Checkpoint
from trainer.training.folds import OUT_OF_FOLD

FORMAT = "2"
"""Changes with what is measured or how; older files are then made again."""

MOST_OF_A_SOURCE = 2500
"""Training pictures that are measured of each of several sources, spread over it."""


@dataclass(frozen=True)
class Unseen:
    """Answers to pictures of `train` and `val`.

    Attributes:
        split: which pictures `predictions` are of: "val", or "out-of-fold" for a cross-fitted classifier.
        labels: the classifier's classes.
        side: height of the segmenter's input in pixels, at which pictures were measured.
        training, validation: image ids of the splits, as far as they were used.
        measures: of all pictures above and below, by image id.
        varied: the look of changed copies of training pictures.
        others: the look of pictures that are no dermoscopy.
        familiarity: the rule of the segmenter's second output, where it has one; `varied` and `others` are empty then.
        predictions: at temperature 1, each by a network that never saw the lesion; nothing is refused yet.
    """

    split: str
    labels: tuple[str, ...]
    side: int
    training: tuple[str, ...]
    validation: tuple[str, ...]
    measures: dict[str, Measures]
    varied: tuple[Appearance, ...]
    others: tuple[Appearance, ...]
    predictions: tuple[Prediction, ...]
    familiarity: FamiliarityRule | None = None


def answer_unseen(
    networks: Networks,
    rules: Rules,
    records: Sequence[Record],
    folds: Sequence[Checkpoint] = (),
    limit: int | None = None,
    views: int = 1,
) -> Unseen:
    """Measures the known pictures and lets networks answer that never saw them; no picture of `test` is opened.

    Those are the validation split's or, for a cross-fitted classifier, the ones that its folds left out.

    Args:
        networks: the system's, at temperature 1.
        rules: of the system, without limits.
        records: the whole data set.
        folds: see `trainer.training.folds.load_folds`.
        limit: use only so many pictures of each split and fold, for a trial.
        views: as in the system.
    """
    several = len({record.source for record in records}) > 1
    most = min(limit or MOST_OF_A_SOURCE, MOST_OF_A_SOURCE) if several else limit
    training, validation = select(records, "train", most), select(records, "val", limit)
    if folds:
        found = tuple(predict_out_of_fold(folds, records, rules, networks, limit, views))
    else:
        found = tuple(predict(validation, rules, networks))
    answered = {p.image_id for p in found}
    spec = rules.segmenter_input
    return Unseen(
        split=OUT_OF_FOLD if folds else "val",
        labels=rules.labels,
        side=spec.height,
        training=tuple(record.image_id for record in training),
        validation=tuple(record.image_id for record in validation),
        measures=measure_records([*training, *validation, *(r for r in records if r.image_id in answered)], spec),
        varied=() if rules.familiarity else measure_varied(training, spec),
        others=() if rules.familiarity else measure_negatives(spec),
        predictions=found,
        familiarity=rules.familiarity,
    )


def write_unseen(path: Path, unseen: Unseen, origin: Origin) -> None:
    """Writes the answers and what they depend on as one JSON file, at once or not at all."""
    text = json.dumps({"origin": origin, "unseen": dump(unseen)}, ensure_ascii=False, allow_nan=False)
    write_atomically(path, text.encode())


def read_unseen(path: Path) -> tuple[Unseen, Origin]:
    """Reads what `write_unseen` wrote: the answers, and their origin.

    Raises:
        DataError: the file is missing or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return _unseen(content["unseen"]), content["origin"]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"'{path}' holds no answers: {error}.", "Make them with `python -m trainer bundle` or `export`."
        ) from error


def _unseen(row: dict[str, Any]) -> Unseen:
    return Unseen(
        split=row["split"],
        labels=tuple(row["labels"]),
        side=row["side"],
        training=tuple(row["training"]),
        validation=tuple(row["validation"]),
        measures={image: _measures(one) for image, one in row["measures"].items()},
        varied=tuple(Appearance(*one) for one in row["varied"]),
        others=tuple(Appearance(*one) for one in row["others"]),
        predictions=tuple(map(_prediction, row["predictions"])),
        familiarity=row.get("familiarity") and FamiliarityRule(**row["familiarity"]),
    )


def _measures(row: dict[str, Any]) -> Measures:
    return Measures(**row | {"quality": Quality(*row["quality"]), "appearance": Appearance(*row["appearance"])})


def _prediction(row: dict[str, Any]) -> Prediction:
    counts = {name: row[name] and Counts(*row[name]) for name in ("raw", "clean")}
    return Prediction(**row | {"quality": Quality(*row["quality"])} | counts)
