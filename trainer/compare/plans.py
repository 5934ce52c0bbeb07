"""Which systems a comparison trains, as recipes, and at what budget."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

from edge_infer.bundle import RoiRule
from trainer.config import AugmentConfig, DataConfig, DistillConfig, LossConfig, ModelConfig, Recipe, load_recipe
from trainer.errors import RecipeError

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

BASES: dict[Table, str] = {
    "roi": "resnet50-binary",
    "metadata": "metadata-fusion",
    "branches": "clnet-melanoma",
    "ablations": "mobile-classifier",
}
"""The recipe whose variants the other tables compare, unless another is named."""

BASE = "-base"
"""How the name of the row ends with which the others of the ablations are compared."""

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
        weights_of: the row whose trained network this one evaluates in another way; "" trains one of its own.
        views: mirrored copies that it averages over when it is evaluated.
        post_hoc: its probabilities are divided by the class frequencies of the training pictures.
        predicted_masks: it learns from crops around the outlines of the job's segmenter, not around the true ones.
    """

    name: str
    system: str
    recipe: Recipe
    what: str
    scale: float = 1.0
    weights_of: str = ""
    views: int = 1
    post_hoc: bool = False
    predicted_masks: bool = False


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

    def fit(self, recipe: Recipe, scale: float = 1.0) -> Recipe:
        """The recipe at this budget: the sizes of small epochs and of the cache keep their ratio to the input.

        Args:
            recipe: as it was written.
            scale: of the input's side, on top of the budget.

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
        optim = replace(optim, epochs=self.epochs or optim.epochs)
        return replace(recipe, data=data, optim=optim, seed=recipe.seed if self.seed is None else self.seed)


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
    margin, system = recipe.data.roi.margin, _system(recipe)

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


def ablations(recipe: Recipe) -> list[Plan]:
    """The recipe as it is, then with one thing changed in each row; folds and members are left out of all of them.

    Raises:
        RecipeError: it is no single-task recipe, or a classifier of anything but the crop.
    """
    recipe = replace(recipe, folds=0, members=1, starts_from=None)
    if recipe.task == "segmentation":
        return _segmenter_ablations(recipe)
    if recipe.task != "classification" or recipe.data.roi is None or recipe.data.target != "dx":
        raise RecipeError(
            f"'{recipe.name}' has no ablations.", "Use a recipe that segments, or names the lesion on a crop."
        )
    data, loss, optim, augment = recipe.data, recipe.loss, recipe.optim, recipe.augment
    roi, cache_margin = recipe.data.roi, recipe.data.cache_margin or recipe.data.roi.margin

    def crop(rule: RoiRule) -> DataConfig:
        return replace(data, roi=rule, cache_margin=rule.margin + cache_margin - roi.margin)

    other: Literal["keep", "zero"] = "zero" if roi.background == "keep" else "keep"
    whole = replace(data, roi=None, cache_size=None, cache_margin=None)
    made = partial(_variant, recipe, system=_system(recipe))
    base = made(BASE[1:], what="as the recipe says")
    same = partial(replace, weights_of=base.name)
    distill = DistillConfig(tuple(f"{recipe.name}-{name}" for name in ("larger", "another-seed")))
    return [
        base,
        made("another-seed", what="the same with another seed: how much chance does", seed=recipe.seed + 1),
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
    made = partial(_variant, recipe, system=SEGMENTERS.get(recipe.name, "S4"))
    return [
        made(BASE[1:], what="as the recipe says"),
        made("another-seed", what="the same with another seed: how much chance does", seed=recipe.seed + 1),
        made("no-colour", what="no changes of colour", augment=_colourless(augment)),
        made("hairs", what="up to 12 artificial hairs", augment=replace(augment, hairs=12)),
        made("mosaic", what="a quarter of the pictures are mosaics", augment=replace(augment, mosaic=0.25)),
        made("cutmix", what="CutMix in half of the pictures", augment=replace(augment, cutmix=0.5)),
        made("skin", what="a fifth of the pictures show bare skin", augment=replace(augment, lesion_free=0.2)),
        made("no-ema", what="no moving average of the weights", optim=replace(recipe.optim, ema=0.0)),
        made("one-size", what="full size from the first epoch", data=replace(data, small_size=None)),
    ]


def _colourless(augment: AugmentConfig) -> AugmentConfig:
    return replace(augment, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)


def _system(recipe: Recipe) -> str:
    return CLASSIFIERS.get(recipe.name, "S7")


def _variant(recipe: Recipe, suffix: str, system: str, what: str, **changes: object) -> Plan:
    name = f"{recipe.name}-{suffix}"
    changed: Recipe = dataclasses.replace(recipe, name=name, **changes)  # type: ignore[arg-type]
    return Plan(name, system, changed, what)


def _scaled(side: int, factor: float, multiple: int) -> int:
    return max(multiple, round(side * factor / multiple) * multiple)
