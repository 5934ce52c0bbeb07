"""What cameras do: in range, in place, each picture on its own, and nothing where nothing is asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from trainer.data import camera
from trainer.data.transforms import augment_batch
from trainer.recipe import AugmentConfig

FULL = AugmentConfig(low_resolution=1.0, blur=1.0, jpeg=1.0, vignette=0.5, temperature=0.2, exposure=0.3)
CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "low_resolution": lambda images: camera.low_resolution(images, 1.0),
    "blur": lambda images: camera.blur(images, 1.0),
    "jpeg": lambda images: camera.jpeg(images, 1.0),
    "vignette": lambda images: camera.vignette(images, 0.5),
    "temperature": lambda images: camera.temperature(images, 0.2),
    "exposure": lambda images: camera.exposure(images, 0.3),
}


@pytest.fixture
def pictures() -> Tensor:
    """Eight times the same picture with detail at every scale, (8, 3, 100, 100): no multiple of 8."""
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.random((100, 100, 3), dtype=np.float32), (0, 0), 1.0)
    ramp = np.linspace(0.2, 0.8, 100, dtype=np.float32)[None, :, None]
    picture = torch.from_numpy(np.clip(ramp + (noise - 0.5), 0, 1)).permute(2, 0, 1)
    return picture.repeat(8, 1, 1, 1)


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_drawn_for_each_picture(name: str, pictures: Tensor) -> None:
    torch.manual_seed(1)
    before = pictures.clone()
    changed = CHANGES[name](pictures)
    assert changed.shape == pictures.shape and changed.dtype == torch.float32
    assert changed.min() >= 0 and changed.max() <= 1
    assert torch.equal(pictures, before), "the input was changed"
    assert not torch.allclose(changed[0], pictures[0], atol=1e-3)
    assert len({round(float((picture - pictures[0]).abs().sum()), 2) for picture in changed}) > 2


@pytest.mark.parametrize("name", ["low_resolution", "blur", "jpeg"])
def test_what_takes_detail_keeps_the_picture(name: str, pictures: Tensor) -> None:
    torch.manual_seed(2)
    changed = CHANGES[name](pictures)
    assert (changed.mean((2, 3)) - pictures.mean((2, 3))).abs().max() < 0.01
    assert (changed - pictures).abs().mean() < 0.1
    if name != "jpeg":
        assert changed.diff(dim=-1).abs().mean() < 0.9 * pictures.diff(dim=-1).abs().mean()


def test_jpeg_at_high_quality_is_close_and_blocks_appear_at_low(
    pictures: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera, "JPEG_QUALITY", (97, 98))
    fine = (camera.jpeg(pictures, 1.0) - pictures).abs().mean()
    monkeypatch.setattr(camera, "JPEG_QUALITY", (10, 11))
    coarse = (camera.jpeg(pictures, 1.0) - pictures).abs().mean()
    assert fine < 0.01 < coarse


def test_a_share_leaves_the_others_as_they_are(pictures: Tensor) -> None:
    for name in ("low_resolution", "blur", "jpeg"):
        torch.manual_seed(3)
        changed = getattr(camera, name)(pictures, 0.5)
        same = [torch.equal(one, other) for one, other in zip(changed, pictures, strict=True)]
        assert 0 < sum(same) < len(same), name


def test_old_recipes_draw_what_they_drew() -> None:
    images = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)
    plain = AugmentConfig(flip=True, rotation=10, brightness=0.2)
    torch.manual_seed(5)
    first, _ = augment_batch(images, None, None, plain, 32)
    after = torch.rand(1)
    torch.manual_seed(5)
    second, _ = augment_batch(images, None, None, dataclasses.replace(plain, exposure=0.5), 32)
    assert not torch.equal(first, second)
    assert not torch.equal(after, torch.rand(1)), "exposure draws nothing"
    torch.manual_seed(5)
    again, _ = augment_batch(images, None, None, dataclasses.replace(plain), 32)
    assert torch.equal(first, again) and torch.equal(after, torch.rand(1))


def test_all_together_stay_in_range(pictures: Tensor) -> None:
    torch.manual_seed(0)
    changed = camera.apply_camera(pictures, FULL)
    assert changed.min() >= 0 and changed.max() <= 1 and torch.isfinite(changed).all()
