"""A recipe against itself with one thing changed: what each design choice is worth."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal

from edge_infer.rules import RoiRule
from trainer.errors import RecipeError
from trainer.papers.plan import Plan, system_of, variant
from trainer.recipe import AugmentConfig, DataConfig, DistillConfig, Recipe

BASE = "-base"
"""How the name of the row ends with which the others of the ablations are compared."""


def ablations(recipe: Recipe) -> list[Plan]:
    """The recipe as it is, then with one thing changed in each row; folds and members are left out of all of them.

    All rows keep their last epoch, so that none may stop early either.

    A change that the recipe has already is no row.

    Raises:
        RecipeError: it goes on from another recipe, is no single-task one, or a classifier of anything but the crop.
    """
    recipe = replace(recipe, folds=0, members=1, optim=replace(recipe.optim, patience=0))
    crop = recipe.task == "classification" and recipe.data.roi is not None and recipe.data.target == "dx"
    if recipe.starts_from or recipe.data.metadata or not (crop or recipe.task == "segmentation"):
        raise RecipeError(
            f"'{recipe.name}' has no ablations.",
            "Use a recipe that segments, or names the lesion on a crop, and starts from no other.",
        )
    base, *others = _classifier_ablations(recipe) if crop else _segmenter_ablations(recipe)
    return [base, *(plan for plan in others if _differs(plan, base))]


def _differs(plan: Plan, base: Plan) -> bool:
    """Whether a row is more than a copy of the base under another name."""
    return replace(plan, name="", what="", recipe=replace(plan.recipe, name=base.recipe.name)) != replace(
        base, name="", what=""
    )


def _classifier_ablations(recipe: Recipe) -> list[Plan]:
    data, loss, optim, augment = recipe.data, recipe.loss, recipe.optim, recipe.augment
    roi = recipe.data.roi
    assert roi is not None
    cache_margin = roi.margin if recipe.data.cache_margin is None else recipe.data.cache_margin

    def crop(rule: RoiRule) -> DataConfig:
        return replace(data, roi=rule, cache_margin=rule.margin + cache_margin - roi.margin)

    other: Literal["keep", "zero"] = "zero" if roi.background == "keep" else "keep"
    whole = replace(data, roi=None, cache_size=None, cache_margin=None)
    made = partial(variant, recipe, system=system_of(recipe))
    base = made(BASE[1:], what="as the recipe says")
    same = partial(replace, weights_of=base.name)
    distill = DistillConfig(tuple(f"{recipe.name}-{name}" for name in ("larger", "another-seed")))
    return [
        base,
        _reseeded(made("another-seed", what="the same with another seed: how much chance does", seed=recipe.seed + 1)),
        made(f"background-{other}", what=f"skin around the lesion: {other}", data=crop(replace(roi, background=other))),
        made("margin-0", what="margin of the crop: 0 %", data=crop(replace(roi, margin=0.0))),
        made("margin-50", what="margin of the crop: 50 %", data=crop(replace(roi, margin=0.5))),
        made("whole", what="whole picture, no crop", data=whole),
        replace(made("predicted-masks", what="trained on crops around predicted outlines"), predicted_masks=True),
        made("binary", what="target: melanoma or not", data=replace(data, target="melanoma")),
        made("balanced", what="classes drawn evenly", data=replace(data, sampling="balanced")),
        made("focal", what="focal loss, no label smoothing", loss=replace(loss, name="focal", label_smoothing=0.0)),
        made("adjusted", what="logit adjustment in the loss", loss=replace(loss, logit_adjustment=1.0)),
        same(made("post-hoc", what="logit adjustment after training"), post_hoc=True),
        made("no-smoothing", what="no label smoothing", loss=replace(loss, label_smoothing=0.0)),
        made("no-ema", what="no moving average of the weights", optim=replace(optim, ema=0.0)),
        made("one-size", what="full size from the first epoch", data=replace(data, small_size=None)),
        replace(made("smaller", what="input side x 0.75 (work x 0.56)"), scale=0.75),
        replace(made("larger", what="input side x 1.5 (work x 2.25)"), scale=1.5),
        made("no-colour", what="no changes of colour", augment=_colourless(augment)),
        made("constancy", what="colour constancy in half of the pictures", augment=replace(augment, constancy=0.5)),
        made("hairs", what="up to 12 artificial hairs", augment=replace(augment, hairs=12)),
        made("cutout", what="half of the pictures with a blacked-out rectangle", augment=replace(augment, cutout=0.5)),
        made("distilled", what="also learns the mean answer of `larger` and `another-seed`", distill=distill),
        same(made("two-views", what="mean of two mirrored views"), views=2),
        same(made("four-views", what="mean of four mirrored views"), views=4),
    ]


def _segmenter_ablations(recipe: Recipe) -> list[Plan]:
    data, augment = recipe.data, recipe.augment
    made = partial(variant, recipe, system=system_of(recipe))
    return [
        made(BASE[1:], what="as the recipe says"),
        _reseeded(made("another-seed", what="the same with another seed: how much chance does", seed=recipe.seed + 1)),
        made("no-colour", what="no changes of colour", augment=_colourless(augment)),
        made("hairs", what="up to 12 artificial hairs", augment=replace(augment, hairs=12)),
        made("mosaic", what="a quarter of the pictures are mosaics", augment=replace(augment, mosaic=0.25)),
        made("cutmix", what="CutMix in half of the pictures", augment=replace(augment, cutmix=0.5)),
        made("skin", what="a fifth of the pictures show bare skin", augment=replace(augment, lesion_free=0.2)),
        made("no-ema", what="no moving average of the weights", optim=replace(recipe.optim, ema=0.0)),
        made("one-size", what="full size from the first epoch", data=replace(data, small_size=None)),
    ]


def _reseeded(plan: Plan) -> Plan:
    return replace(plan, seed_offset=1)


def _colourless(augment: AugmentConfig) -> AugmentConfig:
    return replace(augment, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)
