"""Which systems a comparison trains, as recipes, and at what budget."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from edge_infer.bundle import RoiRule
from trainer.config import LossConfig, ModelConfig, Recipe, load_recipe
from trainer.errors import RecipeError

Table = Literal["segmenters", "classifiers", "roi", "metadata", "branches"]
TABLES: tuple[Table, ...] = get_args(Table)

TITLES: dict[Table, str] = {
    "segmenters": "Segmentation models side by side",
    "classifiers": "Classifiers side by side",
    "roi": "With and without the region of interest",
    "metadata": "Image alone against image and metadata",
    "branches": "Separate branches against CLNet",
}

SEGMENTERS = {
    "unetplusplus": "S1",
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
    "resnet101-binary": "S6",
    "mobilenet-v3-large": "S7",
    "xception": "S7",
    "efficientnet-b0": "S7",
    "efficientnet-b3": "S7",
    "inception-v3": "S7",
    "densenet121": "S7",
}

BASES: dict[Table, str] = {"roi": "resnet50-binary", "metadata": "metadata-fusion", "branches": "clnet-melanoma"}
"""The recipe whose variants the other three tables compare, unless another is named."""

_STRIDE = 32


@dataclass(frozen=True)
class Plan:
    """One network of a comparison.

    Attributes:
        name: unique in its table; names the files.
        system: `S1` to `S9`.
        recipe: how it is trained.
        what: what sets it apart, in words.
    """

    name: str
    system: str
    recipe: Recipe
    what: str


@dataclass(frozen=True)
class Budget:
    """What overrides the recipes; None leaves each as it is.

    Attributes:
        epochs: passes over the training pictures.
        limit: pictures of each split, spread evenly over it.
        test_limit: pictures of the test split, where it shall be others than `limit`.
        size: side of the network's input in pixels.
        seed: of weights, order and augmentation.
    """

    epochs: int | None = None
    limit: int | None = None
    test_limit: int | None = None
    size: int | None = None
    seed: int | None = None

    def fit(self, recipe: Recipe) -> Recipe:
        """The recipe at this budget: the sizes of small epochs and of the cache keep their ratio to the input.

        Raises:
            RecipeError: a network that segments cannot take this size.
        """
        data, optim, size = recipe.data, recipe.optim, self.size or recipe.data.size
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
        optim = replace(optim, epochs=self.epochs or optim.epochs)
        return replace(recipe, data=data, optim=optim, seed=recipe.seed if self.seed is None else self.seed)


def plans(table: Table, base: str | None = None, only: Sequence[str] = ()) -> list[Plan]:
    """The networks of a table, in order.

    Args:
        table: which comparison.
        base: for `roi`, `metadata` and `branches`, the recipe whose variants are compared; see `BASES`.
        only: names of plans; empty takes all.

    Raises:
        RecipeError: an unknown name, or a base that the table cannot vary.
    """
    if base is not None and table not in BASES:
        raise RecipeError(f"The table '{table}' has no base recipe.", "Choose its rows with --only.")
    found = _all(table, base or BASES.get(table, ""))
    known = [plan.name for plan in found]
    for name in only:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"It has {', '.join(known)}."
            raise RecipeError(f"The table '{table}' has no row '{name}'.", hint)
    return [plan for plan in found if not only or plan.name in only]


def _all(table: Table, base: str) -> list[Plan]:
    if table in ("segmenters", "classifiers"):
        systems = SEGMENTERS if table == "segmenters" else CLASSIFIERS
        return [_shipped(name, system) for name, system in systems.items()]
    recipe = load_recipe(base)
    if recipe.folds or recipe.members > 1:
        raise RecipeError(
            f"'{base}' is cross-fitted or an ensemble, and a comparison trains one network a row.",
            "Use a recipe without folds and members.",
        )
    return {"roi": _roi, "metadata": _metadata, "branches": _branches}[table](recipe)


def _shipped(name: str, system: str) -> Plan:
    recipe = load_recipe(name)
    return Plan(name, system, recipe, recipe.summary.partition(": ")[2].partition(";")[0].rstrip("."))


def _roi(recipe: Recipe) -> list[Plan]:
    if recipe.task != "classification" or recipe.data.roi is None:
        raise RecipeError(f"'{recipe.name}' sees no region of interest.", "Use a recipe with data.roi.")
    margin, system = recipe.data.roi.margin, CLASSIFIERS.get(recipe.name, "S7")

    def crop(background: Literal["keep", "zero"], what: str) -> Plan:
        data = replace(recipe.data, roi=RoiRule(background, margin))
        return _variant(recipe, background, system, f"crop around the lesion, {what}", data=data)

    whole = replace(recipe.data, roi=None, cache_size=None, cache_margin=None)
    return [
        _variant(recipe, "whole", system, "whole picture, no region of interest", data=whole),
        crop("keep", "skin around the lesion kept"),
        crop("zero", "skin around the lesion zeroed"),
    ]


def _metadata(recipe: Recipe) -> list[Plan]:
    if recipe.model.name != "metadata_fusion":
        raise RecipeError(f"'{recipe.name}' takes no metadata.", "Use a recipe with the model metadata_fusion.")
    backbone = str(recipe.model.options.get("backbone", "mobilenet_v2"))
    alone = replace(recipe.data, metadata=False)
    model = ModelConfig(backbone, {})
    return [
        _variant(
            recipe, "image-alone", "S9", f"{backbone} on the image alone, all else equal", data=alone, model=model
        ),
        Plan(recipe.name, "S9", recipe, f"{backbone} joined with age, sex and site"),
    ]


def _branches(recipe: Recipe) -> list[Plan]:
    if recipe.task != "joint":
        raise RecipeError(f"'{recipe.name}' is no joint network.", "Use clnet-melanoma or clnet-keratosis.")
    backbone = str(recipe.model.options.get("backbone", "resnet50"))
    classifier = _variant(
        recipe,
        "classifier",
        "S8",
        f"classification branch alone ({backbone}), focal loss",
        task="classification",
        model=ModelConfig("clnet_classifier", dict(recipe.model.options)),
        loss=replace(recipe.loss, name="focal"),
    )
    segmenter = _variant(
        recipe,
        "segmenter",
        "S8",
        "segmentation branch alone (residual U-Net), BCE-Dice loss",
        task="segmentation",
        model=ModelConfig("resunet", {}),
        data=replace(recipe.data, target="mask", sampling="shuffle"),
        loss=LossConfig("bce-dice"),
    )
    return [
        segmenter,
        classifier,
        Plan(recipe.name, "S8", recipe, f"both branches joined by feature fusion ({backbone})"),
    ]


def _variant(recipe: Recipe, suffix: str, system: str, what: str, **changes: object) -> Plan:
    name = f"{recipe.name}-{suffix}"
    changed: Recipe = dataclasses.replace(recipe, name=name, **changes)  # type: ignore[arg-type]
    return Plan(name, system, changed, what)


def _scaled(side: int, factor: float, multiple: int) -> int:
    return max(multiple, round(side * factor / multiple) * multiple)
