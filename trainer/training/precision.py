"""In which numbers networks are computed."""

from __future__ import annotations

from types import MethodType

import torch
from torch import Tensor, nn

from trainer.recipe import OptimConfig

_WITHOUT_BF16 = ("NO AVX", "AVX2")


def computes_bf16(device: str) -> bool:
    """Whether a device multiplies bf16 numbers itself; others are ten times as fast in float32."""
    return device != "cpu" or torch.backends.cpu.get_cpu_capability() not in _WITHOUT_BF16


def autocast(config: OptimConfig, device: str) -> torch.autocast:
    """Computes in the precision that a recipe was trained in, inside its block, whatever the block around it does."""
    return torch.autocast(device, torch.bfloat16, enabled=config.precision == "bf16")


def keep_strided_depthwise_in_float32(model: nn.Module) -> None:
    """Takes depthwise convolutions with a stride out of bf16 autocast, in place; weights and names do not change.

    Their bf16 backward pass has no fast CPU kernel: the four of MobileNetV2 took 408 ms a batch of 16 at 160 pixels, a
    third of the step, and take 48 ms in float32 (torch 2.13, one AVX-512 core).
    """

    def forward(convolution: nn.Conv2d, values: Tensor) -> Tensor:
        with torch.autocast(values.device.type, enabled=False):
            # The class's own forward: some libraries' convolutions pad in it.
            result: Tensor = type(convolution).forward(convolution, values.float())
            return result

    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1 and max(module.stride) > 1:
            module.forward = MethodType(forward, module)  # type: ignore[method-assign]
