"""Small networks, stages and pictures for tests of Core ML packages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_infer.bundle.manifest import OutputSpec, Stage
from edge_infer.rules import InputSpec
from trainer.recipe import Normalization

NORMALIZATION = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def pictures(count: int, height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, height, width, 3), np.uint8)


def stage(kind: Any, height: int, width: int, name: str = "image") -> Stage:
    return Stage("net", 1, InputSpec(name, height, width), OutputSpec(kind, kind), {})


def settled(network: nn.Module, size: int) -> nn.Module:
    """Batch norm statistics that belong to its inputs, as after training."""
    with torch.no_grad():
        for step in range(3):
            network.train()(torch.randn(8, 3, size, size, generator=torch.Generator().manual_seed(step)))
    return network.eval()


class Lambda(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, planes: Tensor) -> Tensor:
        return self.function(planes)


class Spread(nn.Module):
    """An operation between a first and a last convolution-free step, so that its result is the output."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, image: Tensor) -> Tensor:
        planes = image.to(torch.float32).permute(0, 3, 1, 2) / 64 - 2
        return self.inner(planes)  # type: ignore[no-any-return]
