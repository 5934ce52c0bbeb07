"""What differs between the kinds of network: their arrays, targets, loss, and validation metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.data.cache import CACHE_FOLDER, CachedArrays, cache_crops, cache_pictures
from trainer.data.ham10000 import Record
from trainer.data.metadata import encode_metadata
from trainer.data.sampling import source_chances
from trainer.data.transforms import resize_batch
from trainer.recipe import Recipe
from trainer.training.checkpoint import class_names
from trainer.training.losses import BceDiceLoss, FocalDiceLoss, PartlyKnown, build_class_loss
from trainer.training.outliners import open_outliner

_POSITIVE = {"dx": "mel", "melanoma": "mel", "keratosis": "bkl"}


@dataclass(frozen=True)
class Dataset:
    """One split, decoded.

    Attributes:
        arrays: cached pictures.
        labels: int64, shape (n,), `UNKNOWN_LABEL` where only "not melanoma" is known; None for segmentation.
        metadata: float32, shape (n, 3), see `trainer.data.metadata`; None where the recipe does not use it.
        styles: int64, shape (n,), positions in `data.styles`; None where the recipe has none.
        chances: float64, shape (n,), see `trainer.data.sampling`; None where the recipe draws otherwise.
    """

    arrays: CachedArrays
    labels: NDArray[np.int64] | None
    metadata: NDArray[np.float32] | None = None
    styles: NDArray[np.int64] | None = None
    chances: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.arrays)


@dataclass(frozen=True)
class Batch:
    """What one step sees.

    Attributes:
        images: normalised RGB, float32, shape (n, 3, h, w).
        masks: float32 0/1, shape (n, 1, h, w), for networks that segment.
        labels: int64, shape (n,), for networks that classify.
        metadata: float32, shape (n, 3), for networks that take it.
        styles: int64, shape (n,), for networks that learn several styles of masks; None in use.
    """

    images: Tensor
    masks: Tensor | None
    labels: Tensor | None
    metadata: Tensor | None
    styles: Tensor | None = None

    def inputs(self) -> tuple[Tensor, ...]:
        """The network's arguments."""
        return tuple(item for item in (self.images, self.metadata, self.styles) if item is not None)

    def resized(self, size: int) -> Batch:
        """The same pictures with a side of so many pixels; masks are cut at one half."""
        if self.images.shape[-1] == size:
            return self
        images = resize_batch(self.images, size).contiguous(memory_format=torch.channels_last)
        masks = None if self.masks is None else (resize_batch(self.masks, size) >= 0.5).float()
        return replace(self, images=images, masks=masks)


def training_data(recipe: Recipe, records: Sequence[Record], cache: Path = CACHE_FOLDER) -> Dataset:
    """Arrays for training: crops are cut wider than in use, so that augmentation can move the frame."""
    data = recipe.data
    decoded = _dataset(recipe, records, cache, data.cache_size or data.size, data.cache_margin)
    if data.styles:
        known = {name: number for number, name in enumerate(data.styles)}
        decoded = replace(decoded, styles=np.array([known.get(record.source, 0) for record in records], np.int64))
    if data.sampling == "sources":
        decoded = replace(decoded, chances=source_chances(records, data.source_power, data.sources))
    return decoded


def serving_data(recipe: Recipe, records: Sequence[Record], cache: Path = CACHE_FOLDER) -> Dataset:
    """Arrays for validation and tests: exactly what the network sees in use, given the ground-truth mask."""
    return _dataset(recipe, records, cache, recipe.data.size, None)


def labels_of(recipe: Recipe, records: Sequence[Record]) -> NDArray[np.int64] | None:
    """Positions in `class_names(recipe)`, int64, shape (n,); None for segmentation."""
    if not class_names(recipe):
        return None
    if recipe.data.target == "dx":
        return np.array([record.label for record in records], np.int64)
    return np.array([int(record.dx == _POSITIVE[recipe.data.target]) for record in records], np.int64)


def _dataset(recipe: Recipe, records: Sequence[Record], cache: Path, size: int, margin: float | None) -> Dataset:
    labels = labels_of(recipe, records)
    metadata = encode_metadata(records) if recipe.data.metadata else None
    if recipe.data.roi is None:
        return Dataset(cache_pictures(records, size, cache, masks=recipe.task != "classification"), labels, metadata)
    outline = None if recipe.data.outline is None else partial(open_outliner, recipe.data.outline)
    crops = cache_crops(records, size, recipe.data.roi, margin=margin, outline=outline, folder=cache)
    return Dataset(crops, labels, metadata)


