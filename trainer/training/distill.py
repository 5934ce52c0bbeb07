"""Distillation: a network also learns what its teachers answer (Hinton, Vinyals and Dean, arXiv 1503.02531).

A teacher that has learnt from a picture knows its label, and hands it on. So no teacher may have learnt from a picture
that validates the student.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.data.ham10000 import Record
from trainer.data.transforms import denormalize, normalize, resize_batch
from trainer.errors import LeakError, RecipeError
from trainer.recipe import DistillConfig, Recipe
from trainer.training.checkpoint import Checkpoint, load_checkpoint
from trainer.training.folds import fold_folder
from trainer.training.tasks import Batch, split_outputs


@dataclass(frozen=True)
class Hints:
    """What the teachers answer, averaged.

    Attributes:
        masks: probability of lesion, float32, shape (n, 1, h, w) at the teachers' largest size, for masks.
        classes: probabilities softened by the temperature, float32, shape (n, classes), for classes.
    """

    masks: Tensor | None
    classes: Tensor | None


class Teachers:
    """Trained networks in eval mode, and the loss that follows them.

    Args:
        checkpoints: at least one, trained for the task and the classes of `recipe`, on the same crop.
        recipe: of the student.
        device: `cpu` or `cuda`.

    Raises:
        RecipeError: a teacher answers another question than the student, or looks at another crop.
    """

    def __init__(self, checkpoints: Sequence[Checkpoint], recipe: Recipe, device: str = "cpu") -> None:
        assert recipe.distill is not None
        self.config: DistillConfig = recipe.distill
        self.recipe = recipe
        self.networks: list[tuple[nn.Module, Recipe]] = []
        for checkpoint in checkpoints:
            _check_fit(checkpoint.recipe, recipe)
            model = checkpoint.model.eval().requires_grad_(False)
            model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.networks.append((model, checkpoint.recipe))
        self.size = max(taught.data.size for _, taught in self.networks)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Hints:
        """Answers to a batch of the student's, each teacher at its own size and with its own normalisation.

        The batch is best at the largest of all sizes, so that a teacher sees no picture that was reduced and enlarged.
        """
        pictures = denormalize(batch.images, self.recipe.normalization)
        masks: list[Tensor] = []
        classes: list[Tensor] = []
        for model, recipe in self.networks:
            images = normalize(resize_batch(pictures, recipe.data.size), recipe.normalization)
            images = images.contiguous(memory_format=torch.channels_last)
            inputs = (images, batch.metadata) if recipe.data.metadata else (images,)
            mask_logits, class_logits = split_outputs(recipe.task, model(*inputs))
            if mask_logits is not None:
                masks.append(resize_batch(mask_logits.float().sigmoid(), self.size))
            if class_logits is not None:
                classes.append(F.softmax(class_logits.float() / self.config.temperature, 1))
        return Hints(torch.stack(masks).mean(0) if masks else None, torch.stack(classes).mean(0) if classes else None)

    def mix(self, hard: Tensor, outputs: Any, hints: Hints) -> Tensor:
        """The student's own loss and the teachers', in the recipe's shares."""
        soft = soft_loss(self.recipe.task, outputs, hints, self.config.temperature)
        return (1 - self.config.share) * hard + self.config.share * soft


def soft_loss(task: str, outputs: Any, hints: Hints, temperature: float) -> Tensor:
    """How far a student's outputs are from its teachers' answers, as a scalar; for joint networks the sum of both.

    For classes: temperature^2 times the Kullback-Leibler divergence from the teachers' softened probabilities to the
    student's (Hinton et al., section 2: the square keeps the gradient's size). For masks: binary cross-entropy with the
    teachers' probability map, without temperature, averaged over the pixels.
    """
    mask_logits, class_logits = split_outputs(task, outputs)
    losses: list[Tensor] = []
    if mask_logits is not None and hints.masks is not None:
        wanted = resize_batch(hints.masks, mask_logits.shape[-1])
        losses.append(F.binary_cross_entropy_with_logits(mask_logits.float(), wanted))
    if class_logits is not None and hints.classes is not None:
        student = F.log_softmax(class_logits.float() / temperature, 1)
        losses.append(temperature**2 * F.kl_div(student, hints.classes, reduction="batchmean"))
    return torch.stack(losses).sum()


def load_teachers(
    recipe: Recipe, val_records: Sequence[Record], fold: int | None = None, device: str = "cpu"
) -> Teachers | None:
    """The teachers that a recipe names, None where it names none.

    Args:
        recipe: of the student.
        val_records: the student's validation pictures.
        fold: the fold that the student leaves out. A cross-fitted teacher is then represented by its network that
            leaves out the same fold.
        device: `cpu` or `cuda`.

    Raises:
        CheckpointError: a teacher's file is missing or no checkpoint.
        LeakError: a teacher has learnt from a validation picture of the student, or does not say that it has not.
        RecipeError: a teacher answers another question, or looks at another crop.
    """
    if recipe.distill is None:
        return None
    checkpoints: list[Checkpoint] = []
    for path in map(Path, recipe.distill.teachers):
        own = path if fold is None else fold_folder(path.parent, fold) / path.name
        found = own if own.is_file() else path
        checkpoints.append(load_checkpoint(found))
        check_no_leak(found, checkpoints[-1], val_records)
    return Teachers(checkpoints, recipe, device)


def check_no_leak(path: Path, teacher: Checkpoint, val_records: Sequence[Record]) -> None:
    """Raises LeakError where the pictures that a teacher left out do not hold all of the student's validation."""
    seen = sorted({record.image_id for record in val_records} - set(teacher.held_out))
    if seen:
        raise LeakError(
            f"{path} held out {len(teacher.held_out)} pictures, and not {len(seen)} of the {len(val_records)} that "
            f"validate the student (first {seen[0]}): the student would learn from it what validates it.",
            "Use a teacher of the same data, split and fold, and leave --limit out of its training.",
        )


def _check_fit(teacher: Recipe, student: Recipe) -> None:
    pairs = {
        "task": (teacher.task, student.task),
        "data.target": (teacher.data.target, student.data.target),
        "data.roi": (teacher.data.roi, student.data.roi),
    }
    for key, (theirs, ours) in pairs.items():
        if theirs != ours:
            raise RecipeError(
                f"The teacher '{teacher.name}' has {key} {theirs}, and '{student.name}' {ours}.",
                "Use a teacher that answers the same question about the same crop.",
            )
    if teacher.data.metadata and not student.data.metadata:
        raise RecipeError(
            f"The teacher '{teacher.name}' takes metadata, and '{student.name}' does not load them.",
            "Set data.metadata in both, or use another teacher.",
        )
