"""Which systems a comparison trains, as recipes, and at what budget."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

from edge_infer.rules import RoiRule
from trainer.errors import RecipeError
from trainer.papers.ablations import ablations
from trainer.papers.plan import CLASSIFIERS, SEGMENTERS, Plan, system_of, variant
from trainer.recipe import LossConfig, ModelConfig, Recipe, load_recipe

Table = Literal["segmenters", "classifiers", "roi", "metadata", "branches", "ablations"]
TABLES: tuple[Table, ...] = get_args(Table)

TITLES: dict[Table, str] = {
    "segmenters": "Segmentation models side by side",
    "classifiers": "Classifiers side by side",
    "roi": "With and without the region of interest",
    "metadata": "Image alone against image and metadata",
    "branches": "Separate branches against CLNet",
    "ablations": "Ablations: one thing changed at a time",
}

BASES: dict[Table, str] = {
    "roi": "resnet50-binary",
    "metadata": "metadata-fusion",
    "branches": "clnet-melanoma",
    "ablations": "mobile-classifier",
}
"""The recipe whose variants the other tables compare, unless another is named."""


def plans(table: Table, base: str | None = None, only: Sequence[str] = ()) -> list[Plan]:
    """The networks of a table, in order.

    Args:
        table: which comparison.
        base: for the tables of `BASES`, the recipe whose variants are compared.
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
    if table == "ablations":
        return ablations(recipe)
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
    margin, system = recipe.data.roi.margin, system_of(recipe)

    def crop(background: Literal["keep", "zero"], what: str) -> Plan:
        data = replace(recipe.data, roi=RoiRule(background, margin))
        return variant(recipe, background, system, f"crop around the lesion, {what}", data=data)

    whole = replace(recipe.data, roi=None, cache_size=None, cache_margin=None)
    return [
        variant(recipe, "whole", system, "whole picture, no region of interest", data=whole),
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
        variant(recipe, "image-alone", "S9", f"{backbone} on the image alone, all else equal", data=alone, model=model),
        Plan(recipe.name, "S9", recipe, f"{backbone} joined with age, sex and site"),
    ]


def _branches(recipe: Recipe) -> list[Plan]:
    if recipe.task != "joint":
        raise RecipeError(f"'{recipe.name}' is no joint network.", "Use clnet-melanoma or clnet-keratosis.")
    backbone = str(recipe.model.options.get("backbone", "resnet50"))
    classifier = variant(
        recipe,
        "classifier",
        "S8",
        f"classification branch alone ({backbone}), focal loss",
        task="classification",
        model=ModelConfig("clnet_classifier", dict(recipe.model.options)),
        loss=replace(recipe.loss, name="focal"),
    )
    segmenter = variant(
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
