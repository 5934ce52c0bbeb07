"""Cross-fitting: networks that each left some lesions out say what the one that ships would say about unseen pictures.

The classifier that ships learns from `train` and `val` together, so that it has seen every picture that could calibrate
it. For each picture the network of the same recipe that never saw its lesion answers instead (cross-fitting; van der
Laan, Polley and Hubbard, Super Learner, 2007, use such answers alike). Test lesions are in none of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainer.data.ham10000 import Record
from trainer.data.splits import standard_split
from trainer.errors import CheckpointError, LeakError, RecipeError
from trainer.recipe import Recipe
from trainer.training.checkpoint import BEST, Checkpoint, load_checkpoint

OUT_OF_FOLD = "out-of-fold"


def fold_folder(run: Path, fold: int) -> Path:
    """Where a cross-fitted run keeps the network that leaves out a fold (from 1)."""
    return run / f"fold-{fold}"


def used_folds(recipe: Recipe, count: int | None) -> range:
    """Numbers of the folds that calibrate a recipe's network, from 1; empty for a recipe without folds.

    Args:
        recipe: of the network.
        count: only the first so many; None: all. Each fold less saves a training and leaves fewer pictures to calibrate
            on.

    Raises:
        RecipeError: a recipe with folds needs at least one, and has no more than it says.
    """
    if count is None or not recipe.folds:
        return range(1, recipe.folds + 1)
    if not 1 <= count <= recipe.folds:
        raise RecipeError(f"{count} folds of '{recipe.name}'.", f"Use 1 to {recipe.folds}.")
    return range(1, count + 1)


def check_unseen(networks: Sequence[Checkpoint], records: Sequence[Record]) -> None:
    """Does nothing if no network says that it learnt from a lesion of the records; older files do not say.

    Raises:
        LeakError: one did: what it says of these pictures is no measure of it.
    """
    for network in networks:
        seen = network.learnt_lesions or frozenset()
        if known := next((record for record in records if record.lesion_id in seen), None):
            raise LeakError(
                f"'{network.recipe.name}' has learnt from lesion {known.lesion_id} ({known.image_id}, {known.source}).",
                "Choose on pictures that no network has seen: train on `train` alone, or use a recipe with folds.",
            )


def load_folds(
    run: Path, shipped: Checkpoint, records: Sequence[Record], count: int | None = None
) -> tuple[Checkpoint, ...]:
    """The fold networks beside a cross-fitted checkpoint, empty for a recipe without folds.

    Args:
        run: folder of the checkpoint that ships.
        shipped: that checkpoint.
        records: the whole data set.
        count: see `used_folds`.

    Raises:
        CheckpointError: a fold is not trained, or trained by another recipe, or the lesions that the networks leave out
            overlap or are test lesions.
    """
    folds = tuple(load_checkpoint(fold_folder(run, fold) / BEST) for fold in used_folds(shipped.recipe, count))
    owner: dict[str, int] = {record.lesion_id: 0 for record in standard_split(records)["test"]}
    by_id = {record.image_id: record for record in records}
    for number, fold in enumerate(folds, 1):
        where = fold_folder(run, number)
        if fold.recipe != shipped.recipe:
            raise CheckpointError(f"{where} is trained by another recipe.", "Train this fold again.")
        if fold.epoch != shipped.epoch:
            raise CheckpointError(
                f"{where} is at epoch {fold.epoch} and the network that ships at {shipped.epoch}.",
                "Let both trainings end.",
            )
        for image in fold.held_out:
            if image not in by_id:
                raise CheckpointError(f"{where} left out {image}, which the data does not hold.", "Use its data.")
            if owner.setdefault(by_id[image].lesion_id, number) != number:
                raise CheckpointError(
                    f"{where} left out lesion {by_id[image].lesion_id}, which is in another fold or in the test split.",
                    "Train the folds again, all on one data set.",
                )
    return folds
