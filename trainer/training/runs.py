"""What is trained for a recipe, where it lies, and how long it took."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from trainer.data.cache import CACHE_FOLDER
from trainer.data.ham10000 import Record
from trainer.data.sources import taught
from trainer.data.splits import SplitName, cross_fit, named_split, spread, standard_split
from trainer.errors import CheckpointError
from trainer.recipe import Recipe, load_recipe
from trainer.training.checkpoint import BEST, LAST, load_checkpoint
from trainer.training.distributed import joined
from trainer.training.folds import fold_folder, used_folds
from trainer.training.loop import train
from trainer.training.members import join_members, member_runs


def with_epochs(recipe: Recipe, epochs: int | None) -> Recipe:
    """The recipe with so many epochs, and its schedule over them; None leaves it as it is."""
    return replace(recipe, optim=replace(recipe.optim, epochs=epochs)) if epochs else recipe


def begun(run: Path) -> bool:
    """Whether a run, or a fold of it, holds weights."""
    return any(file.is_file() for folder in (run, *run.glob("fold-*")) for file in (folder / BEST, folder / LAST))


def taken_as_trained(recipe: Recipe, out: Path) -> bool:
    """Whether a folder holds weights of this recipe without the state to go on from, as of a bundle's own network.

    Raises:
        CheckpointError: it holds weights of another recipe.
    """
    if not (out / BEST).is_file() or (out / LAST).is_file():
        return False
    found = load_checkpoint(out / BEST).recipe.name
    if found != recipe.name:
        raise CheckpointError(f"{out / BEST} is of '{found}', not of '{recipe.name}'.", "Put the right file there.")
    return True


def train_network(
    recipe: Recipe,
    records: Sequence[Record],
    out: Path,
    *,
    weights: Path | None = None,
    fold: int | None = None,
    member: int | None = None,
    split: SplitName = "column",
    limit: int | None = None,
    resume: bool = True,
    stop_after: int | None = None,
    threads: int | None = None,
    cache: Path = CACHE_FOLDER,
    device: str = "cpu",
    say: Callable[[str], None] = print,
    opens: Callable[[Sequence[Record]], None] = lambda records: None,
) -> None:
    """Trains one network of a recipe, or each member of an ensemble; continues where it was left.

    Args:
        recipe: what to train.
        records: the whole data set, of which `train` and `val` are used.
        out: folder of the run.
        weights: see `trainer.training.loop.train`.
        fold: of a recipe with folds, the one to hold out; None learns from all of them.
        member: of a recipe with members, this one alone.
        split: of recipes without folds, the protocol of what trains and validates.
        limit: use only so many pictures of each split, for a trial.
        resume: False begins again.
        stop_after: leave after this epoch.
        threads: CPU threads; None: as many as torch takes.
        cache: folder of decoded pictures.
        device: `cpu` or `cuda`.
        say: receives one line for each network.
        opens: receives the pictures that will be learnt from and validated on, before one is opened.

    Raises:
        TrainerError: see `trainer.training.loop.train`.
    """
    if threads:
        torch.set_num_threads(threads)
    crossed = recipe.folds > 0 or fold is not None
    parts = cross_fit(records, recipe.folds, fold, recipe.folds_of) if crossed else named_split(records, split)
    learnt, held_out = (spread(taught(recipe, parts[name], records), limit) for name in ("train", "val"))
    rest = standard_split(records) if crossed else parts
    measured = rest["test"] + (rest["val"] if crossed and recipe.folds_of == "train" else [])
    with joined(device) as world:
        if world.leads:
            opens([*learnt, *held_out])
        for part, folder in member_runs(recipe, out, member):
            outcome = train(
                part,
                learnt,
                held_out,
                folder,
                weights=weights,
                fold=fold,
                split="" if crossed else split,
                limit=limit,
                measured=measured,
                resume=resume,
                stop_after=stop_after,
                cache=cache,
                device=device,
                world=world,
            )
            if world.leads:
                say(_line(folder / BEST, outcome.best_epoch, outcome.epochs, outcome.best_metrics))
        if world.leads and recipe.members > 1:
            ensemble = join_members(recipe, out, held_out, cache)
            if ensemble is not None:
                say(_line(out / BEST, ensemble.epoch, recipe.optim.epochs, ensemble.metrics))


def recipe_chain(recipe: str) -> list[Recipe]:
    """A recipe after all that it starts from, first things first.

    Args:
        recipe: name or path of the last one.
    """
    last = load_recipe(recipe)
    return [*(recipe_chain(last.starts_from) if last.starts_from else []), last]


def training_hours(run: Path, recipe: Recipe, fold_count: int | None = None) -> float | None:
    """Wall hours of everything that a run's weights and calibration rest on; None where a part of it is unknown.

    That is the run itself, its folds, and the runs beside it that its recipe starts from.
    """
    networks = [run, *(fold_folder(run, fold) for fold in used_folds(recipe, fold_count))]
    parts = [folder for network in networks for _, folder in member_runs(recipe, network)]
    seconds = 0.0
    try:
        for folder in parts:
            with (folder / "history.csv").open(newline="", encoding="utf-8") as stream:
                seconds += sum(float(row["seconds"]) for row in csv.DictReader(stream))
    except (OSError, KeyError, ValueError):
        return None
    if recipe.starts_from is None:
        return round(seconds / 3600, 2)
    before = training_hours(run.parent / recipe.starts_from, load_recipe(recipe.starts_from))
    return None if before is None else round(before + seconds / 3600, 2)


def _line(file: Path, epoch: int, epochs: int, metrics: dict[str, float]) -> str:
    figures = ", ".join(f"{key} {value:.4f}" for key, value in metrics.items() if key != "epoch")
    return f"{file}: epoch {epoch} of {epochs}" + (f" ({figures})" if figures else "")
