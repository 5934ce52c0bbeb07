"""What differs between the two kinds of network: their arrays, targets, and validation metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional as F

from trainer.checkpoint import class_names
from trainer.config import Recipe
from trainer.data.cache import CACHE_FOLDER, CachedArrays, cache_crops, cache_pictures
from trainer.data.ham10000 import Record

MONITORED = {"segmentation": "dice", "classification": "auc_melanoma"}
"""The validation metric that chooses the best epoch; higher is better."""


@dataclass(frozen=True)
class Dataset:
    """Cached pictures of one split and, for classification, their labels: int64, shape (n,)."""

    arrays: CachedArrays
    labels: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.arrays)


def training_data(recipe: Recipe, records: Sequence[Record], cache: Path = CACHE_FOLDER) -> Dataset:
    """Arrays for training: crops are cut wider than in use, so that augmentation can move the frame."""
    return _dataset(recipe, records, cache, recipe.data.cache_size or recipe.data.size, recipe.data.cache_margin)


def serving_data(recipe: Recipe, records: Sequence[Record], cache: Path = CACHE_FOLDER) -> Dataset:
    """Arrays for validation and tests: exactly what the network sees in use, given the ground-truth mask."""
    return _dataset(recipe, records, cache, recipe.data.size, None)


def labels_of(recipe: Recipe, records: Sequence[Record]) -> NDArray[np.int64] | None:
    """Positions in `class_names(recipe)`, int64, shape (n,); None for segmentation."""
    names = class_names(recipe)
    if not names:
        return None
    melanoma_only = recipe.data.target == "melanoma"
    return np.array([int(record.dx == "mel") if melanoma_only else record.label for record in records], np.int64)


def _dataset(recipe: Recipe, records: Sequence[Record], cache: Path, size: int, margin: float | None) -> Dataset:
    labels = labels_of(recipe, records)
    if recipe.data.roi is None:
        return Dataset(cache_pictures(records, size, cache), labels)
    return Dataset(cache_crops(records, size, recipe.data.roi, margin=margin, folder=cache), labels)


def target_for_loss(masks: Tensor | None, labels: Tensor | None) -> Tensor:
    """Masks as float32 (n, 1, h, w), or labels as int64 (n,)."""
    if labels is not None:
        return labels
    assert masks is not None
    return masks.unsqueeze(1).float()


def metrics(recipe: Recipe, logits: Tensor, target: Tensor) -> dict[str, float]:
    """Validation metrics from float32 logits and targets as `target_for_loss` gives them.

    Segmentation: `dice`, per picture at threshold 0.5 and averaged, and `jaccard`. Classification: `auc_melanoma` (one
    against the rest) and `accuracy`.
    """
    if recipe.task == "segmentation":
        overlap, total = overlap_and_total(logits, target)
        dice = torch.where(total > 0, 2 * overlap / total.clamp(min=1), 1.0)
        return {"dice": float(dice.mean()), "jaccard": float((dice / (2 - dice)).mean())}
    melanoma = class_names(recipe).index("mel")
    probability = F.softmax(logits, 1)[:, melanoma].numpy()
    truth = (target == melanoma).numpy()
    auc = float(roc_auc_score(truth, probability)) if 0 < truth.sum() < len(truth) else float("nan")
    return {"auc_melanoma": auc, "accuracy": float((logits.argmax(1) == target).float().mean())}


def overlap_and_total(logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Per picture: pixels in both, and pixels of prediction plus truth; float32, shape (n,)."""
    predicted = (logits >= 0).flatten(1).float()
    truth = masks.flatten(1)
    return (predicted * truth).sum(1), predicted.sum(1) + truth.sum(1)
