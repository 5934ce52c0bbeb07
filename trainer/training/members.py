"""Ensembles: a recipe with `members` trains that many networks apart, and the mean of their logits is its network.

With `joined_by = "weights"` it is the network of the mean of their weights: members that start from one trained network
stay in its valley, and their mean costs nothing more to run (Wortsman et al., Model soups, ICML 2022).

Each member is a run of its own below the recipe's run. `join_members` writes the run's `best.pt` from theirs; from
there on (export, evaluation, fold of a cross-fitted recipe, teacher) it is a checkpoint like any other.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from trainer.data.cache import CACHE_FOLDER
from trainer.data.ham10000 import Record
from trainer.errors import CheckpointError, RecipeError
from trainer.models.ensemble import Ensemble
from trainer.recipe import Recipe
from trainer.training.checkpoint import BEST, FORMAT, Checkpoint, load_checkpoint, save_atomic
from trainer.training.loop import validate
from trainer.training.tasks import serving_data


def member_runs(recipe: Recipe, run: Path, member: int | None = None) -> list[tuple[Recipe, Path]]:
    """What is trained for a recipe, each with the folder of its run: the recipe itself, or its members.

    Args:
        recipe: with or without members.
        run: folder of the recipe's run.
        member: only this one, from 1; None: all.

    Raises:
        RecipeError: there is no such member.
    """
    if member is not None and not (recipe.members > 1 and 1 <= member <= recipe.members):
        has = f"has {recipe.members} members" if recipe.members > 1 else "has no members"
        raise RecipeError(f"'{recipe.name}' {has}; there is no member {member}.", "Leave --member out to train all.")
    if recipe.members == 1:
        return [(recipe, run)]
    numbers = range(1, recipe.members + 1) if member is None else [member]
    alone = replace(recipe, members=1, joined_by="logits")
    return [(replace(alone, seed=recipe.seed + number - 1), run / f"member-{number}") for number in numbers]


def join_members(
    recipe: Recipe, run: Path, val_records: Sequence[Record] = (), cache: Path = CACHE_FOLDER
) -> Checkpoint | None:
    """Writes `best.pt` of a recipe with members, or does nothing while a member is missing.

    Args:
        recipe: with members.
        run: folder of its run; `member-1/best.pt` and so on lie below.
        val_records: pictures that no member has learnt from; the metrics are theirs.
        cache: folder of decoded pictures.

    Raises:
        CheckpointError: a member was trained by another recipe, or left out other pictures than the first.
    """
    parts = member_runs(recipe, run)
    files = [folder / BEST for _, folder in parts]
    if not all(file.is_file() for file in files):
        return None
    members = [load_checkpoint(file) for file in files]
    for (wanted, folder), found in zip(parts, members, strict=True):
        if found.recipe != wanted:
            raise CheckpointError(f"{folder} holds a run of another recipe.", "Train this member again.")
        if found.held_out != members[0].held_out:
            raise CheckpointError(f"{folder} left out other pictures than {parts[0][1]}.", "Train both on one split.")
    networks = [member.model for member in members]
    model = Ensemble(networks).eval() if recipe.is_ensemble else mean_weights(networks)
    metrics: dict[str, float] = {}
    if val_records:
        metrics = validate(parts[0][0], model, serving_data(parts[0][0], val_records, cache))
    joined = Checkpoint(model, recipe, max(member.epoch for member in members), metrics, members[0].held_out)
    content = {"format": FORMAT, "recipe": recipe.to_dict(), "epoch": joined.epoch, "metrics": metrics}
    content |= {"held_out": list(joined.held_out), "weights": model.state_dict()}
    if all(member.learnt_lesions is not None for member in members):
        content["learnt_lesions"] = sorted({lesion for member in members for lesion in member.learnt_lesions or ()})
    save_atomic(content, run / BEST)
    return joined


def mean_weights(networks: Sequence[nn.Module]) -> nn.Module:
    """A network whose every weight and running statistic is the mean of those of these networks.

    Args:
        networks: at least one, of one architecture, which were trained apart from the same trained network.

    Returns:
        A new network in evaluation mode. Whole numbers (counts of batches) are the first network's.
    """
    states = [network.state_dict() for network in networks]
    mean = {
        key: torch.stack([state[key] for state in states]).mean(dim=0) if value.is_floating_point() else value
        for key, value in states[0].items()
    }
    joined = copy.deepcopy(networks[0])
    joined.load_state_dict(mean)
    return joined.eval()
