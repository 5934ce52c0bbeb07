from __future__ import annotations

import torch
from torch import Tensor

from trainer.data.lesion_free import MIN_SIDE, lesion_free_frames
from trainer.data.transforms import augment_batch
from trainer.recipe import AugmentConfig


def masks_with_boxes(*boxes: tuple[int, int, int, int], side: int = 40) -> Tensor:
    masks = torch.zeros(len(boxes), side, side, dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = 1
    return masks


def test_windows_are_squares_inside_the_picture_without_lesion() -> None:
    torch.manual_seed(0)
    masks = masks_with_boxes((20, 5, 35, 30), (2, 5, 20, 39), (5, 25, 38, 39), (5, 2, 39, 20)).repeat(20, 1, 1)
    frames = lesion_free_frames(masks, share=1.0)
    for mask, frame in zip(masks, frames, strict=True):
        x0, y0, x1, y1 = (frame * 40).round().int().tolist()
        assert x1 - x0 == y1 - y0 >= MIN_SIDE * 40
        assert min(x0, y0) >= 0 and max(x1, y1) <= 40
        assert not mask[y0:y1, x0:x1].any()
    assert len({tuple(frame.tolist()) for frame in frames[::4]}) > 1, "the place along the lesion varies"


def test_a_lesion_without_room_beside_it_and_pictures_not_chosen_stay_whole() -> None:
    whole = [0.0, 0.0, 1.0, 1.0]
    assert lesion_free_frames(masks_with_boxes((5, 5, 35, 35)), share=1.0).tolist() == [whole]
    assert lesion_free_frames(masks_with_boxes((0, 0, 0, 0)), share=1.0).tolist() == [whole]
    assert lesion_free_frames(masks_with_boxes((20, 5, 35, 30)).repeat(50, 1, 1), share=0.0).tolist() == [whole] * 50
    torch.manual_seed(0)
    some = lesion_free_frames(masks_with_boxes((20, 5, 35, 30)).repeat(400, 1, 1), share=0.25)
    assert 60 < sum(frame != whole for frame in some.tolist()) < 140


def test_augmentation_shows_the_window_with_an_empty_mask() -> None:
    masks = masks_with_boxes((20, 5, 35, 30)).repeat(8, 1, 1)
    images = (masks * 255)[..., None].repeat(1, 1, 1, 3)
    shown, moved = augment_batch(images, masks, None, AugmentConfig(lesion_free=1.0), 32)
    assert moved is not None
    assert not moved.any()
    assert shown.max() < 0.5, "only the border pixel blends with the lesion"
    shown, moved = augment_batch(images, masks, None, AugmentConfig(), 32)
    assert moved is not None and moved.any()
