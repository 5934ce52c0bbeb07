"""What of a program float16 rounds: its values, from the first layer that is not kept in float32."""

from __future__ import annotations

from typing import Any

from torch import Tensor

WEIGHTED = frozenset({"conv", "conv_transpose", "linear"})


class FirstLayers:
    """Tells, operation by operation in the program's order, whether it belongs to the first so many layers.

    A layer is an operation with weights and all operations up to the next; what comes before the first layer belongs to
    it. So the boundary is crossed once, but for skip connections.
    """

    def __init__(self, count: int) -> None:
        self._count, self._seen = count, 0

    def __call__(self, operation: str) -> bool:
        """Takes the operation's type; must be called for each in turn."""
        self._seen += operation in WEIGHTED
        return self._count > 0 and self._seen <= self._count


def to_half(value: Any) -> Any:
    """Tensors rounded to float16, in lists too; all else unchanged."""
    if isinstance(value, Tensor):
        return value.half().float()
    return [to_half(item) for item in value] if isinstance(value, list) else value
