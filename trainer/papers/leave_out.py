"""Training without a source, to see what a network is worth in a place that nobody showed it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trainer.data.cache import CACHE_FOLDER
from trainer.data.ham10000 import Record
from trainer.data.sources import taught
from trainer.data.splits import spread, standard_split
from trainer.errors import DataError
from trainer.recipe import Recipe
from trainer.scoring.alone import Scores, score
from trainer.training.checkpoint import BEST, load_checkpoint
from trainer.training.loop import train


@dataclass(frozen=True)
class LeftOut:
    """What came of a training without a source.

    Attributes:
        scores: of the source that was left out, then of the validation pictures of the others.
        train_images: pictures that taught.
    """

    scores: Scores
    train_images: int


def without_source(recipe: Recipe, source: str) -> Recipe:
    """The recipe that learns from the others; it keeps its last epoch and has no folds.

    Raises:
        DataError: it would learn from nothing.
    """
    others = {name: item for name, item in recipe.data.sources.items() if name != source}
    if recipe.data.sources and not others:
        raise DataError(f"'{recipe.name}' learns from {source} alone.", "Leave another source out.")
    styles = tuple(name for name in recipe.data.styles if name != source)
    data = replace(recipe.data, sources=others, styles=styles if len(styles) > 1 else ())
    optim = replace(recipe.optim, keep="last", patience=0)
    return replace(recipe, name=f"{recipe.name}-without-{source}", data=data, optim=optim, folds=0)


def leave_out(
    recipe: Recipe,
    source: str,
    records: Sequence[Record],
    out: Path,
    *,
    weights: Path | None = None,
    limit: int | None = None,
    cache: Path = CACHE_FOLDER,
    device: str = "cpu",
) -> LeftOut:
    """Trains without a source and scores the network on it, and on the validation pictures of the others.

    The `test` split of no source is read: of the source that is left out, `train` and `val` are scored.

    Args:
        recipe: what to train; see `without_source`.
        source: the one to leave out.
        records: all data.
        out: folder of the run; an interrupted run there is continued.
        weights: initial weights.
        limit: use only so many pictures of each part: a trial.
        cache: folder of decoded pictures.
        device: `cpu` or `cuda`.

    Raises:
        DataError: there is no such source, nothing is left without it, or none of its pictures can be scored.
        LeakError: a teacher knows the source that is left out.
    """
    names = sorted({record.source for record in records})
    if source not in names or len(names) < 2:
        raise DataError(f"The data hold {', '.join(names)}; '{source}' cannot be left out.", "Name one of several.")
    changed = without_source(recipe, source)
    parts = standard_split(records)
    others = {
        name: taught(changed, [record for record in parts[name] if record.source != source], records)
        for name in ("train", "val")
    }
    unseen = [record for name in ("train", "val") for record in parts[name] if record.source == source]
    if recipe.task != "classification":
        unseen = [record for record in unseen if record.mask_path is not None]
    if not unseen:
        raise DataError(f"No picture of '{source}' can be scored by '{recipe.name}'.", "It needs masks.")
    learnt, validating, scored = (spread(part, limit) for part in (others["train"], others["val"], unseen))
    train(
        changed,
        learnt,
        validating,
        out,
        weights=weights,
        split=f"without-{source}",
        limit=limit,
        measured=scored,
        cache=cache,
        device=device,
    )
    return LeftOut(score(load_checkpoint(out / BEST), [*scored, *validating], cache), len(learnt))
