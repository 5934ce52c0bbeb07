"""Recipes: everything that decides what a training run computes, as frozen dataclasses read from a TOML file."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tomli_w

from edge_infer.files import write_atomically
from edge_infer.rules import RoiRule
from edge_infer.schema import SchemaError, dump, parse
from trainer.errors import RecipeError

RECIPE_FOLDER = Path(__file__).parent / "recipes"

Task = Literal["segmentation", "classification", "joint"]
Target = Literal["mask", "dx", "melanoma", "keratosis"]


@dataclass(frozen=True)
class Normalization:
    """Per-channel mean and standard deviation of RGB in 0..1; the defaults are ImageNet's."""

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ModelConfig:
    """A model of the registry and the options of its builder."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceConfig:
    """What a source is used for.

    Attributes:
        teaches: `masks` to networks that outline, `classes` to those that name the lesion, `all` to both.
        weight: of the source beside its size, where `data.sampling` is `sources`.
    """

    teaches: Literal["all", "masks", "classes"] = "all"
    weight: float = 1.0


@dataclass(frozen=True)
class DataConfig:
    """What the network sees.

    Attributes:
        size: side of the network's square input, in pixels.
        target: what the network learns. `mask` is the lesion's outline, `dx` the seven diagnoses of HAM10000 in
            alphabetical order, `melanoma` and `keratosis` whether it is that one or another. A joint network learns the
            mask besides.
        roi: for classification, the crop of the serving pipeline (from the ground-truth mask); None trains on the whole
            picture.
        small_size: side in the first epochs, which makes them cheaper; None: `size` from the start. The last epochs run
            at the size that is served (Touvron et al., NeurIPS 2019, say why they matter).
        small_share: share of the epochs that run at `small_size`.
        cache_size: side of the cached training crop, in pixels; None: `size`.
        cache_margin: margin of the cached training crop, wider than `roi.margin` so that augmentation can move and turn
            the frame without inventing skin; None: `roi.margin`.
        sampling: `shuffle` visits every image once an epoch; `balanced` draws with replacement by inverse class
            frequency; `sources` draws a source, and then the class by the shares of all sources together, so that the
            source says nothing about the class, see `trainer.data.sampling`.
        source_power: with `sources`, a source of n pictures is drawn in proportion to n to this power: 1 as they come,
            0 all alike.
        epoch_pictures: with `sources`, pictures drawn an epoch; None: as many as there are.
        metadata: the network also takes age, sex and site, see `trainer.data.metadata`.
        sources: by name, the sources that are used and what for; empty: all of them, for all they hold.
        without: ids of pictures that are never used, such as copies of test pictures (`data check --duplicates`).
        outline: bundle or checkpoint of the segmenter that outlines pictures without a mask for their crop; see
            `trainer.training.outliners`.
        styles: sources whose masks are drawn in styles of their own, the first one's being the product's; the
            segmenter learns an offset for each (`trainer.models.segmentation.style`) and answers in the first style.
    """

    size: int
    target: Target
    roi: RoiRule | None = None
    small_size: int | None = None
    small_share: float = 0.6
    cache_size: int | None = None
    cache_margin: float | None = None
    sampling: Literal["shuffle", "balanced", "sources"] = "shuffle"
    source_power: float = 0.5
    epoch_pictures: int | None = None
    metadata: bool = False
    sources: dict[str, SourceConfig] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    outline: str | None = None
    styles: tuple[str, ...] = ()


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes of a training picture, drawn for each picture on its own. Zero or False switches one off.

    Attributes:
        flip: mirror left to right with probability 0.5.
        quarter_turns: turn by 0, 90, 180 or 270 degrees.
        rotation: turn by at most this many degrees.
        zoom: the frame's side is multiplied by exp of at most plus or minus this (0.2: 0.82 to 1.22).
        shift: the frame moves by at most this fraction of its side, along each axis.
        shear: at most this many degrees.
        brightness, contrast, saturation: factor 1 plus or minus at most this.
        hue: turn of the hue by at most this fraction of a full circle.
        constancy: probability that the light's estimated colour is taken out, see `trainer.data.constancy`.
        lesion_free: probability that a picture's lesion-free part is shown instead, with an empty mask, see
            `trainer.data.lesion_free`. Segmentation only.
        hairs: at most this many artificial hairs are drawn over the picture; the mask stays.
        cutout: probability that a rectangle of the picture is blacked out; the mask stays.
        mosaic: probability that a picture becomes four pictures of its batch at half size. Segmentation only.
        cutmix: probability that a rectangle is replaced by that of another picture of its batch, in the mask too.
            Segmentation only.
        ring, ruler, bubbles: probability of each, see `trainer.data.dermoscope`.
        low_resolution, blur, jpeg: probability of each, see `trainer.data.camera`.
        vignette: the corners are darkened by at most this fraction.
        temperature: the light's colour moves by at most this, as the logarithm of red's gain over blue's, halved.
        exposure: gamma is exp of at most plus or minus this.
    """

    flip: bool = False
    quarter_turns: bool = False
    rotation: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    constancy: float = 0.0
    lesion_free: float = 0.0
    hairs: int = 0
    cutout: float = 0.0
    mosaic: float = 0.0
    cutmix: float = 0.0
    ring: float = 0.0
    ruler: float = 0.0
    bubbles: float = 0.0
    low_resolution: float = 0.0
    blur: float = 0.0
    jpeg: float = 0.0
    vignette: float = 0.0
    temperature: float = 0.0
    exposure: float = 0.0


