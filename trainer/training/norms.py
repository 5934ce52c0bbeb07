"""Batch norms that have lost their statistics learn them again without changing what the network computes.

A network that was recovered from a bundle has its norms folded into its convolutions. Trained on as it is, its norms
would normalise what was never meant to be normalised, and the first steps would undo what it knows.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.inference_mode()
def restore_statistics(model: nn.Module, batches: Iterable[Tensor]) -> int:
    """Gives every batch norm the mean and variance of what reaches it, and the scale and shift that undo them.

    Args:
        model: changed in place; computes the same in eval mode as before, up to rounding.
        batches: normalised pictures, float32, shape (n, 3, h, w), as in training.

    Returns:
        How many batch norms were restored.
    """
    model.eval()
    sums: dict[nn.Module, tuple[Tensor, Tensor, int]] = {}

    def note(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].double().transpose(0, 1).flatten(1)
        first, second = values.sum(1), (values**2).sum(1)
        before = sums.get(norm)
        if before is not None:
            first, second = first + before[0], second + before[1]
        sums[norm] = first, second, values.shape[1] + (before[2] if before else 0)

    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    handles = [norm.register_forward_pre_hook(note) for norm in norms]
    try:
        for images in batches:
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    for norm in norms:
        if norm not in sums or norm.running_mean is None or norm.running_var is None:
            continue
        first, second, count = sums[norm]
        mean = first / count
        variance = (second / count - mean**2).clamp(min=0)
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        shift = norm.bias.double() - norm.running_mean.double() * scale
        norm.weight.copy_(scale * (variance + norm.eps).sqrt())
        norm.bias.copy_(shift + mean * scale)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
    return len(sums)
