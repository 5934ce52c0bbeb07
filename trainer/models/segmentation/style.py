"""Several styles of outlining in one segmenter: some annotators draw more generously than others.

Each style but the first has an offset of its own on late feature maps, learnt in training. A network that is asked for
no style answers in the first one, whose offset is zero: it computes exactly what a network without styles does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class StyledNorm(nn.BatchNorm2d):
    """Batch norm whose bias depends on the style.

    Args:
        channels: of the feature maps.
        styles: how many there are; at least 2.
    """

    def __init__(self, channels: int, styles: int) -> None:
        super().__init__(channels)
        self.offset = nn.Parameter(torch.zeros(styles - 1, channels))
        self.chosen: Tensor | None = None

    def forward(self, values: Tensor) -> Tensor:
        """(n, channels, h, w) to the same shape."""
        normed: Tensor = super().forward(values)
        if self.chosen is None:
            return normed
        offsets = torch.cat([torch.zeros_like(self.offset[:1]), self.offset])[self.chosen]
        return normed + offsets[:, :, None, None].to(normed.dtype)


class StyledSegmenter(nn.Module, ABC):
    """A segmenter in two parts, `encode` and `outline`, that answers in the styles it is asked for."""

    def forward(self, images: Tensor, styles: Tensor | None = None) -> Tensor:
        """Normalised RGB (n, 3, h, w) to logits (n, 1, h, w), in the styles given: int64, shape (n,); None: the first.

        The sides are multiples of what the network's pooling takes. With deep supervision the logits are those of every
        level while the network trains: (n, levels, h, w), the finest first.
        """
        if styles is None:
            return self.outline(self.encode(images))
        with in_styles(self, styles):
            return self.forward(images)

    @abstractmethod
    def encode(self, images: Tensor) -> Sequence[Tensor]:
        """The encoder's feature maps, the finest first."""

    @abstractmethod
    def outline(self, maps: Sequence[Tensor]) -> Tensor:
        """What `forward` gives, from what `encode` gave."""


def add_styles(block: nn.Module, styles: int) -> None:
    """Gives every batch norm of a block an offset for each style, in place."""
    for name, module in list(block.named_modules()):
        if isinstance(module, nn.BatchNorm2d) and not isinstance(module, StyledNorm):
            owner, _, leaf = name.rpartition(".")
            setattr(block.get_submodule(owner), leaf, StyledNorm(module.num_features, styles))


def drop_styles(network: nn.Module) -> None:
    """Leaves the first style alone, in place: plain batch norms, the same answers, and nothing left to ask for."""
    for name, module in list(network.named_modules()):
        if isinstance(module, StyledNorm):
            plain = nn.BatchNorm2d(module.num_features, module.eps, module.momentum)
            plain.load_state_dict({key: value for key, value in module.state_dict().items() if key != "offset"})
            owner, _, leaf = name.rpartition(".")
            setattr(network.get_submodule(owner), leaf, plain.train(module.training))


@contextmanager
def in_styles(network: nn.Module, styles: Tensor | None) -> Iterator[None]:
    """While inside, a network outlines in these styles: int64, shape (n,); None: the first."""
    norms = [module for module in network.modules() if isinstance(module, StyledNorm)]
    for norm in norms:
        norm.chosen = styles
    try:
        yield
    finally:
        for norm in norms:
            norm.chosen = None
