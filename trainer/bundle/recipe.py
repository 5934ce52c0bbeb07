"""Bundle recipes: everything that makes a bundle what it is, read from a TOML file in `trainer/recipes/bundles`."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from edge_infer.bundle.manifest import Manifest, StageName
from edge_infer.rules import RoiRule
from edge_infer.schema import SchemaError, dump, parse
from trainer.bundle.storage import Store
from trainer.bundle.variants import parse_names
from trainer.choices.choose import Choosing
from trainer.errors import RecipeError
from trainer.models.serving import VIEWS
from trainer.recipe import RECIPE_FOLDER, Recipe, Task, load_recipe
from trainer.training.folds import used_folds

BUNDLE_FOLDER = RECIPE_FOLDER / "bundles"

_TASKS: dict[StageName, Task] = {"segmenter": "segmentation", "classifier": "classification"}


@dataclass(frozen=True)
class StageRecipe:
    """One network of a bundle.

    Attributes:
        recipe: name of a recipe, or path of a TOML file, from the bundle recipe's folder. Its best weights ship.
        init_weights: name of the weight file that the first network of its chain starts from; None: random weights.
    """

    recipe: str
    init_weights: str | None = None

    def load(self) -> Recipe:
        """The recipe itself."""
        return load_recipe(self.recipe)


@dataclass(frozen=True)
class Stages:
    """Both networks."""

    segmenter: StageRecipe
    classifier: StageRecipe

    def __iter__(self) -> Iterator[tuple[StageName, StageRecipe]]:
        """Name and recipe of each, in the order in which they answer."""
        yield "segmenter", self.segmenter
        yield "classifier", self.classifier


@dataclass(frozen=True)
class BundleRecipe:
    """One bundle.

    Attributes:
        name: the bundle's, and its folder's in `exported/`.
        version: the bundle's own, see `edge_infer.bundle.manifest.Manifest`.
        description: one sentence.
        intended_use: what it is for, and what not.
        sources: names of the sources that it learns from (`trainer.data.ham10000.Record.source`), in letters of any
            case. What other folders hold is external: it is scored on `test`, and nothing rests on it.
        training_only: those of them that have a `train` part alone, so that nothing is calibrated on them; every other
            one must have a `val` part. It is held against the data (`trainer.bundle.sources.unfit_sources`), decides
            nothing in the bundle, and is not stored there.
        data: the same in words, with how they are split.
        citation, license, license_note: of these data, and what follows for the weights.
        stages: both networks.
        roi: the crop around the lesion; it must be the one that the classifier's recipe learns from.
        folds: how many of a cross-fitted classifier's folds are trained and calibrate it; None: all; 0 (only for a
            classifier without folds): it is calibrated on the validation parts, which no network has seen.
        views: mirrored copies of the crop that the classifier averages over.
        calibration, prior, size_exempt: see `trainer.choices.choose.Choosing`.
        store: how the ONNX files store weights, see `trainer.bundle.system.System`.
        familiarity: what is no dermoscopy is refused by a score that the segmenter gives, its second output (see
            `trainer.choices.familiarity`); False refuses it by measures of colour and texture.
        variants: further forms of both networks, names of `trainer.bundle.variants.KINDS`.
        leave_out_failed: leave out a variant that fails its gates, in place of an error.
    """

    name: str
    version: str
    description: str
    intended_use: str
    sources: tuple[str, ...]
    data: str
    citation: str
    license: str
    license_note: str
    stages: Stages
    roi: RoiRule
    folds: int | None = None
    views: int = 1
    store: Store = "float16"
    familiarity: bool = False
    variants: tuple[str, ...] = ()
    leave_out_failed: bool = False
    calibration: Literal["temperature", "platt"] = "temperature"
    prior: float | None = None
    size_exempt: tuple[str, ...] = ()
    training_only: tuple[str, ...] = ()

    @property
    def learnt(self) -> tuple[str, ...]:
        """The sources as records name them."""
        return learnt_sources(self.sources)

    @property
    def choosing(self) -> Choosing:
        """How its choices are made."""
        return Choosing(self.calibration, self.prior, self.size_exempt)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `bundle.json` states them: recipes by their names, wherever their files lie.

        `training_only` is left out.
        """
        named = {stage: replace(source, recipe=Path(source.recipe).name) for stage, source in self.stages}
        plain: dict[str, Any] = dump(replace(self, stages=Stages(**named)))
        del plain["training_only"]
        return plain

    def changed(self, **changes: Any) -> BundleRecipe:
        """The same bundle with other values, checked as if they stood in the file; None changes nothing.

        Raises:
            TrainerError: see `bundle_recipe_from_dict`.
        """
        return bundle_recipe_from_dict(dump(self) | {key: v for key, v in changes.items() if v is not None})


def learnt_sources(names: Iterable[str]) -> tuple[str, ...]:
    """Names of a bundle recipe's `sources` as records have them."""
    return tuple(name.lower().replace(" ", "-") for name in names)


def learnt_by(manifest: Manifest) -> tuple[str, ...]:
    """The sources that a bundle learnt from; bundles from before bundle recipes knew HAM10000 alone."""
    names = manifest.provenance.bundle_recipe.get("sources")
    if not names and "HAM10000" in manifest.provenance.data:
        names = ("HAM10000",)
    return learnt_sources(names or ())