@dataclass(frozen=True)
class LossConfig:
    """`bce-dice` is for masks, `cross-entropy` and `focal` are for classes.

    `focal-dice` is for joint networks: focal loss for the class, focal plus Dice loss for the mask. `logit_adjustment`
    adds this multiple of the log class frequencies to the logits while training (Menon et al., ICLR 2021); 0 is off.
    """

    name: Literal["bce-dice", "cross-entropy", "focal", "focal-dice"]
    label_smoothing: float = 0.0
    focal_gamma: float = 2.0
    logit_adjustment: float = 0.0


@dataclass(frozen=True)
class OptimConfig:
    """How the weights move.

    Attributes:
        epochs: passes over the training split.
        batch_size: images a step.
        learning_rate: the schedule's peak, for AdamW.
        weight_decay: on weights of convolutions and linear layers only, not on biases and norms.
        schedule: shape after the warm-up: `cosine` or `poly` (power 0.9) down to zero.
        warmup: fraction of all steps in which the rate climbs from a twenty-fifth of its peak.
        clip_norm: the gradient's norm is limited to this; 0 switches it off.
        ema: decay of the weights' moving average per step; validation and export use the average. 0 switches it off.
        ema_ramp: young averages forget faster: after t steps the average covers about t / (ema_ramp - 1) of them, until
            `ema` covers fewer. 10 suits long runs, 4 short ones.
        keep: `best` keeps the epoch that validates best, `last` the end of the schedule, whatever validation says.
        validate_every: validate after every so many epochs, and after the last; 0: after the last alone.
        patience: stop after this many epochs without a better validation metric; 0 never stops early.
        precision: `bf16` autocasts; `float32` does not.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.01
    schedule: Literal["cosine", "poly"] = "cosine"
    warmup: float = 0.1
    clip_norm: float = 1.0
    ema: float = 0.998
    ema_ramp: float = 10.0
    keep: Literal["best", "last"] = "best"
    validate_every: int = 1
    patience: int = 0
    precision: Literal["bf16", "float32"] = "bf16"


@dataclass(frozen=True)
class DistillConfig:
    """Teachers whose answers are learnt beside the labels, see `trainer.training.distill`.

    Attributes:
        teachers: checkpoints of the same task, target and crop, none of which has learnt from the pictures that
            validate this recipe, or tables of `out-of-fold`; their answers are averaged.
        share: of the teachers' loss; the rest is the recipe's own.
        temperature: softens class probabilities, the teachers' and the student's. Masks have none.
    """

    teachers: tuple[str, ...]
    share: float = 0.5
    temperature: float = 2.0


@dataclass(frozen=True)
class Recipe:
    """One system: its network, data, augmentation, loss and optimiser.

    `summary` says what it is for. `starts_from` names the recipe whose best weights initialise this one; `python -m
    trainer bundle` trains that one first.

    `folds` above zero cross-fits: that many networks each leave out one fold of `train` and `val` together, and their
    predictions of what they never saw fix temperature and operating points; the network that ships learns from all of
    it. Each keeps its last epoch, as nothing is left to choose a better one by. `folds_of = "train"` leaves `val` out
    of all of them, so that it is unseen by everyone.

    `members` above one makes an ensemble: that many networks, with the seeds `seed`, `seed` + 1 and so on, are trained
    apart, and the mean of their logits answers, see `trainer.training.members`. With `joined_by = "weights"` the mean
    of their weights is one network of the same size, which needs members that start from the same trained network.
    """

    name: str
    summary: str
    task: Task
    model: ModelConfig
    data: DataConfig
    loss: LossConfig
    optim: OptimConfig
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    normalization: Normalization = field(default_factory=Normalization)
    seed: int = 0
    starts_from: str | None = None
    folds: int = 0
    folds_of: Literal["train+val", "train"] = "train+val"
    members: int = 1
    joined_by: Literal["logits", "weights"] = "logits"
    distill: DistillConfig | None = None

    @property
    def is_ensemble(self) -> bool:
        """Whether several networks answer, and not one."""
        return self.members > 1 and self.joined_by == "logits"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `recipe_from_dict` takes them."""
        plain: dict[str, Any] = dump(self)
        return plain


