"""Weights on disk: atomic checkpoints, and partial initialisation from another network's weights."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trainer.data.ham10000 import DX
from trainer.errors import CheckpointError
from trainer.models import create
from trainer.models.ensemble import Ensemble
from trainer.recipe import Recipe, recipe_from_dict

FORMAT = 1
BEST, LAST = "best.pt", "last.pt"


class Checkpoint(NamedTuple):
    """A trained network in eval mode (the moving average of its weights), and the recipe that it was trained by.

    `epoch` counts from 1; `metrics` are those of that epoch on `val`, the pictures in `held_out` (image ids).
    `learnt_lesions` are the lesion ids of the training pictures; None where an older file does not say.
    """

    model: nn.Module
    recipe: Recipe
    epoch: int
    metrics: dict[str, float]
    held_out: tuple[str, ...] = ()
    learnt_lesions: frozenset[str] | None = None


@dataclass(frozen=True)
class InitReport:
    """What partial initialisation did: names of tensors loaded, left as they were, and not used from the file."""

    loaded: tuple[str, ...]
    fresh: tuple[str, ...]
    unused: tuple[str, ...]

    def describe(self) -> str:
        """One line for the log."""
        parts = [f"{len(self.loaded)} tensors loaded", f"{len(self.fresh)} start fresh ({_groups(self.fresh)})"]
        if self.unused:
            parts.append(f"{len(self.unused)} in the file not used ({_groups(self.unused)})")
        return ", ".join(parts)


def class_names(recipe: Recipe) -> tuple[str, ...]:
    """Names of the classifier's outputs in order; empty for segmentation."""
    return {"mask": (), "dx": DX, "melanoma": ("other", "mel"), "keratosis": ("other", "bkl")}[recipe.data.target]


def build_model(recipe: Recipe) -> nn.Module:
    """The recipe's network, or the ensemble of its members, with fresh weights."""
    options: dict[str, Any] = dict(recipe.model.options)
    if recipe.task != "segmentation":
        options["classes"] = len(class_names(recipe))
    if recipe.data.styles:
        options["styles"] = len(recipe.data.styles)
    if recipe.is_ensemble:
        return Ensemble(create(recipe.model.name, **options) for _ in range(recipe.members))
    return create(recipe.model.name, **options)


def save_atomic(content: dict[str, Any], path: Path) -> None:
    """Writes beside the target and renames, so that a reader never sees half a file.

    Raises:
        CheckpointError: it cannot be written; the older file stays.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        try:
            torch.save(content, draft)
            draft.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """What a full disk or a read-only folder stops becomes a typed error.

    Raises:
        CheckpointError: in place of an OSError, or of the RuntimeError that torch's own writer has for it.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"Cannot write {path}: {getattr(error, 'strerror', None) or str(error).splitlines()[0]}.",
            "Make room or mend permissions, and train again: it continues after the last finished epoch.",
        ) from error


def read_file(path: str | Path) -> dict[str, Any]:
    """Reads a file of tensors and plain values; code in it is never executed.

    Raises:
        CheckpointError: there is no such file, or it holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.", "Train first, or correct the path.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read: {error}.", "Use a file that torch.save wrote.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no dictionary of tensors.", "Use a state dict or a checkpoint.")
    return content


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Reads `best.pt` or `last.pt` of a run.

    Returns:
        The network on the CPU in eval mode, float32, contiguous, and its recipe.

    Raises:
        CheckpointError: missing, unreadable, of another format, or the weights do not fit the recipe's network.
    """
    content = read_file(path)
    if content.get("format") != FORMAT or "weights" not in content:
        raise CheckpointError(f"{path} is no checkpoint of this trainer.", "Use best.pt or last.pt of a run.")
    recipe = recipe_from_dict(content["recipe"], where=str(path))
    model = build_model(recipe)
    try:
        model.load_state_dict(content["weights"])
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit {recipe.model.name}: {error}", "Train again.") from error
    learnt = content.get("learnt_lesions")
    return Checkpoint(
        model.eval(),
        recipe,
        content["epoch"],
        content["metrics"],
        tuple(content.get("held_out", ())),
        None if learnt is None else frozenset(learnt),
    )


def init_weights(model: nn.Module, path: str | Path) -> InitReport:
    """Loads every tensor of a weight file that the network, or its `encoder`, has under the same name and shape.

    Args:
        model: changed in place.
        path: a state dict of float tensors, for example torchvision's; a checkpoint of this trainer works too.

    Raises:
        CheckpointError: no tensor fits, or a tensor has the right name and another shape.
    """
    content = read_file(path)
    source: dict[str, Tensor] = content.get("weights", content)
    target = model.state_dict()
    loaded: dict[str, Tensor] = {}
    used: set[str] = set()
    for name, value in target.items():
        for candidate in (name, name.removeprefix("encoder."), name.removeprefix("encoder.model.")):
            if candidate in source:
                if source[candidate].shape != value.shape:
                    raise CheckpointError(
                        f"{path}: {candidate} has shape {tuple(source[candidate].shape)}, and the network "
                        f"{tuple(value.shape)}.",
                        "Use weights of the same architecture.",
                    )
                loaded[name] = source[candidate].to(value.dtype)
                used.add(candidate)
                break
    if not loaded:
        raise CheckpointError(f"{path}: no tensor has a name of this network.", "Use weights of its architecture.")
    model.load_state_dict(loaded, strict=False)
    # BatchNorm's step counter is no weight: files of pretrained weights often leave it out.
    fresh = tuple(name for name in target if name not in loaded and not name.endswith("num_batches_tracked"))
    return InitReport(tuple(loaded), fresh, tuple(name for name in source if name not in used))


def _groups(names: tuple[str, ...]) -> str:
    heads = dict.fromkeys(name.partition(".")[0] for name in names)
    return ", ".join(heads) or "none"
