"""Several networks that answer as one."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn


class Ensemble(nn.Module):
    """The mean of the logits of networks that were trained apart.

    Deep ensembles (Lakshminarayanan, Pritzel and Blundell, NeurIPS 2017) average probabilities; means of logits can be
    calibrated by one temperature inside the graph.

    Args:
        members: networks of one task with the same classes.
    """

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, *inputs: Tensor) -> Tensor:
        """What a member takes, to logits (n, classes)."""
        first, *others = (member(*inputs) for member in self.members)
        total: Tensor = sum(others, first)
        return total * (1 / len(self.members))
