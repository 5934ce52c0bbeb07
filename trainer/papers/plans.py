"""Which systems a comparison trains, as recipes, and at what budget."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

from trainer.errors import RecipeError
from trainer.papers.ablations import ablations
from trainer.papers.plan import CLASSIFIERS, SEGMENTERS, Plan, system_of, variant
from trainer.recipe import LossConfig, ModelConfig, Recipe, load_recipe
from trainer.training.initial import IMAGENET, encoder_of, normalization_of

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

BASES: dict[Table, tuple[str, ...]] = {
    "roi": ("resnet50-binary",),
    "metadata": ("metadata-fusion",),
    "branches": ("clnet-melanoma", "clnet-keratosis"),
    "ablations": ("mobile-classifier",),
}
"""The recipes whose variants the other tables compare, unless another is named."""


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
    found = _all(table, BASES.get(table, ()) if base is None else (base,))
    known = [plan.name for plan in found]
    for name in only:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"It has {', '.join(known)}."
            raise RecipeError(f"The table '{table}' has no row '{name}'.", hint)
    return [plan for plan in found if not only or plan.name in only]


def _all(table: Table, bases: Sequence[str]) -> list[Plan]:
    if table in ("segmenters", "classifiers"):
        systems = SEGMENTERS if table == "segmenters" else CLASSIFIERS
        shipped = [_shipped(name, system) for name, system in systems.items()]
        found = [*shipped, *(_more_segmenters() if table == "segmenters" else _more_classifiers())]
        return [*found, *(_from_scratch(plan) for plan in found if encoder_of(plan.recipe) in IMAGENET)]
    kept: dict[str, Plan] = {}
    for plan in (plan for base in bases for plan in _variants(table, load_recipe(base))):
        kept.setdefault(plan.name, plan)
    return list(kept.values())


def _variants(table: Table, recipe: Recipe) -> list[Plan]:
    if table == "ablations":
        return ablations(recipe)
    if recipe.folds or recipe.members > 1:
        raise RecipeError(
            f"'{recipe.name}' is cross-fitted or an ensemble, and a comparison trains one network a row.",
            "Use a recipe without folds and members.",
        )
    return {"roi": _roi, "metadata": _metadata, "branches": _branches}[table](recipe)


def _shipped(name: str, system: str) -> Plan:
    recipe = load_recipe(name)
    return Plan(name, system, recipe, recipe.summary.partition(": ")[2].partition(";")[0].rstrip("."))


def _more_segmenters() -> list[Plan]:
    """S1 with deep supervision; S2's other widths and its grey input."""
    nested, recipe = load_recipe("unetplusplus"), load_recipe("unet")
    supervised = variant(
        nested,
        "deep-supervision",
        "S1",
        "the same network, taught at every level of its decoder (deep supervision)",
        model=replace(nested.model, options={**nested.model.options, "deep_supervision": True}),
    )
    supervised = replace(supervised, paced_as=nested.name)
    changes = {
        "half": ({"width_divisor": 2, "channels": 3}, "half as wide"),
        "quarter": ({"width_divisor": 4, "channels": 3}, "a quarter as wide"),
        "grey": ({"width_divisor": 1, "channels": 1}, "grey input"),
    }
    return [
        supervised,
        *(
            variant(recipe, name, "S2", f"the classic U-Net, {what}", model=ModelConfig("unet", dict(options)))
            for name, (options, what) in changes.items()
        ),
    ]


def _more_classifiers() -> list[Plan]:
    """Seven diagnoses by the backbones that ship as other recipes, trained as DenseNet121 is."""
    recipe = load_recipe("densenet121")
    titles = {
        "resnet50": "ResNet50",
        "resnet101": "ResNet101",
        "mobilenet_v2": "MobileNetV2",
        "efficientnet_lite0": "EfficientNet-Lite0",
        "efficientnet_lite2": "EfficientNet-Lite2",
    }
    found = []
    for model, title in titles.items():
        name = f"{model.replace('_', '-')}-seven"
        changed = replace(recipe, name=name, model=ModelConfig(model), normalization=normalization_of(model))
        found.append(Plan(name, "S7", changed, f"{title} names the lesion on the ROI"))
    return found


def _from_scratch(plan: Plan) -> Plan:
    name = f"{plan.name}-scratch"
    what = f"{plan.what}; from random weights"
    recipe = replace(plan.recipe, name=name)
    return replace(plan, name=name, what=what, recipe=recipe, from_scratch=True, paced_as=plan.paced_as or plan.name)


def _roi(recipe: Recipe) -> list[Plan]:
    if recipe.task != "classification" or recipe.data.roi is None:
        raise RecipeError(f"'{recipe.name}' sees no region of interest.", "Use a recipe with data.roi.")
    rule, system = recipe.data.roi, system_of(recipe)

    def crop(background: Literal["keep", "zero"], what: str) -> Plan:
        what = f"crop around the lesion, {what}"
        if background == rule.background:
            return Plan(recipe.name, system, recipe, what)
        return variant(
            recipe, background, system, what, data=replace(recipe.data, roi=replace(rule, background=background))
        )

    whole = replace(recipe.data, roi=None, cache_size=None, cache_margin=None)
    return _alike(
        variant(recipe, "whole", system, "whole picture, no region of interest", data=whole),
        crop("keep", "skin around the lesion kept"),
        crop("zero", "skin around the lesion zeroed"),
        paced_as=recipe.name,
    )


def _metadata(recipe: Recipe) -> list[Plan]:
    if recipe.model.name != "metadata_fusion":
        raise RecipeError(f"'{recipe.name}' takes no metadata.", "Use a recipe with the model metadata_fusion.")
    backbone = str(recipe.model.options.get("backbone", "mobilenet_v2"))
    alone = replace(recipe.data, metadata=False)
    model = ModelConfig(backbone, {})
    return _alike(
        variant(recipe, "image-alone", "S9", f"{backbone} on the image alone, all else equal", data=alone, model=model),
        Plan(recipe.name, "S9", recipe, f"{backbone} joined with age, sex and site"),
        paced_as=recipe.name,
    )


def _alike(*rows: Plan, paced_as: str) -> list[Plan]:
    """Rows whose networks cost nearly the same and that are compared with each other: one schedule for all."""
    return [row if row.name == paced_as else replace(row, paced_as=paced_as) for row in rows]


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
    alone = replace(
        recipe,
        name="clnet-segmenter",
        task="segmentation",
        model=ModelConfig("resunet", {}),
        data=replace(recipe.data, target="mask", sampling="shuffle"),
        loss=LossConfig("bce-dice"),
    )
    # Whatever the other branch learns, this one is the same, and is trained once.
    segmenter = Plan(alone.name, "S8", alone, "segmentation branch alone (residual U-Net), BCE-Dice loss")
    return [
        segmenter,
        classifier,
        Plan(recipe.name, "S8", recipe, f"both branches joined by feature fusion ({backbone})"),
    ]