def bundle_recipe_from_dict(data: object, where: str = "bundle recipe", folder: Path = BUNDLE_FOLDER) -> BundleRecipe:
    """Checks plain values and builds the recipe.

    Args:
        data: as `tomllib` returns it.
        where: for messages.
        folder: from which paths of stage recipes are meant.

    Raises:
        TrainerError: unknown key (the nearest known one is named), wrong type, no such stage recipe or variant, or
            values that contradict each other or a stage's recipe.
    """
    try:
        recipe = parse(BundleRecipe, data)
    except SchemaError as error:
        raise RecipeError(f"{where}: {error}.", "Correct the key or value in the recipe.") from error
    placed = {stage: replace(source, recipe=_placed(source.recipe, folder)) for stage, source in recipe.stages}
    recipe = replace(recipe, stages=Stages(**placed), variants=parse_names(",".join(recipe.variants)))
    _check(recipe, where)
    return recipe


def load_bundle_recipe(name_or_path: str | Path) -> BundleRecipe:
    """Reads a bundle recipe by the name of a file in `trainer/recipes/bundles` or by path.

    Raises:
        TrainerError: there is no such file, it is no TOML, or see `bundle_recipe_from_dict`.
    """
    path = bundle_recipe_path(name_or_path)
    if not path.is_file():
        near = difflib.get_close_matches(path.stem, bundle_recipe_names(), n=1)
        hint = f"Did you mean '{near[0]}'? " if near else ""
        known = ", ".join(bundle_recipe_names())
        raise RecipeError(f"There is no bundle recipe {path}.", f"{hint}Known bundle recipes: {known}.")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: {error}.", "Correct the TOML syntax.") from error
    return bundle_recipe_from_dict(data, str(path), path.parent)


def bundle_recipe_path(name_or_path: str | Path) -> Path:
    """The TOML file that a name in `trainer/recipes/bundles` or a path means; it need not exist."""
    path = Path(name_or_path)
    return path if path.suffix == ".toml" else BUNDLE_FOLDER / f"{name_or_path}.toml"


def bundle_recipe_names() -> list[str]:
    """Names of the bundle recipes that come with the trainer, sorted."""
    return sorted(path.stem for path in BUNDLE_FOLDER.glob("*.toml"))


def weight_file(recipe: BundleRecipe, stage: StageName, given: Path | None) -> Path | None:
    """The file that a stage starts from; None where it starts from random weights.

    Args:
        recipe: names the file.
        stage: which network.
        given: folder of weight files, or the one file that the bundle needs.

    Raises:
        RecipeError: nothing is given, the folder does not hold the file, or one file is given where several are needed.
    """
    name = dict(recipe.stages)[stage].init_weights
    if name is None:
        return None
    needed = sorted({source.init_weights for _, source in recipe.stages if source.init_weights is not None})
    words = ", ".join(needed)
    if given is None:
        raise RecipeError(f"'{recipe.name}' starts from {words}.", "Give the folder that holds it: --init-weights DIR.")
    if not given.is_dir():
        if given.is_file() and len(needed) == 1:
            return given
        raise RecipeError(f"{given} is no folder with {words}.", "Give the folder of weight files: --init-weights DIR.")
    if not (given / name).is_file():
        raise RecipeError(f"{given} does not hold {name}, which the {stage} starts from.", "Put the file there.")
    return given / name


def _placed(recipe: str, folder: Path) -> str:
    return str(folder / recipe) if recipe.endswith(".toml") else recipe


def _check(recipe: BundleRecipe, where: str) -> None:
    if not recipe.sources:
        raise RecipeError(f"{where}: sources is empty.", "Name the data sets that the bundle learns from.")
    for stage, source in recipe.stages:
        found = source.load()
        if found.task != _TASKS[stage]:
            raise RecipeError(
                f"{where}: stages.{stage}.recipe '{found.name}' is for {found.task}.",
                f"Name a recipe for {_TASKS[stage]}.",
            )
    for stage, source in recipe.stages:
        if stray := sorted(set(source.load().data.sources) - set(recipe.learnt)):
            raise RecipeError(
                f"{where}: '{source.load().name}', its {stage}, learns from {stray[0]}, which sources does not name.",
                "Name every source that a stage learns from.",
            )
    if stray := sorted(set(learnt_sources(recipe.training_only)) - set(recipe.learnt)):
        raise RecipeError(f"{where}: training_only names {stray[0]}, which sources does not.", "Name it in both.")
    classifier = recipe.stages.classifier.load()
    check_crop(recipe, classifier, where)
    used_folds(classifier, recipe.folds)
    if recipe.folds and not classifier.folds:
        raise RecipeError(f"{where}: folds is {recipe.folds}.", f"'{classifier.name}' has no folds: remove the key.")
    if recipe.training_only and classifier.folds:
        raise RecipeError(
            f"{where}: training_only names {recipe.training_only[0]}, and '{classifier.name}' is calibrated on what "
            "its folds leave out of every source.",
            "Remove the key.",
        )
    if set(learnt_sources(recipe.training_only)) == set(recipe.learnt):
        raise RecipeError(f"{where}: training_only names every source.", "Leave one out: a bundle is calibrated on it.")
    if recipe.views not in VIEWS:
        raise RecipeError(f"{where}: views is {recipe.views}.", f"Choose one of: {', '.join(map(str, VIEWS))}.")
    if recipe.prior is not None and not 0 < recipe.prior < 1:
        raise RecipeError(f"{where}: prior is {recipe.prior}.", "It is a share: between 0 and 1.")


def check_crop(recipe: BundleRecipe, classifier: Recipe, where: str = "bundle recipe") -> None:
    """Does nothing if the classifier learnt from the crop that the bundle serves.

    Raises:
        RecipeError: it learnt from another one, or from whole pictures.
    """
    if classifier.data.roi != recipe.roi:
        theirs = "whole pictures" if classifier.data.roi is None else str(dump(classifier.data.roi))
        raise RecipeError(
            f"{where}: roi is {dump(recipe.roi)}, and '{classifier.name}' learns from {theirs}.",
            "A network must be served as it was trained: make both the same.",
        )
