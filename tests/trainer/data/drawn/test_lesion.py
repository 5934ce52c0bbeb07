"""Drawn lesions: one filled region inside the picture, seen where the mask says."""

from __future__ import annotations

import numpy as np
import pytest

from edge_infer.steps.mask import largest_region
from trainer.data.drawn import LOOKS, draw_picture


@pytest.mark.parametrize("seed", range(20))
def test_mask_is_one_filled_region_inside_the_picture(seed: int) -> None:
    mask = draw_picture(np.random.default_rng(seed), 180, 240).mask
    assert set(np.unique(mask)) == {0, 1}
    assert 0.005 < mask.mean() < 0.7
    # A curve that crosses itself can leave single pixels hanging on by a corner; the clean-up must find nothing else.
    assert np.abs(largest_region(mask).astype(int) - mask).sum() <= 0.01 * mask.sum()
    assert not mask[0].any() and not mask[-1].any() and not mask[:, 0].any() and not mask[:, -1].any()


@pytest.mark.parametrize("kind", sorted(LOOKS))
def test_lesion_is_seen_where_the_mask_says(kind: str) -> None:
    differences = []
    for seed in range(8):
        picture = draw_picture(np.random.default_rng(seed), 225, 300, kind, hairs=0, vignette=False, artefacts=False)
        lesion = picture.mask.astype(bool)
        differences.append(picture.image[lesion].mean(0) - picture.image[~lesion].mean(0))
    assert np.mean(np.linalg.norm(differences, axis=1)) > 15