class Objective(nn.Module):
    """A recipe's loss: from a network's outputs and the batch to a scalar.

    Where a network gives masks of several levels, the loss for masks is the mean of the levels' own: each is taught
    (deep supervision, Zhou et al., arXiv 1807.10165: binary cross-entropy and Dice at each of four levels).

    Args:
        recipe: names the losses.
        counts: pictures of each class in the training split, for logit adjustment; None: no adjustment.
    """

    adjustment: Tensor

    def __init__(self, recipe: Recipe, counts: NDArray[np.int64] | None = None) -> None:
        super().__init__()
        self.task = recipe.task
        self.mask_loss = FocalDiceLoss(recipe.loss.focal_gamma) if recipe.task == "joint" else BceDiceLoss()
        self.class_loss = None if recipe.task == "segmentation" else build_class_loss(recipe.loss)
        if self.class_loss is not None and recipe.data.target == "dx":
            self.class_loss = PartlyKnown(self.class_loss, class_names(recipe).index(_POSITIVE["dx"]))
        adjustment = torch.zeros(1)
        if counts is not None and recipe.loss.logit_adjustment:
            share = torch.from_numpy(np.maximum(counts, 1) / counts.sum()).float()
            adjustment = recipe.loss.logit_adjustment * share.log()
        self.register_buffer("adjustment", adjustment)

    def forward(self, outputs: Any, batch: Batch) -> Tensor:
        """Outputs as `split_outputs` takes them."""
        mask_logits, class_logits = split_outputs(self.task, outputs)
        loss = batch.images.new_zeros(())
        if mask_logits is not None:
            levels = torch.split(mask_logits.float(), 1, 1)
            loss = loss + torch.stack([self.mask_loss(level, batch.masks) for level in levels]).mean()
        if class_logits is not None and self.class_loss is not None:
            loss = loss + self.class_loss(class_logits.float() + self.adjustment, batch.labels)
        return loss


def split_outputs(task: str, outputs: Any) -> tuple[Tensor | None, Tensor | None]:
    """A network's outputs as mask logits (n, 1, h, w) and class logits (n, classes); joint networks give both.

    While it trains, a network with deep supervision gives mask logits (n, levels, h, w), the finest level first.
    """
    if task == "joint":
        mask_logits, class_logits = outputs
        return mask_logits, class_logits
    return (outputs, None) if task == "segmentation" else (None, outputs)


def picture_scores(recipe: Recipe, outputs: Any, batch: Batch) -> dict[str, Tensor]:
    """What validation needs of each picture, shape (n,) each, on the CPU.

    `dice` and `jaccard` at threshold 0.5 (1 where both are empty); `probability` of the positive class, `positive`
    (the truth) and `correct`.
    """
    mask_logits, class_logits = split_outputs(recipe.task, outputs)
    scores: dict[str, Tensor] = {}
    if mask_logits is not None and batch.masks is not None:
        predicted, truth = (mask_logits >= 0).flatten(1).float(), batch.masks.flatten(1)
        overlap, total = (predicted * truth).sum(1), predicted.sum(1) + truth.sum(1)
        dice = torch.where(total > 0, 2 * overlap / total.clamp(min=1), 1.0)
        scores |= {"dice": dice, "jaccard": dice / (2 - dice)}
    if class_logits is not None and batch.labels is not None:
        positive = class_names(recipe).index(_POSITIVE[recipe.data.target])
        probability = F.softmax(class_logits.float(), 1)
        scores["probability"] = probability[:, positive]
        scores["positive"] = batch.labels == positive
        answers = probability.argmax(1)
        benign = (batch.labels < 0) & (answers != positive)
        scores["correct"] = ((answers == batch.labels) | benign).float()
    return {name: value.detach().cpu() for name, value in scores.items()}


def summarise(recipe: Recipe, scores: dict[str, Tensor]) -> dict[str, float]:
    """Validation metrics from the scores of all pictures.

    `dice` and `jaccard` are means over pictures; `auc_melanoma` (or `auc_keratosis`) is one against the rest, NaN where
    one side is missing; `accuracy` is over all classes.
    """
    found: dict[str, float] = {name: float(scores[name].mean()) for name in ("dice", "jaccard") if name in scores}
    if "positive" in scores:
        truth = scores["positive"].numpy()
        both = 0 < truth.sum() < len(truth)
        found[_auc_name(recipe)] = float(roc_auc_score(truth, scores["probability"])) if both else float("nan")
        found["accuracy"] = float(scores["correct"].mean())
    return found


def monitored(recipe: Recipe) -> str:
    """The validation metric that chooses the best epoch; higher is better."""
    return "dice" if recipe.task == "segmentation" else _auc_name(recipe)


def _auc_name(recipe: Recipe) -> str:
    return "auc_keratosis" if recipe.data.target == "keratosis" else "auc_melanoma"
