"""Distillation: a network also learns what its teachers answer (Hinton, Vinyals and Dean, arXiv 1503.02531).

A teacher that has learnt from a picture of a lesion knows its label, and hands it on. So no teacher may have learnt
from a lesion on which the student is measured: its validation pictures, its fold, its test pictures.

What a teacher says about pictures that it learnt from is nearly their label, and teaches little. A cross-fitted teacher
has a network for each fold: each picture of the student's is answered by one that left its lesion out. Where such
answers are stored, the table stands for the teacher, see `trainer.training.stored_answers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.data.ham10000 import Record
from trainer.data.transforms import denormalize, normalize, resize_batch
from trainer.errors import LeakError, RecipeError
from trainer.recipe import DistillConfig, OptimConfig, Recipe
from trainer.training.checkpoint import Checkpoint, class_names, load_checkpoint
from trainer.training.folds import fold_folder
from trainer.training.precision import autocast, computes_bf16
from trainer.training.stored_answers import SUFFIX, StoredAnswers
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
        checkpoints: teachers trained for the task and the classes of `recipe`, on the same crop; each is one network,
            or the networks of its folds.
        recipe: of the student.
        device: `cpu` or `cuda`.
        records: the student's training pictures, which choose among the networks of folds and in tables; not needed
            without.
        tables: teachers whose answers to `records` are stored; with `checkpoints` at least one.

    Raises:
        DataError: a table lacks a picture, or answers other diagnoses.
        RecipeError: a teacher answers another question than the student, or looks at another crop.
    """

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint | Sequence[Checkpoint]],
        recipe: Recipe,
        device: str = "cpu",
        records: Sequence[Record] = (),
        tables: Sequence[StoredAnswers] = (),
    ) -> None:
        assert recipe.distill is not None
        if tables and recipe.task != "classification":
            raise RecipeError(
                f"'{recipe.name}' outlines, and {tables[0].path} answers with diagnoses.",
                "Name checkpoints as teachers.",
            )
        self.config: DistillConfig = recipe.distill
        self.recipe = recipe
        self.groups: list[list[tuple[nn.Module, Recipe]]] = []
        self.shares: list[NDArray[np.float32]] = []
        for item in checkpoints:
            group = [item] if isinstance(item, Checkpoint) else list(item)
            networks = []
            for checkpoint in group:
                _check_fit(checkpoint.recipe, recipe)
                model = checkpoint.model.eval().requires_grad_(False)
                model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
                networks.append((model, checkpoint.recipe))
            self.groups.append(networks)
            self.shares.append(answer_shares(group, records))
        temperature = self.config.temperature
        self.stored = [
            torch.from_numpy(table.softened(records, class_names(recipe), temperature)).to(device) for table in tables
        ]
        self.size = max((taught.data.size for group in self.groups for _, taught in group), default=0)

    @torch.no_grad()
    def __call__(self, batch: Batch, rows: NDArray[np.int64] | None = None) -> Hints:
        """Answers to a batch of the student's, each teacher at its own size, precision and with its own normalisation.

        The batch is best at the largest of all sizes, so that a teacher sees no picture that was reduced and enlarged.

        Args:
            batch: n pictures.
            rows: their positions in the student's training pictures, shape (n,); needed where a teacher has folds or is
                a table.
        """
        pictures = denormalize(batch.images, self.recipe.normalization)
        masks: list[Tensor] = []
        classes: list[Tensor] = []
        for networks, shares in zip(self.groups, self.shares, strict=True):
            alone = rows is None or len(networks) == 1
            own = np.ones((len(pictures), 1), np.float32) if alone else shares[rows]
            mask, named = self._answers(networks, own, pictures, batch)
            masks += [] if mask is None else [mask]
            classes += [] if named is None else [named]
        if self.stored:
            assert rows is not None
            classes += [table[torch.from_numpy(rows).to(table.device)] for table in self.stored]
        return Hints(torch.stack(masks).mean(0) if masks else None, torch.stack(classes).mean(0) if classes else None)

    def _answers(
        self, networks: Sequence[tuple[nn.Module, Recipe]], shares: NDArray[np.float32], pictures: Tensor, batch: Batch
    ) -> tuple[Tensor | None, Tensor | None]:
        """One teacher's masks and classes: each picture's mean over the networks that answer for it."""
        masks: Tensor | None = None
        classes: Tensor | None = None
        for number, (model, recipe) in enumerate(networks[: shares.shape[1]]):
            asked = torch.from_numpy(np.flatnonzero(shares[:, number])).to(pictures.device)
            if not len(asked):
                continue
            weight = torch.from_numpy(shares[:, number]).to(pictures.device)[asked]
            images = normalize(resize_batch(pictures[asked], recipe.data.size), recipe.normalization)
            images = images.contiguous(memory_format=torch.channels_last)
            metadata = batch.metadata[asked] if recipe.data.metadata and batch.metadata is not None else None
            inputs = (images,) if metadata is None else (images, metadata)
            with _as_trained(recipe.optim, pictures.device.type):
                mask_logits, class_logits = split_outputs(recipe.task, model(*inputs))
            if mask_logits is not None:
                found = resize_batch(mask_logits.float().sigmoid(), self.size) * weight[:, None, None, None]
                masks = found.new_zeros(len(pictures), *found.shape[1:]) if masks is None else masks
                masks.index_add_(0, asked, found)
            if class_logits is not None:
                named = F.softmax(class_logits.float() / self.config.temperature, 1) * weight[:, None]
                classes = named.new_zeros(len(pictures), named.shape[1]) if classes is None else classes
                classes.index_add_(0, asked, named)
        return masks, classes

    def mix(self, hard: Tensor, outputs: Any, hints: Hints) -> Tensor:
        """The student's own loss and the teachers', in the recipe's shares."""
        soft = soft_loss(self.recipe.task, outputs, hints, self.config.temperature)
        return (1 - self.config.share) * hard + self.config.share * soft


