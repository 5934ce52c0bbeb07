"""What is compared over sources: a recipe as it is, and with one thing changed in each arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

from edge_infer.rules import Outside, RoiRule
from trainer.errors import RecipeError
from trainer.papers.leave_out import without_source
from trainer.recipe import AugmentConfig, ModelConfig, Recipe, SourceConfig
from trainer.training.initial import normalization_of

BASE = "base"
"""The arm that the others are compared with."""

_CAMERA = ("low_resolution", "blur", "jpeg", "vignette", "temperature", "exposure")


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
        name: unique among the arms of a recipe; names its files.
        what: what sets it apart, in words.
        recipe: how it is trained.
    """

    name: str
    what: str
    recipe: Recipe


def arms(recipe: Recipe, left_out: str | None = None, networks: Sequence[str] = ()) -> list[Arm]:
    """The base and its changes, none of which shows the source that is left out.

    Args:
        recipe: names its sources; folds, members and what it starts from are left out of all arms, which keep their
            last epoch.
        left_out: a source that no arm may learn from; None: each learns from what it names.
        networks: classifiers that a recipe of classes is compared with, by their names in the registry.

    Raises:
        DataError: nothing would be left to learn from.
        RecipeError: it names no sources.
    """
    if not recipe.data.sources:
        raise RecipeError(f"'{recipe.name}' names no sources.", "Set data.sources in the recipe.")
    if left_out is not None:
        recipe = replace(without_source(recipe, left_out), name=recipe.name)
    optim = replace(recipe.optim, keep="last", patience=0, validate_every=0)
    recipe = replace(recipe, folds=0, members=1, starts_from=None, distill=None, optim=optim)
    changes = _segmenters(recipe) if recipe.task == "segmentation" else _classifiers(recipe, networks)
    found = [Arm(BASE, "as the recipe says", recipe), *(arm for arm in changes if arm.recipe != recipe)]
    return [replace(arm, recipe=replace(arm.recipe, name=f"{recipe.name}-{arm.name}")) for arm in found]


def _classifiers(recipe: Recipe, networks: Sequence[str]) -> list[Arm]:
    roi = recipe.data.roi
    crops = [] if roi is None else [_cropped(recipe, roi, outside) for outside in get_args(Outside)]
    others = [_network(recipe, name) for name in networks if name != recipe.model.name]
    return [*crops, _alone(recipe), *_augmentations(recipe), *_sampling(recipe), *others]


def _network(recipe: Recipe, name: str) -> Arm:
    return Arm(
        f"network-{name.replace('_', '-')}",
        f"another network: {name}",
        replace(recipe, model=ModelConfig(name), normalization=normalization_of(name)),
    )


def _cropped(recipe: Recipe, roi: RoiRule, outside: Outside) -> Arm:
    data = replace(recipe.data, roi=replace(roi, outside=outside))
    return Arm(f"outside-{outside}", f"a crop that leaves the picture: {outside}", replace(recipe, data=data))


def _segmenters(recipe: Recipe) -> list[Arm]:
    plain = replace(recipe, data=replace(recipe.data, styles=()))
    return [
        Arm("one-style", "no offset for the style of each source's masks", plain),
        _alone(recipe),
        *_augmentations(recipe),
        *_sampling(recipe),
    ]


def _alone(recipe: Recipe) -> Arm:
    """Of the first source alone, with all augmentation."""
    first = next(iter(recipe.data.sources))
    data = replace(recipe.data, sources={first: SourceConfig()}, styles=())
    return Arm(f"only-{first}", f"learns from {first} alone", replace(recipe, data=data))


def _augmentations(recipe: Recipe) -> list[Arm]:
    augment = recipe.augment
    plain: AugmentConfig = replace(augment, **dict.fromkeys(_CAMERA, 0.0))  # type: ignore[arg-type]
    return [
        Arm("no-camera", "no camera augmentation", replace(recipe, augment=plain)),
        Arm(
            "dermoscope",
            "round field, scale and bubbles drawn in a fifth of the pictures each",
            replace(recipe, augment=replace(augment, ring=0.2, ruler=0.2, bubbles=0.2)),
        ),
        Arm(
            "constancy",
            "the light's colour taken out of half of the pictures",
            replace(recipe, augment=replace(augment, constancy=0.5)),
        ),
    ]


def _sampling(recipe: Recipe) -> list[Arm]:
    if recipe.data.sampling != "sources":
        return []
    data = replace(recipe.data, source_power=1.0)
    return [Arm("as-they-come", "a source is drawn as often as it has pictures", replace(recipe, data=data))]
