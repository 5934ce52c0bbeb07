"""Mixing and covering: masks follow the pixels of other pictures, and stay under hairs and holes."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.trainer.data.test_transforms import pattern
from trainer.data.occlusions import CUTOUT_AREA, cutmix, cutout, hairs, mosaic
from trainer.data.transforms import augment_batch
from trainer.recipe import AugmentConfig


def batch(count: int = 6) -> tuple[Tensor, Tensor]:
    """Pictures in which a pixel is bright exactly where the mask is set; every picture is shifted differently."""
    images, masks = pattern(count)
    pairs = [
        (torch.roll(i, 3 * n, 0), torch.roll(m, 3 * n, 0)) for n, (i, m) in enumerate(zip(images, masks, strict=True))
    ]
    images, masks = (torch.stack(items) for items in zip(*pairs, strict=True))
    return images.permute(0, 3, 1, 2).float() / 255, masks


def bright(images: Tensor) -> Tensor:
    return (images[:, 0] >= 120 / 255).to(torch.uint8)


def test_mosaic_and_cutmix_move_image_and_mask_together() -> None:
    torch.manual_seed(0)
    images, masks = batch()
    for mix in (mosaic, cutmix):
        mixed, mixed_masks = mix(images, masks, 1.0)
        assert torch.equal(bright(mixed), mixed_masks)
        assert (mixed != images).flatten(1).any(1).float().mean() > 0.5
        same, same_masks = mix(images, masks, 0.0)
        assert torch.equal(same, images)
        assert torch.equal(same_masks, masks)


def test_mosaic_holds_four_pictures_at_half_size() -> None:
    torch.manual_seed(0)
    plain = torch.linspace(0.1, 0.9, 5)[:, None, None, None].expand(5, 3, 64, 64).contiguous()
    mixed, _ = mosaic(plain, torch.zeros(5, 64, 64, dtype=torch.uint8), 1.0)
    for picture in mixed:
        for y in (0, 32):
            for x in (0, 32):
                quarter = picture[:, y : y + 32, x : x + 32]
                assert quarter.unique().numel() == 1
                assert torch.isclose(plain[:, 0, 0, 0], quarter[0, 0, 0]).any()
    assert mixed[:, 0, ::32, ::32].flatten(1).std(1).max() > 0


def test_cutmix_takes_the_patch_from_another_picture() -> None:
    torch.manual_seed(0)
    plain = torch.linspace(0.1, 0.9, 5)[:, None, None, None].expand(5, 3, 64, 64).contiguous()
    mixed, _ = cutmix(plain, torch.zeros(5, 64, 64, dtype=torch.uint8), 1.0)
    values = [picture.unique() for picture in mixed]
    assert all(torch.isin(value, plain[:, 0, 0, 0]).all() and len(value) <= 2 for value in values)
    assert any(len(value) == 2 for value in values)


def test_cutout_blackens_a_rectangle_of_the_stated_area() -> None:
    torch.manual_seed(0)
    images = torch.ones(40, 3, 64, 64)
    holes = (cutout(images, 1.0) == 0).all(1)
    area = holes.float().mean((1, 2))
    assert area.min() >= 0.9 * CUTOUT_AREA[0]
    assert area.max() <= 1.1 * CUTOUT_AREA[1]
    for hole in holes:
        rows, columns = hole.any(1).sum(), hole.any(0).sum()
        assert rows * columns == hole.sum(), "no rectangle"
    assert torch.equal(images, torch.ones_like(images)), "the input was changed"
    share = (cutout(torch.ones(400, 3, 16, 16), 0.3) == 0).flatten(1).any(1).float().mean()
    assert 0.2 < share < 0.4


def test_hairs_cover_little_and_follow_the_seed() -> None:
    images = torch.full((8, 3, 96, 96), 0.8)
    torch.manual_seed(5)
    covered = hairs(images, 12)
    changed = (covered != images).any(1).float().mean((1, 2))
    assert 0 < changed.max() < 0.4
    assert covered.min() >= 0
    assert covered.max() <= 0.8
    torch.manual_seed(5)
    assert torch.equal(hairs(images, 12), covered)


def test_recipe_settings_reach_the_batch() -> None:
    images, masks = pattern(8)
    torch.manual_seed(1)
    for config in (AugmentConfig(mosaic=1.0), AugmentConfig(cutmix=1.0)):
        mixed, mixed_masks = augment_batch(images, masks, None, config, 64)
        assert mixed_masks is not None
        assert (bright(mixed) != mixed_masks).float().mean() < 1e-3
        if config.mosaic:
            assert not torch.equal(mixed_masks, masks)
    for config in (AugmentConfig(hairs=20), AugmentConfig(cutout=1.0)):
        covered, same = augment_batch(images, masks, None, config, 64)
        assert same is not None
        assert torch.equal(same, masks)
        untouched, _ = augment_batch(images, masks, None, AugmentConfig(), 64)
        assert not torch.allclose(covered, untouched, atol=1e-3)
