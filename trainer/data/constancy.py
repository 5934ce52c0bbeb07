"""Colour constancy as an augmentation: the light's estimated colour is taken out of some pictures."""

from __future__ import annotations

import torch
from torch import Tensor

POWER = 6
"""Minkowski norm of the estimate (Finlayson and Trezzi, CIC 2004, found 6 the best); 1 would be Grey World."""


def shades_of_grey(images: Tensor, share: float) -> Tensor:
    """With probability `share` a picture's channels are scaled until their Minkowski norms are equal.

    Barata et al. (IEEE JBHI 2015) use it on dermoscopy, to make pictures of different devices alike.

    Args:
        images: float32 RGB 0..1, shape (n, 3, h, w).
        share: 0..1.

    Returns:
        A new tensor with values in 0..1; black pictures stay as they are.
    """
    light = images.clamp_min(0).pow(POWER).mean((2, 3), keepdim=True).pow(1 / POWER)
    gain = light.mean(1, keepdim=True) / light.clamp_min(1e-6)
    chosen = (torch.rand(len(images)) < share).to(images.device)[:, None, None, None]
    return torch.where(chosen & (light > 0).all(1, keepdim=True), images * gain, images).clamp(0, 1)
