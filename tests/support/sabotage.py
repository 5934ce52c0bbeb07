"""Ways to break a serving graph that a parity gate must notice."""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import Tensor, nn

from trainer.models.serving import ServingGraph


class SwappedChannels(nn.Module):
    """Takes the picture as BGR."""

    def __init__(self, graph: ServingGraph) -> None:
        super().__init__()
        self.inner = graph

    def forward(self, image: Tensor) -> Tensor:
        """(n, h, w, 3), as the graph itself."""
        return self.inner(image.flip(3))  # type: ignore[no-any-return]


class Transposed(SwappedChannels):
    """Takes columns for rows."""

    def forward(self, image: Tensor) -> Tensor:
        """(n, h, w, 3), as the graph itself."""
        return self.inner(image.transpose(1, 2))  # type: ignore[no-any-return]


def wrong_mean(graph: ServingGraph) -> nn.Module:
    """Normalises by another mean."""
    changed = copy.deepcopy(graph)
    changed.shift += 0.1
    return changed


def no_mean(graph: ServingGraph) -> nn.Module:
    """Leaves the mean out of the normalisation: int8 gates are too wide for a slightly wrong one."""
    changed = copy.deepcopy(graph)
    changed.shift.zero_()
    return changed


SABOTAGE: dict[str, Callable[[ServingGraph], nn.Module]] = {
    "swapped channels": SwappedChannels,
    "wrong mean": wrong_mean,
    "transposed": Transposed,
}