def recipe_from_dict(data: object, where: str = "recipe") -> Recipe:
    """Checks plain values and builds the recipe.

    Raises:
        RecipeError: unknown key (the nearest known one is named), wrong type, or values that contradict each other.
    """
    try:
        recipe = parse(Recipe, data)
    except SchemaError as error:
        raise RecipeError(f"{where}: {error}.", "Correct the key or value in the recipe.") from error
    _check(recipe, where)
    return recipe


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Reads a recipe by the name of a file in `trainer/recipes` or by path.

    Raises:
        RecipeError: there is no such file, it is no TOML, or it does not fit the schema.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = RECIPE_FOLDER / f"{name_or_path}.toml"
    if not path.is_file():
        near = difflib.get_close_matches(path.stem, recipe_names(), n=1)
        hint = f"Did you mean '{near[0]}'? " if near else ""
        raise RecipeError(f"There is no recipe {path}.", f"{hint}Known recipes: {', '.join(recipe_names())}.")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: {error}.", "Correct the TOML syntax.") from error
    return recipe_from_dict(data, where=str(path))


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Writes a recipe as a TOML file that `load_recipe` reads back as the same recipe."""
    write_atomically(path, tomli_w.dumps(_without_none(recipe.to_dict())).encode())


def _without_none(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _without_none(item) for key, item in value.items() if item is not None}


def recipe_names() -> list[str]:
    """Names of the recipes that come with the trainer, sorted."""
    return sorted(path.stem for path in RECIPE_FOLDER.glob("*.toml"))


_CLASSES = ("dx", "melanoma", "keratosis")
_FITTING: dict[Task, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "segmentation": (("mask",), ("bce-dice",)),
    "classification": (_CLASSES, ("cross-entropy", "focal")),
    "joint": (_CLASSES, ("focal-dice",)),
}


def _check(recipe: Recipe, where: str) -> None:
    targets, losses = _FITTING[recipe.task]
    for key, value, fitting in (("data.target", recipe.data.target, targets), ("loss.name", recipe.loss.name, losses)):
        if value not in fitting:
            raise RecipeError(
                f"{where}: task '{recipe.task}' does not go with {key} '{value}'.",
                f"It takes {', '.join(repr(item) for item in fitting)}.",
            )
    if recipe.task != "classification" and recipe.data.roi is not None:
        raise RecipeError(f"{where}: data.roi is set for {recipe.task}.", "Remove it: masks are learnt on the picture.")
    if recipe.task != "segmentation" and (recipe.augment.mosaic or recipe.augment.cutmix):
        raise RecipeError(f"{where}: augment.mosaic and cutmix mix pictures.", "Use them for segmentation only.")
    if recipe.data.cache_margin is not None and recipe.data.roi is None:
        raise RecipeError(f"{where}: data.cache_margin is set without data.roi.", "Set data.roi or remove it.")
    if recipe.data.cache_margin is not None and recipe.data.roi and recipe.data.cache_margin < recipe.data.roi.margin:
        raise RecipeError(f"{where}: data.cache_margin is below data.roi.margin.", "Make it at least as wide.")
    if recipe.folds == 1 or recipe.folds < 0:
        raise RecipeError(f"{where}: folds is {recipe.folds}.", "Use 0 (none) or at least 2.")
    if recipe.folds and recipe.starts_from:
        raise RecipeError(
            f"{where}: folds and starts_from are set.",
            "The weights to start from would have learnt from every fold: leave starts_from out, or drop folds.",
        )
    if recipe.members < 1 or (recipe.members > 1 and recipe.task != "classification"):
        raise RecipeError(
            f"{where}: members is {recipe.members} for {recipe.task}.", "Use 1, or more for classification."
        )
    if recipe.joined_by == "weights" and (recipe.members == 1 or recipe.starts_from is None):
        raise RecipeError(
            f"{where}: joined_by is 'weights' without members that start from one trained network.",
            "Weights that were trained apart from the first step have no meaningful mean: set members and starts_from.",
        )
    if recipe.folds and recipe.optim.patience:
        raise RecipeError(
            f"{where}: folds and optim.patience are set.", "Cross-fitting keeps the last epoch: drop one."
        )
    if recipe.optim.keep == "last" and recipe.optim.patience:
        raise RecipeError(f"{where}: optim.keep is 'last' and optim.patience is set.", "Drop one of them.")
    if recipe.optim.validate_every != 1 and recipe.optim.keep == "best" and not recipe.folds:
        raise RecipeError(
            f"{where}: optim.validate_every is {recipe.optim.validate_every} and optim.keep is 'best'.",
            "An epoch that is not validated cannot be chosen: use keep = 'last'.",
        )
    if recipe.optim.validate_every < 0 or recipe.optim.ema_ramp <= 1:
        raise RecipeError(
            f"{where}: optim.validate_every is negative, or optim.ema_ramp is not above 1.", "Correct the value."
        )
    if recipe.data.styles and recipe.task != "segmentation":
        raise RecipeError(f"{where}: data.styles is set for {recipe.task}.", "Only masks have a style: remove it.")
    if recipe.data.epoch_pictures is not None and recipe.data.sampling != "sources":
        raise RecipeError(f"{where}: data.epoch_pictures is set.", "Set data.sampling = 'sources', or remove it.")
    if recipe.distill and not recipe.distill.teachers:
        raise RecipeError(f"{where}: distill.teachers is empty.", "Name at least one checkpoint, or remove [distill].")
    if recipe.distill and not 0 < recipe.distill.share <= 1:
        raise RecipeError(f"{where}: distill.share is {recipe.distill.share}.", "It must be above 0, at most 1.")
    positive: dict[str, float] = {"data.size": recipe.data.size, "optim.epochs": recipe.optim.epochs}
    positive |= {"optim.batch_size": recipe.optim.batch_size, "optim.learning_rate": recipe.optim.learning_rate}
    positive |= {"distill.temperature": recipe.distill.temperature} if recipe.distill else {}
    for key, number in positive.items():
        if number <= 0:
            raise RecipeError(f"{where}: {key} is {number}.", "It must be above zero.")
