"""A cross-fitted network by itself on its training pictures: each is answered by the fold that left its lesion out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from trainer.data.cache import CACHE_FOLDER
from trainer.data.ham10000 import Record
from trainer.data.splits import spread
from trainer.errors import CheckpointError, DataError
from trainer.scoring.alone import Scores, score
from trainer.training.checkpoint import BEST, Checkpoint, load_checkpoint
from trainer.training.folds import fold_folder


def open_folds(run: Path) -> list[Checkpoint]:
    """The networks of a run's folds, in order.

    Raises:
        CheckpointError: a fold is missing.
    """
    first = load_checkpoint(fold_folder(run, 1) / BEST)
    return [first, *(load_checkpoint(fold_folder(run, fold) / BEST) for fold in range(2, first.recipe.folds + 1))]


def out_of_fold(
    folds: Sequence[Checkpoint], records: Sequence[Record], limit: int | None = None, cache: Path = CACHE_FOLDER
) -> Scores:
    """Every picture that a fold left out, by that fold's network.

    Args:
        folds: networks of one recipe.
        records: the whole data set.
        limit: only so many pictures of each fold: a trial.
        cache: folder of decoded pictures.

    Raises:
        CheckpointError: two folds left out the same lesion, or a network learnt from a lesion that it left out.
        DataError: the data do not hold what a fold left out.
    """
    by_id = {record.image_id: record for record in records}
    parts, seen = [], set[str]()
    for number, fold in enumerate(folds, 1):
        if missing := next((image for image in fold.held_out if image not in by_id), None):
            raise DataError(f"The data do not hold {missing}, which fold {number} left out.", "Name all its --data.")
        held = [by_id[image] for image in fold.held_out]
        lesions = {record.lesion_id for record in held}
        if shared := (lesions & seen) | (lesions & (fold.learnt_lesions or frozenset())):
            raise CheckpointError(
                f"Fold {number} answers lesion {min(shared)}, which another fold answers or it has learnt from.",
                "Train all folds again on one data set.",
            )
        seen |= lesions
        parts.append(score(fold, spread(held, limit), cache))
    return joined(parts)


def joined(parts: Sequence[Scores]) -> Scores:
    """Scores of different pictures, one after the other."""
    first = parts[0]
    dice = [part.dice for part in parts if part.dice is not None]
    return Scores(
        tuple(record for part in parts for record in part.records),
        first.classes,
        np.concatenate([part.probabilities for part in parts]),
        np.concatenate(dice) if dice else None,
    )


def mean(several: Sequence[Scores]) -> Scores:
    """Mean probabilities of several networks over the same pictures.

    Raises:
        DataError: the pictures or classes differ, or the networks draw outlines.
    """
    first = several[0]
    places = {record.image_id: place for place, record in enumerate(first.records)}
    same = all({record.image_id for record in one.records} == set(places) for one in several)
    if not same or any(one.classes != first.classes or one.dice is not None for one in several):
        raise DataError("The networks did not answer the same question about the same pictures.", "Use their data.")
    total = np.zeros_like(first.probabilities)
    for one in several:
        order = np.argsort([places[record.image_id] for record in one.records])
        total += one.probabilities[order]
    return replace(first, probabilities=total / len(several))
