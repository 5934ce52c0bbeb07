"""Colour constancy takes the light's colour out and leaves the rest of the picture."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.data.constancy import shades_of_grey
from trainer.data.transforms import augment_batch
from trainer.recipe import AugmentConfig


def pictures(count: int) -> Tensor:
    return torch.rand(count, 3, 24, 24, generator=torch.Generator().manual_seed(3)) * 0.5


def test_pictures_under_different_light_become_alike() -> None:
    plain = pictures(6)
    light = torch.tensor([1.3, 1.0, 0.6])[:, None, None]
    first, second = shades_of_grey(plain, 1.0), shades_of_grey(plain * light, 1.0)
    ratio = second / first.clamp_min(1e-9)
    assert (ratio.flatten(1).amax(1) - ratio.flatten(1).amin(1) < 1e-3).all(), "all channels by one factor"
    assert torch.allclose(shades_of_grey(first, 1.0), first, atol=1e-5)


def test_only_the_share_changes_and_black_stays_black() -> None:
    tinted = pictures(400) * torch.tensor([1.5, 1.0, 0.5])[:, None, None]
    before = tinted.clone()
    torch.manual_seed(0)
    changed = (shades_of_grey(tinted, 0.3) != tinted).flatten(1).any(1).float().mean()
    assert 0.22 < changed < 0.38
    assert torch.equal(tinted, before)
    assert torch.equal(shades_of_grey(torch.zeros(2, 3, 8, 8), 1.0), torch.zeros(2, 3, 8, 8))
    red = torch.zeros(1, 3, 8, 8)
    red[:, 0] = 0.5
    assert torch.equal(shades_of_grey(red, 1.0), red), "no light in two channels says nothing about its colour"


def test_the_recipe_setting_reaches_the_batch() -> None:
    images = (pictures(4) * 255 * torch.tensor([1.5, 1.0, 0.5])[:, None, None]).to(torch.uint8).permute(0, 2, 3, 1)
    torch.manual_seed(0)
    balanced, _ = augment_batch(images, None, None, AugmentConfig(constancy=1.0), 24)
    means = balanced.mean((0, 2, 3))
    assert means.max() / means.min() < 1.1
