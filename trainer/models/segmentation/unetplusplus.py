"""The U-Net++-inspired segmenter of the `reference` bundle."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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

    With deep supervision (Zhou et al., DLMIA 2018, arXiv 1807.10165, the part of that name) every level of the decoder
    has a 1x1 head of its own and is taught, see `trainer.training.tasks.Objective`. The paper's outputs all have the
    input's size; those of the coarser levels here do not, so their logits are enlarged to it, bilinearly. In eval mode
    the finest level answers alone, the paper's fast mode: exactly as without deep supervision.

    Args:
        width: channels of the first level; each level doubles them.
        styles: of outlining; the finest decoder block tells them apart.
        deep_supervision: while training, `forward` gives the logits of all four levels, the finest first, shape
            (n, 4, h, w).
    """

    def __init__(self, width: int, styles: int, deep_supervision: bool = False) -> None:
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
        taught = widths[1:LEVELS] if deep_supervision else []
        self.coarser_heads = nn.ModuleList(nn.Conv2d(channels, 1, 1) for channels in taught)

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
        coarser: list[Tensor] = []
        for level in reversed(range(LEVELS)):
            inputs = [self.rise[level](values), features[level]]
            if level < LEVELS - 1:
                inputs.append(self.neighbour[level](features[level + 1]))
            values = self.decoder[level](torch.cat(inputs, 1))
            if self.training and self.coarser_heads and level > 0:
                coarser.append(self.coarser_heads[level - 1](values))
        logits: Tensor = self.head(values)
        if not coarser:
            return logits
        size = logits.shape[-2:]
        enlarged = [F.interpolate(item, size, mode="bilinear", align_corners=False) for item in reversed(coarser)]
        return torch.cat([logits, *enlarged], 1)


@register(
    "unetplusplus",
    task="segmentation",
    summary="U-Net++-inspired: each decoder block sees its own encoder level and the neighbouring one.",
    size=256,
)
def unetplusplus(width: int = 32, styles: int = 1, deep_supervision: bool = False) -> nn.Module:
    """S1. `width`: channels of the first of four levels, which double down to a 16x16 bottleneck (input 256x256).

    `deep_supervision`: every level of the decoder is taught, see `NeighbourUnet`.
    """
    return NeighbourUnet(width, styles, deep_supervision)
