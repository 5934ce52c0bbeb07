"""Image and mask move together, and each picture by its own draw."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from trainer.data.transforms import augment_batch, normalize, to_float
from trainer.recipe import AugmentConfig, Normalization

GEOMETRY = {
    "flip": AugmentConfig(flip=True),
    "quarter_turns": AugmentConfig(quarter_turns=True),
    "rotation": AugmentConfig(rotation=40),
    "zoom": AugmentConfig(zoom=0.4),
    "shift": AugmentConfig(shift=0.2),
    "shear": AugmentConfig(shear=20),
    "all": AugmentConfig(True, True, 40, 0.4, 0.2, 20),
}
COLOUR = {
    "brightness": AugmentConfig(brightness=0.3),
    "contrast": AugmentConfig(contrast=0.3),
    "saturation": AugmentConfig(saturation=0.5),
    "hue": AugmentConfig(hue=0.1),
}


def pattern(count: int, size: int = 64) -> tuple[Tensor, Tensor]:
    """A figure without any symmetry, as mask and, in grey 20 and 220, as picture."""
    mask = torch.zeros(size, size, dtype=torch.uint8)
    mask[10:50, 14:24] = 1
    mask[40:50, 14:54] = 1
    mask[12:20, 40:48] = 1
    picture = torch.where(mask[..., None] == 1, 220, 20).to(torch.uint8).expand(size, size, 3)
    return picture.repeat(count, 1, 1, 1), mask.repeat(count, 1, 1)


@pytest.mark.parametrize("name", GEOMETRY)
@pytest.mark.parametrize("size", [64, 48])
def test_image_and_mask_move_together(name: str, size: int) -> None:
    torch.manual_seed(1)
    images, masks = pattern(8)
    moved_images, moved_masks = augment_batch(images, masks, None, GEOMETRY[name], size)
    assert moved_masks is not None
    assert moved_images.shape == (8, 3, size, size)
    assert moved_masks.shape == (8, size, size)
    from_image = (moved_images[:, 0] >= 120 / 255).to(torch.uint8)
    assert (from_image != moved_masks).float().mean() < 1e-4
    assert len({mask.numpy().tobytes() for mask in moved_masks}) > 1, "every picture got the same draw"
    untouched, _ = augment_batch(images, masks, None, AugmentConfig(), size)
    assert (moved_images - untouched).abs().amax((1, 2, 3)).max() > 0.5, "nothing moved"


def test_without_augmentation_the_picture_is_untouched() -> None:
    images = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
    masks = torch.randint(0, 2, (3, 32, 32), dtype=torch.uint8)
    same, same_masks = augment_batch(images, masks, None, AugmentConfig(), 32)
    torch.testing.assert_close(same, to_float(images), atol=1e-4, rtol=0)
    assert same_masks is not None
    assert torch.equal(same_masks, masks)


def test_flip_and_quarter_turns_give_all_eight_positions_and_no_other() -> None:
    torch.manual_seed(0)
    images, masks = pattern(64)
    _, moved = augment_batch(images, masks, None, AugmentConfig(flip=True, quarter_turns=True), 64)
    assert moved is not None
    base = masks[0].numpy()
    eight = {np.rot90(side, turn).tobytes() for side in (base, base[:, ::-1]) for turn in range(4)}
    assert len(eight) == 8
    assert {mask.numpy().tobytes() for mask in moved} == eight


def test_frame_selects_its_part_of_the_picture() -> None:
    images, masks = pattern(1)
    frames = torch.tensor([[16 / 64, 32 / 64, 48 / 64, 64 / 64]])  # columns 16..47, rows 32..63
    part, part_mask = augment_batch(images, masks, frames, AugmentConfig(), 32)
    assert part_mask is not None
    assert torch.equal(part_mask[0], masks[0, 32:64, 16:48])
    torch.testing.assert_close(part[0], to_float(images)[0, :, 32:64, 16:48], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", COLOUR)
def test_colour_changes_pictures_only_and_stays_in_range(name: str) -> None:
    torch.manual_seed(2)
    images = torch.randint(0, 256, (4, 24, 24, 3), dtype=torch.uint8)
    masks = torch.randint(0, 2, (4, 24, 24), dtype=torch.uint8)
    changed, same_masks = augment_batch(images, masks, None, COLOUR[name], 24)
    assert same_masks is not None
    assert torch.equal(same_masks, masks)
    assert changed.min() >= 0
    assert changed.max() <= 1
    difference = (changed - to_float(images)).abs().mean((1, 2, 3))
    assert difference.min() > 0
    assert difference.unique().numel() == 4, "every picture got the same draw"


def test_each_colour_change_keeps_what_it_should() -> None:
    torch.manual_seed(3)
    images = torch.randint(90, 166, (6, 16, 16, 3), dtype=torch.uint8)  # far from 0 and 255: nothing is cut off
    grey = torch.tensor([0.299, 0.587, 0.114])
    before = to_float(images)
    after = {name: augment_batch(images, None, None, config, 16)[0] for name, config in COLOUR.items()}

    def luma(pictures: Tensor) -> Tensor:
        return torch.einsum("nchw,c->nhw", pictures, grey)

    for name in ("saturation", "hue"):
        torch.testing.assert_close(luma(after[name]), luma(before), atol=2e-3, rtol=0)
    torch.testing.assert_close(luma(after["contrast"]).mean((1, 2)), luma(before).mean((1, 2)), atol=2e-3, rtol=0)
    ratio = after["brightness"] / before
    assert (ratio.amax((1, 2, 3)) - ratio.amin((1, 2, 3))).max() < 2e-3


def test_normalize_uses_each_channels_constants() -> None:
    values = normalize(torch.full((1, 3, 2, 2), 0.5), Normalization(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.1)))
    torch.testing.assert_close(values[0, :, 0, 0], torch.tensor([0.8, 1.2, 2.0]))
