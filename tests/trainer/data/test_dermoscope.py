"""What a dermoscope leaves in its pictures: drawn as often as asked, in range, the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from trainer.data.dermoscope import apply_dermoscope, bubbles, ring, ruler
from trainer.recipe import AugmentConfig

CHANGES = [ring, ruler, bubbles]


@pytest.mark.parametrize("change", CHANGES)
def test_changes_the_share_of_pictures_that_is_asked_for(change: Callable[[Tensor, float], Tensor]) -> None:
    torch.manual_seed(0)
    skin = torch.full((200, 3, 64, 64), 0.6)
    before = skin.clone()
    changed = change(skin, 0.4)
    assert torch.equal(skin, before), "the given pictures stay as they are"
    assert changed.min() >= 0 and changed.max() <= 1
    touched = (changed != skin).flatten(1).any(1).float().mean()
    assert 0.25 < touched < 0.55
    assert torch.equal(change(skin, 0.0), skin)
    assert (change(skin, 1.0) != skin).flatten(1).any(1).float().mean() > 0.9


def test_a_ring_darkens_the_corners_and_leaves_the_middle() -> None:
    torch.manual_seed(1)
    changed = ring(torch.full((100, 3, 64, 64), 0.6), 1.0)
    assert changed[:, :, 28:36, 28:36].min() > 0.55
    assert changed[:, :, 0, 0].median() < 0.2


def test_a_scale_has_marks_along_one_side() -> None:
    torch.manual_seed(2)
    changed = ruler(torch.full((20, 3, 128, 128), 0.6), 1.0)
    for picture in (changed - 0.6).abs().amax(1) > 0.05:
        rows, columns = picture.float().mean(0), picture.float().mean(1)
        assert picture[50:78, 50:78].sum() == 0, "the middle stays free"
        assert max(rows.max(), columns.max()) > 0


def test_the_seed_decides() -> None:
    augment, skin = AugmentConfig(ring=0.5, ruler=0.5, bubbles=0.5), torch.rand(8, 3, 48, 48)
    torch.manual_seed(3)
    first = apply_dermoscope(skin, augment)
    torch.manual_seed(3)
    assert torch.equal(first, apply_dermoscope(skin, augment))
    assert not torch.equal(first, apply_dermoscope(skin, augment))
    assert torch.equal(apply_dermoscope(skin, AugmentConfig()), skin)
