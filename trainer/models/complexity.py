"""Size and cost of a network."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from trainer.models.registry import ModelEntry, create


class Complexity(NamedTuple):
    """Trainable parameters, and floating-point operations of one picture in 1e9 (a multiply-add counts as two)."""

    parameters: int
    gflops: float


def measure(item: ModelEntry) -> Complexity:
    """Builds a registered network at its usual size and counts; nothing is computed (meta tensors)."""
    with torch.device("meta"):
        options = {} if item.task == "segmentation" else {"classes": 7}
        return measure_module(create(item.name, **options), item.size)


def measure_module(model: nn.Module, size: int) -> Complexity:
    """Counts a network for one RGB picture of size x size pixels, on the device where its weights are."""
    parameter = next(model.parameters())
    counter = FlopCounterMode(display=False)
    training = model.training
    with torch.inference_mode(), counter:
        model.eval()(torch.empty(1, 3, size, size, device=parameter.device, dtype=parameter.dtype))
    model.train(training)
    return Complexity(sum(value.numel() for value in model.parameters()), counter.get_total_flops() / 1e9)
