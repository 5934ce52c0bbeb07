"""Residual U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from trainer.errors import ModelError
from trainer.models.registry import register

MIN_WIDTH = 16
"""With 4 or 8 channels the backward pass of torch 2.13 dies with a segmentation fault (CPU, float32, channels-last, 64
pixels and more); with 12 and more it does not."""


class PreActivation(nn.Module):
    """Norm, ReLU, convolution, twice, plus a projected shortcut (He et al., ECCV 2016).

    Args:
        inside: channels in.
        outside: channels out.
        stride: of the first convolution and the shortcut.
        first: the block sees the picture itself, which is not normed and rectified first.
    """

    def __init__(self, inside: int, outside: int, stride: int = 1, *, first: bool = False) -> None:
        super().__init__()
        start: list[nn.Module] = [] if first else [nn.BatchNorm2d(inside), nn.ReLU(inplace=False)]
        self.body = nn.Sequential(
            *start,
            nn.Conv2d(inside, outside, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(inplace=True),
            nn.Conv2d(outside, outside, 3, padding=1, bias=False),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(inside, outside, 1, stride=stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, values: Tensor) -> Tensor:
        """(n, inside, h, w) to (n, outside, h / stride, w / stride)."""
        result: Tensor = self.body(values) + self.shortcut(values)
        return result


class ResidualUnet(nn.Module):
    """Zhang et al., IEEE GRSL 2018: residual blocks, strided convolutions down, up-sampling and concatenation up.

    Args:
        widths: channels of the encoder's levels, the last one being the bridge.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.encoder = nn.ModuleList(
            PreActivation(inside, outside, stride=2 if level else 1, first=level == 0)
            for level, (inside, outside) in enumerate(zip([3, *widths], widths, strict=False))
        )
        self.rise = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.decoder = nn.ModuleList(PreActivation(below + level, level) for level, below in pairwise(widths))
        self.head = nn.Conv2d(widths[0], 1, 1)

    def encode(self, images: Tensor) -> list[Tensor]:
        """Feature maps of all levels, the finest first."""
        features: list[Tensor] = []
        for block in self.encoder:
            features.append(block(features[-1] if features else images))
        return features

    def decode(self, features: list[Tensor]) -> list[Tensor]:
        """Feature maps after each decoder block, the coarsest first."""
        values, results = features[-1], []
        for level in reversed(range(len(self.decoder))):
            values = self.decoder[level](torch.cat([self.rise(values), features[level]], 1))
            results.append(values)
        return results

    def forward(self, images: Tensor) -> Tensor:
        """Normalised RGB (n, 3, h, w), h and w multiples of 2 ** (levels - 1), to logits (n, 1, h, w)."""
        return self.outline(self.encode(images))

    def outline(self, features: list[Tensor]) -> Tensor:
        """What `forward` gives, from what `encode` gave."""
        logits: Tensor = self.head(self.decode(features)[-1])
        return logits


@register("resunet", task="segmentation", summary="U-Net of pre-activation residual blocks.", size=256)
def resunet(widths: Sequence[int] = (64, 128, 256, 512)) -> nn.Module:
    """S3.

    Raises:
        ModelError: a level is narrower than `MIN_WIDTH`.
    """
    if min(widths) < MIN_WIDTH:
        raise ModelError(
            f"The residual U-Net cannot have {min(widths)} channels: torch crashes when it trains so few on the CPU.",
            f"Use at least {MIN_WIDTH} in each level.",
        )
    return ResidualUnet(widths)
