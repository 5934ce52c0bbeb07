"""Whether the data hold what a bundle recipe takes from each of its sources, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.bundle.recipe import BundleRecipe, bundle_recipe_path, learnt_sources, load_bundle_recipe
from trainer.data.ham10000 import Record
from trainer.data.splits import parts_of_sources
from trainer.errors import DataError, TrainerError


def learnt(recipe: BundleRecipe, records: Sequence[Record]) -> list[Record]:
    """The records of the recipe's own sources."""
    return [record for record in records if record.source in recipe.learnt]


def unfit_sources(recipe: BundleRecipe, records: Sequence[Record], where: str = "bundle recipe") -> list[DataError]:
    """One error for each source of the recipe that the data do not hold, or that could not calibrate the bundle.

    A bundle is calibrated on the `val` part of its sources, or on what the folds of a cross-fitted classifier leave
    out; sources that its `training_only` names must have neither `val` nor `test`.

    Args:
        recipe: names the sources.
        records: the whole data set; its split columns may contradict each other.
        where: the recipe's file, for messages.
    """
    parts = parts_of_sources(learnt(recipe, records))
    held = ", ".join(sorted({record.source for record in records})) or "no picture"
    training_only = learnt_sources(recipe.training_only)
    crossed = bool(recipe.stages.classifier.load().folds)
    found: list[DataError] = []
    for source in recipe.learnt:
        if source not in parts:
            found.append(
                DataError(
                    f"{where}, sources: '{recipe.name}' learns from {source}; the folders hold {held}.",
                    "Give its folder too, or correct the source's name in the recipe or in the metadata.",
                )
            )
            continue
        own = [record for record in records if record.source == source]
        if source in training_only and (others := sorted(parts[source] - {"train"})):
            first = next((record for record in own if record.split in others), own[0])
            found.append(
                DataError(
                    f"{where}, training_only: {source} is for training alone, and has pictures in {', '.join(others)}, "
                    f"first at {first.place}.",
                    "Give them the split 'train', or remove the source from training_only.",
                )
            )
        elif source not in training_only and not crossed and "val" not in parts[source]:
            found.append(
                DataError(
                    f"{where}, sources: '{recipe.name}' is calibrated on the `val` part of {source}, which has none: "
                    f"{len(own)} pictures, first at {own[0].place}.",
                    "Give some of its lesions the split 'val', or name the source in training_only.",
                )
            )
    return found


def recipe_faults(name_or_path: str, records: Sequence[Record]) -> Sequence[TrainerError]:
    """`unfit_sources` of a bundle recipe by name or path; where it cannot be read, that alone.

    Args:
        name_or_path: see `trainer.bundle.recipe.load_bundle_recipe`.
        records: the whole data set.
    """
    try:
        recipe = load_bundle_recipe(name_or_path)
    except TrainerError as error:
        return [error]
    return unfit_sources(recipe, records, str(bundle_recipe_path(name_or_path)))
