"""A comparison as it is asked for, and what decides one of its runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trainer.data.splits import SplitName
from trainer.papers.plan import Budget, Plan
from trainer.papers.plans import Table
from trainer.recipe import Recipe


@dataclass(frozen=True)
class Job:
    """A comparison as asked for on the command line.

    Attributes:
        table: which one.
        data: folder of the data set.
        out: folder of results; the table gets a folder of its own in it.
        runs: folder of the training runs.
        base, only: see `trainer.papers.plans.plans`.
        budget: overrides of the recipes.
        split: how to split the pictures.
        split_seed: of a drawn split.
        segmenter: bundle or checkpoint for predicted crops; None: ground-truth crops only.
        weights: initial weights by the row's name.
        imagenet: folder of ImageNet weights for the rows that `weights` does not name.
        external: folder of another data set: each of its sources with masks in `test`, which no row learns from, gets
            figures of its own beside every row.
        pace: name of the time that the budget was fitted to, see `trainer.papers.pace`; "" where it was not.
        cut: why the budget takes longer than its pace; "" where it does not.
        fresh: train and evaluate again what is there.
        device: `cpu` or `cuda`.
        cache: folder of decoded pictures.
    """

    table: Table
    data: Path
    out: Path
    runs: Path
    base: str | None = None
    only: tuple[str, ...] = ()
    budget: Budget = field(default_factory=Budget)
    split: SplitName = "column"
    split_seed: int = 0
    segmenter: str | None = None
    weights: Mapping[str, Path] = field(default_factory=dict)
    imagenet: Path | None = None
    external: Path | None = None
    pace: str = ""
    cut: str = ""
    fresh: bool = False
    device: str = "cpu"
    cache: Path = Path("cache")


def trained(plan: Plan) -> Recipe:
    """The recipe under the name of the row whose network it is."""
    return replace(plan.recipe, name=plan.weights_of or plan.name)


def beyond_defaults(value: Any) -> Any:
    """A configuration as plain values, without those that equal their defaults."""
    if not dataclasses.is_dataclass(value):
        return value
    kept = {}
    for entry in dataclasses.fields(value):
        found, made = getattr(value, entry.name), entry.default_factory
        default = made() if made is not dataclasses.MISSING else entry.default
        if found != default:
            kept[entry.name] = beyond_defaults(found)
    return kept
