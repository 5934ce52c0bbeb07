"""A contact sheet: what the network will see."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from trainer.data.transforms import augment_batch
from trainer.recipe import Recipe
from trainer.training.tasks import Dataset

_OUTLINE = (0, 255, 0)


def contact_sheet(recipe: Recipe, data: Dataset, count: int, draws: int, seed: int) -> NDArray[np.uint8]:
    """Pictures in columns, augmentations in rows, masks outlined.

    Args:
        recipe: gives augmentation and size.
        data: from `trainer.training.tasks.training_data`.
        count: pictures, evenly spaced over the split.
        draws: augmented rows.
        seed: of the draws.

    Returns:
        RGB uint8, shape (draws * size, count * size, 3).
    """
    torch.manual_seed(seed)
    rows = np.linspace(0, len(data) - 1, min(count, len(data))).astype(np.int64)
    arrays = data.arrays
    images, masks, frames = (
        None if array is None else torch.from_numpy(np.ascontiguousarray(array[rows]))
        for array in (arrays.images, arrays.masks, arrays.frames)
    )
    assert images is not None
    lines = []
    for _ in range(draws):
        pictures, moved = augment_batch(images, masks, frames, recipe.augment, recipe.data.size)
        tiles = (pictures.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
        lines.append(np.hstack([_outlined(tile, moved, row) for row, tile in enumerate(tiles)]))
    return np.vstack(lines)


def _outlined(tile: NDArray[np.uint8], masks: torch.Tensor | None, row: int) -> NDArray[np.uint8]:
    tile = np.ascontiguousarray(tile)
    if masks is not None:
        contours, _ = cv2.findContours(masks[row].numpy(), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(tile, contours, -1, _OUTLINE, 1)
    return tile
