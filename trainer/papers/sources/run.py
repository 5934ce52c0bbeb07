"""Trains and scores arms; what is done already is not done again. No picture of `test` is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from trainer.data.cache import CACHE_FOLDER
from trainer.data.ham10000 import Record
from trainer.data.sources import taught
from trainer.data.splits import SplitName, named_split, standard_split
from trainer.errors import DataError
from trainer.papers.cost import epoch_seconds, processor
from trainer.papers.plan import Budget
from trainer.papers.sources.arms import Arm, arms
from trainer.papers.sources.rows import SCHEMA, ArmRow, read_arm, stem_of, write_arm
from trainer.papers.sources.table import write_table
from trainer.recipe import Recipe, recipe_from_dict
from trainer.scoring.alone import figures, score
from trainer.training.checkpoint import LAST, load_checkpoint
from trainer.training.initial import IMAGENET, RANDOM, weights_for
from trainer.training.loop import train

SPLIT: SplitName = "development"


@dataclass(frozen=True)
class SourcesJob:
    """A comparison over sources as asked for.

    Attributes:
        recipe: whose arms are compared.
        records: of all sources.
        out: folder of results; the recipe gets a folder of its own in it.
        runs: folder of the training runs.
        seeds: one training of each arm for each.
        only: names of arms; empty takes all.
        left_out: a source that no arm sees, on which all are judged too.
        budget: overrides epochs, size and the number of pictures; its seed is not used.
        weights: initial weights of all arms; a folder: of the file for its network each, and one arm more for every
            other classifier that has a file there.
        cache: folder of decoded pictures.
    """

    recipe: Recipe
    records: Sequence[Record]
    out: Path
    runs: Path
    seeds: tuple[int, ...] = (0, 1)
    only: tuple[str, ...] = ()
    left_out: str | None = None
    budget: Budget = field(default_factory=Budget)
    weights: Path | None = None
    cache: Path = CACHE_FOLDER

    @property
    def networks(self) -> list[str]:
        """Those with ImageNet weights in the folder; none where one file is given."""
        if self.weights is None or not self.weights.is_dir():
            return []
        return [name for name, file in IMAGENET.items() if (self.weights / file).is_file()]

    def weights_of(self, recipe: Recipe) -> Path | None:
        """What an arm starts from.

        Raises:
            DataError: the folder has nothing for its network.
        """
        if self.weights is None or not self.weights.is_dir():
            return self.weights
        found = weights_for(recipe, {}, self.weights)
        if found is None:
            raise DataError(
                f"'{self.weights}' has no ImageNet weights of '{recipe.model.name}'.",
                "Give the file with --init-weights, or no weights at all.",
            )
        return found

    @property
    def folder(self) -> Path:
        """Where the rows lie."""
        return self.out / (f"{self.recipe.name}-without-{self.left_out}" if self.left_out else self.recipe.name)


def compare_sources(job: SourcesJob, say: Callable[[str], None] = print) -> Path:
    """Makes or completes a comparison; returns its Markdown table.

    Arms learn from one half, by lesion, of `train` and `val` of their sources. They are judged on the other half, and
    on `train` and `val` of the source that is left out.

    Raises:
        TrainerError: an unknown arm or source, or unreadable data.
    """
    known = arms(job.recipe, job.left_out, job.networks)
    for name in job.only:
        if name not in [arm.name for arm in known]:
            raise DataError(f"There is no arm '{name}'.", f"Known: {', '.join(arm.name for arm in known)}.")
    sources = {record.source for record in job.records}
    if job.left_out is not None and job.left_out not in sources:
        raise DataError(f"The data hold {', '.join(sorted(sources))}.", f"'{job.left_out}' cannot be left out.")
    parts = named_split([record for record in job.records if record.source != job.left_out], SPLIT)
    away = standard_split([record for record in job.records if record.source == job.left_out]) if job.left_out else {}
    judged = [*parts["test"], *away.get("train", []), *away.get("val", [])]
    for seed in job.seeds:
        for arm in known:
            if not job.only or arm.name in job.only:
                _make(job, _fitted(job, arm, seed), [*parts["train"], *parts["val"]], judged, say)
    return write_table(job.folder)


def _fitted(job: SourcesJob, arm: Arm, seed: int) -> Arm:
    recipe = replace(job.budget, seed=None).fit_recipe(arm.recipe)
    return replace(arm, recipe=replace(recipe, seed=seed))


def _make(
    job: SourcesJob, arm: Arm, known: Sequence[Record], judged: Sequence[Record], say: Callable[[str], None]
) -> None:
    recipe = arm.recipe
    learnt = taught(recipe, known)
    if job.budget.limit is not None:
        learnt = learnt[:: max(1, len(learnt) // job.budget.limit)]
    if _done(job, arm, len(learnt)):
        say(f"{arm.name}, seed {recipe.seed}: done before")
        return
    say(f"{arm.name}, seed {recipe.seed}: {len(learnt)} pictures, {recipe.data.size} pixels")
    weights = job.weights_of(recipe)
    run = job.runs / _run_name(recipe, weights, learnt)
    train(recipe, learnt, [], run, weights=weights, measured=judged, cache=job.cache)
    scored = _scored(job.recipe, judged)
    scores = score(load_checkpoint(run / LAST), scored, job.cache)
    row = ArmRow(
        schema=SCHEMA,
        recipe_name=job.recipe.name,
        name=arm.name,
        what=arm.what,
        seed=recipe.seed,
        left_out=job.left_out or "",
        split=SPLIT,
        initialisation=weights.name if weights else RANDOM,
        train_images=len(learnt),
        epochs=recipe.optim.epochs,
        recipe_epochs=job.recipe.optim.epochs,
        size=recipe.data.size,
        recipe_size=job.recipe.data.size,
        train_minutes=round(sum(epoch_seconds(run)) / 60, 2),
        threads=torch.get_num_threads(),
        hardware=processor(),
        recipe=recipe.to_dict(),
        figures=figures(scores),
    )
    say(str(write_arm(job.folder, row, scores)))


def _scored(recipe: Recipe, judged: Sequence[Record]) -> list[Record]:
    """The same pictures for every arm of a recipe: those with masks for segmenters, and no copies of test pictures."""
    return [
        record
        for record in judged
        if record.image_id not in recipe.data.without
        and (recipe.task == "classification" or record.mask_path is not None)
    ]


def _done(job: SourcesJob, arm: Arm, pictures: int) -> bool:
    path = job.folder / f"{stem_of(arm.name, arm.recipe.seed)}.json"
    if not path.is_file():
        return False
    row = read_arm(path)
    weights = job.weights_of(arm.recipe)
    begun = weights.name if weights else RANDOM
    same = (row.train_images, row.initialisation) == (pictures, begun)
    return same and recipe_from_dict(row.recipe, path.name) == arm.recipe


def _run_name(recipe: Recipe, weights: Path | None, learnt: Sequence[Record]) -> str:
    """Changes with everything that decides the run, except the code."""
    decides = [recipe.to_dict(), weights and weights.name, [record.image_id for record in learnt]]
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:8]
    return f"{recipe.name}-seed{recipe.seed}-{digest}"
