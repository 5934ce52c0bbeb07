"""The U-Net++-inspired segmenter of the `reference` bundle."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainer.models.registry import register
from trainer.models.segmentation.blocks import double_conv
from trainer.models.segmentation.style import StyledSegmenter, add_styles

LEVELS = 4


class NeighbourUnet(StyledSegmenter):
    """Four encoder levels, a bottleneck at a sixteenth of the size, and a decoder with nested skip connections.

    The decoder block of a level takes three inputs: the block below it, the encoder's own level, and the encoder's
    neighbouring (next deeper) level; the two that come from below are doubled in size by 2x2 transposed convolutions.
    At the deepest level the block below and the neighbour are one, the bottleneck, which is taken once.
    The input's sides are multiples of 16.

    Args:
        width: channels of the first level; each level doubles them.
        styles: of outlining; the finest decoder block tells them apart.
    """

    def __init__(self, width: int, styles: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS + 1)]
        self.encoder = nn.ModuleList(
            double_conv(inside, outside) for inside, outside in zip([3, *widths], widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.rise = nn.ModuleList(
            nn.ConvTranspose2d(widths[level + 1], widths[level], 2, stride=2) for level in range(LEVELS)
        )
        self.neighbour = nn.ModuleList(
            nn.ConvTranspose2d(widths[level + 1], widths[level], 2, stride=2) for level in range(LEVELS - 1)
        )
        self.decoder = nn.ModuleList(
            double_conv(widths[level] * (2 if level == LEVELS - 1 else 3), widths[level]) for level in range(LEVELS)
        )
        if styles > 1:
            add_styles(self.decoder[0], styles)
        self.head = nn.Conv2d(width, 1, 1)

    def encode(self, images: Tensor) -> Sequence[Tensor]:
        """The encoder's feature maps, the finest first."""
        features: list[Tensor] = []
        values = images
        for level, block in enumerate(self.encoder):
            values = block(values if level == 0 else self.pool(values))
            features.append(values)
        return features

    def outline(self, features: Sequence[Tensor]) -> Tensor:
        """What `forward` gives, from what `encode` gave."""
        values = features[-1]
        for level in reversed(range(LEVELS)):
            inputs = [self.rise[level](values), features[level]]
            if level < LEVELS - 1:
                inputs.append(self.neighbour[level](features[level + 1]))
            values = self.decoder[level](torch.cat(inputs, 1))
        logits: Tensor = self.head(values)
        return logits


@register(
    "unetplusplus",
    task="segmentation",
    summary="U-Net++-inspired: each decoder block sees its own encoder level and the neighbouring one.",
    size=256,
)
def unetplusplus(width: int = 32, styles: int = 1) -> nn.Module:
    """S1. `width`: channels of the first of four levels, which double down to a 16x16 bottleneck (input 256x256)."""
    return NeighbourUnet(width, styles)
