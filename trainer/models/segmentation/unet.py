"""The classic U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from trainer.models.registry import register
from trainer.models.segmentation.blocks import double_conv

LEVELS = 4
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma


class Unet(nn.Module):
    """Ronneberger et al., MICCAI 2015, with padded convolutions and batch norm, so that sizes stay.

    Args:
        width: channels of the first level; each level doubles them.
        channels: 3 takes RGB as it comes; 1 reduces it to luma first.
    """

    luma: Tensor

    def __init__(self, width: int, channels: Literal[1, 3]) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS + 1)]
        self.grey = channels == 1
        self.register_buffer("luma", torch.tensor(_GREY).view(1, 3, 1, 1), persistent=False)
        self.encoder = nn.ModuleList(
            double_conv(inside, outside) for inside, outside in zip([channels, *widths], widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.rise = nn.ModuleList(
            nn.ConvTranspose2d(widths[level + 1], widths[level], 2, stride=2) for level in range(LEVELS)
        )
        self.decoder = nn.ModuleList(double_conv(2 * widths[level], widths[level]) for level in range(LEVELS))
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised RGB (n, 3, h, w) with h and w multiples of 16 to logits (n, 1, h, w)."""
        return self.outline(self.encode(images))

    def encode(self, images: Tensor) -> Sequence[Tensor]:
        """The encoder's feature maps, the finest first."""
        values = (images * self.luma).sum(1, keepdim=True) if self.grey else images
        features: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            values = block(values if level == 0 else self.pool(values))
            features.append(values)
        return features

    def outline(self, features: Sequence[Tensor]) -> Tensor:
        """What `forward` gives, from what `encode` gave."""
        values = features[-1]
        for level in reversed(range(LEVELS)):
            values = self.decoder[level](torch.cat([features[level], self.rise[level](values)], 1))
        logits: Tensor = self.head(values)
        return logits


@register("unet", task="segmentation", summary="The classic U-Net; width divisor 1, 2 or 4; RGB or grey.", size=256)
def unet(width_divisor: int = 1, channels: Literal[1, 3] = 3) -> nn.Module:
    """S2. Divisor 1, 2, 4: 31.0 M, 7.8 M, 1.9 M parameters. Input 256 or 512."""
    return Unet(64 // width_divisor, channels)