def soft_loss(task: str, outputs: Any, hints: Hints, temperature: float) -> Tensor:
    """How far a student's outputs are from its teachers' answers, as a scalar; for joint networks the sum of both.

    For classes: temperature^2 times the Kullback-Leibler divergence from the teachers' softened probabilities to the
    student's (Hinton et al., section 2: the square keeps the gradient's size). For masks: binary cross-entropy with the
    teachers' probability map, without temperature, averaged over the pixels; of several levels (deep supervision) the
    finest alone, which answers in use.
    """
    mask_logits, class_logits = split_outputs(task, outputs)
    losses: list[Tensor] = []
    if mask_logits is not None and hints.masks is not None:
        wanted = resize_batch(hints.masks, mask_logits.shape[-1])
        losses.append(F.binary_cross_entropy_with_logits(mask_logits[:, :1].float(), wanted))
    if class_logits is not None and hints.classes is not None:
        student = F.log_softmax(class_logits.float() / temperature, 1)
        losses.append(temperature**2 * F.kl_div(student, hints.classes, reduction="batchmean"))
    return torch.stack(losses).sum()


def answer_shares(networks: Sequence[Checkpoint], records: Sequence[Record]) -> NDArray[np.float32]:
    """How much of the answer about each record each network of a teacher gives, shape (n, networks); rows sum to 1.

    Those that left the record's lesion out answer, and where none did, all.
    """
    lesions = [record.lesion_id for record in records]
    learnt = [network.learnt_lesions or frozenset() for network in networks]
    unseen = np.array([[lesion not in own for own in learnt] for lesion in lesions], np.float32)
    unseen = unseen.reshape(len(records), len(networks))
    unseen[unseen.sum(1) == 0] = 1
    shares: NDArray[np.float32] = unseen / unseen.sum(1, keepdims=True)
    return shares


def load_teachers(
    recipe: Recipe, measured: Sequence[Record], train_records: Sequence[Record] = (), device: str = "cpu"
) -> Teachers | None:
    """The teachers that a recipe names, None where it names none.

    A teacher with networks of folds beside its checkpoint (which need not exist then) is represented by those of them
    that have learnt from no lesion of `measured`. A name that ends in `.parquet` is a table of stored answers.

    Args:
        recipe: of the student.
        measured: every picture on which the student will be measured.
        train_records: the student's training pictures.
        device: `cpu` or `cuda`.

    Raises:
        CheckpointError: a teacher's file is missing, or neither checkpoint nor table.
        DataError: a table lacks a training picture, or answers other diagnoses.
        LeakError: a teacher has learnt from a lesion on which the student is measured, or does not say what it has
            learnt from.
        RecipeError: a teacher answers another question, or looks at another crop.
    """
    if recipe.distill is None:
        return None
    groups: list[list[Checkpoint]] = []
    tables: list[StoredAnswers] = []
    for path in map(Path, recipe.distill.teachers):
        if path.suffix == SUFFIX:
            tables.append(StoredAnswers.read(path))
            tables[-1].check_no_leak(measured)
            continue
        files = _fold_files(path) or [path]
        loaded = [load_checkpoint(file) for file in files]
        fitting, refusal = [], None
        for file, teacher in zip(files, loaded, strict=True):
            try:
                check_no_leak(file, teacher, measured)
            except LeakError as error:
                refusal = refusal or error
            else:
                fitting.append(teacher)
        if refusal is not None and not fitting:
            raise refusal
        groups.append(fitting)
    return Teachers(groups, recipe, device, train_records, tables)


def _fold_files(path: Path) -> list[Path]:
    """Checkpoints of a teacher's folds, in order, as many as there are."""
    found: list[Path] = []
    while (file := fold_folder(path.parent, len(found) + 1) / path.name).is_file():
        found.append(file)
    return found


def check_no_leak(path: Path, teacher: Checkpoint, measured: Sequence[Record]) -> None:
    """Raises LeakError where a teacher has learnt from a lesion on which the student is measured, or does not say."""
    if not measured:
        return
    if teacher.learnt_lesions is None:
        raise LeakError(f"{path} does not say which lesions it has learnt from.", "Train this teacher again.")
    seen = sorted({record.lesion_id for record in measured} & teacher.learnt_lesions)
    if seen:
        raise LeakError(
            f"{path} has learnt from {len(seen)} of the lesions that the student is measured on (first {seen[0]}): the "
            "student would learn from it what it is asked later.",
            "Use a teacher of the same data, split and folds.",
        )


def _as_trained(config: OptimConfig, device: str) -> torch.autocast:
    """A teacher trained in bf16 answers in bf16 for a student in float32 too, where that is not slower."""
    return autocast(config if computes_bf16(device) else replace(config, precision="float32"), device)


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
