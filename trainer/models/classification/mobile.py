"""Small classifiers for phones and the CPU."""

from __future__ import annotations

import torchvision
from torch import nn

from trainer.models.registry import register


@register("mobilenet_v2", task="classification", summary="torchvision MobileNetV2; ReLU6, so int8 suits it.", size=224)
def mobilenet_v2(classes: int, dropout: float = 0.2) -> nn.Module:
    """Sandler et al., CVPR 2018. Dropout is before the last linear layer."""
    model: nn.Module = torchvision.models.mobilenet_v2(num_classes=classes, dropout=dropout)
    return model
