"""CLNet: classification and segmentation learnt together."""

from __future__ import annotations

from typing import Literal

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import SqueezeExcitation

from trainer.models.registry import register
from trainer.models.segmentation.resunet import ResidualUnet

WIDTHS = (64, 128, 256, 512)


class FeatureFusion(nn.Module):
    """Concatenation, 1x1 convolution, squeeze-and-excitation, 3x3 convolution.

    Args:
        own: channels of the classification branch, which are also those of the result.
        other: channels of the segmentation branch.
    """

    def __init__(self, own: int, other: int) -> None:
        super().__init__()
        middle = own // 4
        self.reduce = nn.Sequential(
            nn.Conv2d(own + other, middle, 1, bias=False), nn.BatchNorm2d(middle), nn.ReLU(inplace=True)
        )
        self.attend = SqueezeExcitation(middle, max(1, middle // 16))
        self.blend = nn.Sequential(
            nn.Conv2d(middle, own, 3, padding=1, bias=False), nn.BatchNorm2d(own), nn.ReLU(inplace=True)
        )

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        """(n, own, h, w) and (n, other, any, any), which is averaged down to h x w, to (n, own, h, w)."""
        fitted = F.adaptive_avg_pool2d(other, (own.shape[-2], own.shape[-1]))
        fused: Tensor = self.blend(self.attend(self.reduce(torch.cat([own, fitted], 1))))
        return fused


class CLNet(nn.Module):
    """A classification branch in four stages, and a residual U-Net whose feature maps join it after every stage.

    The finest map of the segmentation branch joins the first stage, its bridge the last.
    """

    def __init__(self, backbone: Literal["resnet50", "inception_v3"], classes: int, dropout: float) -> None:
        super().__init__()
        self.segmenter = ResidualUnet(WIDTHS)
        stages, channels = _resnet50() if backbone == "resnet50" else _inception_v3()
        self.stages = nn.ModuleList(stages)
        self.fusions = nn.ModuleList(FeatureFusion(own, other) for own, other in zip(channels, WIDTHS, strict=True))
        self.classifier = _head(channels[-1], classes, dropout)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised RGB (n, 3, h, w), sides multiples of 8, to mask logits (n, 1, h, w) and class logits."""
        encoded = self.segmenter.encode(images)
        decoded = self.segmenter.decode(encoded)
        values = images
        for stage, fusion, other in zip(self.stages, self.fusions, [*decoded[::-1], encoded[-1]], strict=True):
            values = fusion(stage(values), other)
        return self.segmenter.head(decoded[-1]), self.classifier(values)


class ClassificationBranch(nn.Module):
    """CLNet without its segmentation branch and feature fusion, to be compared with it."""

    def __init__(self, backbone: Literal["resnet50", "inception_v3"], classes: int, dropout: float) -> None:
        super().__init__()
        stages, channels = _resnet50() if backbone == "resnet50" else _inception_v3()
        self.stages = nn.ModuleList(stages)
        self.classifier = _head(channels[-1], classes, dropout)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised RGB (n, 3, h, w) to logits (n, classes)."""
        for stage in self.stages:
            images = stage(images)
        logits: Tensor = self.classifier(images)
        return logits


def _head(channels: int, classes: int, dropout: float) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(channels, classes))


def _resnet50() -> tuple[list[nn.Module], list[int]]:
    net = torchvision.models.resnet50(weights=None)
    stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool, net.layer1)
    return [stem, net.layer2, net.layer3, net.layer4], [256, 512, 1024, 2048]


def _inception_v3() -> tuple[list[nn.Module], list[int]]:
    net = torchvision.models.inception_v3(weights=None, aux_logits=False, init_weights=False)
    stem = [net.Conv2d_1a_3x3, net.Conv2d_2a_3x3, net.Conv2d_2b_3x3, net.maxpool1]
    stem += [net.Conv2d_3b_1x1, net.Conv2d_4a_3x3, net.maxpool2]
    fine = [net.Mixed_5b, net.Mixed_5c, net.Mixed_5d]
    middle = [net.Mixed_6a, net.Mixed_6b, net.Mixed_6c, net.Mixed_6d, net.Mixed_6e]
    coarse = [net.Mixed_7a, net.Mixed_7b, net.Mixed_7c]
    stages = [nn.Sequential(*part) for part in (stem, fine, middle, coarse)]
    return list(stages), [192, 288, 768, 2048]


@register(
    "clnet",
    task="joint",
    summary="Classification branch and residual U-Net joined by feature fusion at every level.",
    size=256,
)
def clnet(
    classes: int = 2, backbone: Literal["resnet50", "inception_v3"] = "resnet50", dropout: float = 0.5
) -> nn.Module:
    """S8."""
    return CLNet(backbone, classes, dropout)


@register(
    "clnet_classifier",
    task="classification",
    summary="CLNet's classification branch on its own, to compare.",
    size=256,
    exports=False,
)
def clnet_classifier(
    classes: int = 2, backbone: Literal["resnet50", "inception_v3"] = "resnet50", dropout: float = 0.5
) -> nn.Module:
    """S8 without its segmentation branch."""
    return ClassificationBranch(backbone, classes, dropout)
