"""The ROI classifiers of the first paper: ResNets with their own head."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torchvision
from torch import Tensor, nn

from trainer.models.registry import register


class BinaryHead(nn.Module):
    """Two linear layers with ReLU, dropout and batch norm between them; for two classes one sigmoid unit decides.

    A sigmoid of the logit z is the softmax of (0, z), so two classes come out as these two logits and losses and
    exporters need no case of their own.
    """

    def __init__(self, features: int, hidden: int, dropout: float, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.layers = nn.Sequential(
            nn.Linear(features, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.BatchNorm1d(hidden),
            nn.Linear(hidden, 1 if classes == 2 else classes),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(n, features) to logits (n, classes)."""
        logits: Tensor = self.layers(features)
        return torch.cat([torch.zeros_like(logits), logits], 1) if self.classes == 2 else logits


def _builder(depth: int) -> Callable[..., nn.Module]:
    def build(classes: int = 2, hidden: int = 256, dropout: float = 0.5) -> nn.Module:
        """S6. He et al., CVPR 2016; the head is the first paper's."""
        model: nn.Module = getattr(torchvision.models, f"resnet{depth}")(weights=None)
        model.fc = BinaryHead(model.fc.in_features, hidden, dropout, classes)  # type: ignore[arg-type, union-attr]
        return model

    return build


for _depth in (34, 50, 101):
    register(
        f"resnet{_depth}",
        task="classification",
        summary=f"torchvision ResNet{_depth} with two linear layers, ReLU, dropout and batch norm on top.",
        size=224,
    )(_builder(_depth))
