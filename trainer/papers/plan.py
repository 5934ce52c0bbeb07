"""One network of a comparison, and what it may cost."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import Literal

from trainer.errors import RecipeError
from trainer.recipe import Recipe

SEGMENTERS = {
    "unetplusplus": "S1",
    "reference-segmenter": "S1",
    "unet": "S2",
    "resunet": "S3",
    "unet-resnet50": "S4",
    "unet-resnet101": "S4",
    "unet-mobilenet-v2": "S4",
    "unet-inceptionresnetv2": "S4",
    "unet-efficientnet-b4": "S4",
    "clnet-melanoma": "S8",
}
CLASSIFIERS = {
    "simple-cnn": "S5",
    "resnet34-binary": "S6",
    "resnet50-binary": "S6",
    "reference-classifier": "S6",
    "resnet101-binary": "S6",
    "mobilenet-v3-large": "S7",
    "xception": "S7",
    "efficientnet-b0": "S7",
    "efficientnet-b3": "S7",
    "inception-v3": "S7",
    "densenet121": "S7",
}

_STRIDE = 32


@dataclass(frozen=True)
class Plan:
    """One network of a comparison.

    Attributes:
        name: unique in its table; names the files.
        system: `S1` to `S9`.
        recipe: how it is trained.
        what: what sets it apart, in words.
        scale: its input's side is this many times the budget's.
        seed_offset: added to the budget's seed, where that overrides the recipe's.
        weights_of: the row whose trained network this one evaluates in another way; "" trains one of its own.
        views: mirrored copies that it averages over when it is evaluated.
        post_hoc: its probabilities are divided by the class frequencies of the training pictures.
        predicted_masks: it learns from crops around the outlines of the job's segmenter, not around the true ones.
        from_scratch: it starts from random weights, whatever is at hand.
        paced_as: the row whose schedule it shares, as both are compared with each other; "" has one of its own.
    """

    name: str
    system: str
    recipe: Recipe
    what: str
    scale: float = 1.0
    seed_offset: int = 0
    weights_of: str = ""
    views: int = 1
    post_hoc: bool = False
    predicted_masks: bool = False
    from_scratch: bool = False
    paced_as: str = ""


@dataclass(frozen=True)
class Budget:
    """What overrides the recipes; None leaves each as it is.

    Attributes:
        epochs: passes over the training pictures.
        limit: pictures of each split, spread evenly over it.
        test_limit: pictures of the test split, where it shall be others than `limit`.
        size: side of the network's input in pixels.
        seed: of weights, order and augmentation.
        precision: of training.
        fixed: the schedule ends where it says: the last epoch is kept, and nothing stops it before.
    """

    epochs: int | None = None
    limit: int | None = None
    test_limit: int | None = None
    size: int | None = None
    seed: int | None = None
    precision: Literal["bf16", "float32"] | None = None
    fixed: bool = False

    def fit(self, plan: Plan) -> Plan:
        """The plan at this budget."""
        return replace(plan, recipe=self.fit_recipe(plan.recipe, plan.scale, plan.seed_offset))

    def fit_recipe(self, recipe: Recipe, scale: float = 1.0, seed_offset: int = 0) -> Recipe:
        """The recipe at this budget: the sizes of small epochs and of the cache keep their ratio to the input.

        Args:
            recipe: as it was written.
            scale: of the input's side, on top of the budget.
            seed_offset: added to the budget's seed.

        Raises:
            RecipeError: a network that segments cannot take this size.
        """
        data, optim, size = recipe.data, recipe.optim, round(scale * (self.size or recipe.data.size))
        if recipe.task != "classification" and size % _STRIDE:
            near = max(_STRIDE, round(size / _STRIDE) * _STRIDE)
            raise RecipeError(
                f"{recipe.name} cannot take {size} pixels.", f"Use a multiple of {_STRIDE}, such as {near}."
            )
        small = None if data.small_size is None else _scaled(data.small_size, size / data.size, _STRIDE)
        data = replace(
            data,
            size=size,
            small_size=small if small and small < size else None,
            cache_size=None if data.cache_size is None else _scaled(data.cache_size, size / data.size, 2),
        )
        optim = replace(optim, epochs=self.epochs or optim.epochs, precision=self.precision or optim.precision)
        if self.fixed:
            optim = replace(optim, keep="last", patience=0)
        return replace(
            recipe, data=data, optim=optim, seed=recipe.seed if self.seed is None else self.seed + seed_offset
        )


def system_of(recipe: Recipe) -> str:
    """`S1` to `S7`; a recipe that is none of them counts as another encoder or backbone."""
    known = SEGMENTERS | CLASSIFIERS
    return known.get(recipe.name, "S4" if recipe.task == "segmentation" else "S7")


def variant(recipe: Recipe, suffix: str, system: str, what: str, **changes: object) -> Plan:
    """The recipe under a longer name with some parts replaced."""
    name = f"{recipe.name}-{suffix}"
    changed: Recipe = dataclasses.replace(recipe, name=name, **changes)  # type: ignore[arg-type]
    return Plan(name, system, changed, what)


def _scaled(side: int, factor: float, multiple: int) -> int:
    return max(multiple, round(side * factor / multiple) * multiple)
