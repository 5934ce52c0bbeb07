"""ROI classifiers over other backbones; the library's own last layer is sized for the classes."""

from __future__ import annotations

import timm
import torchvision
from torch import nn

from trainer.models.registry import register


@register("mobilenet_v3_large", task="classification", summary="torchvision MobileNetV3-Large.", size=224)
def mobilenet_v3_large(classes: int = 2) -> nn.Module:
    """Howard et al., ICCV 2019. Hard-swish: int8 costs it accuracy."""
    model: nn.Module = torchvision.models.mobilenet_v3_large(weights=None, num_classes=classes)
    return model


@register("xception", task="classification", summary="timm Xception.", size=299)
def xception(classes: int = 2) -> nn.Module:
    """Chollet, CVPR 2017."""
    model: nn.Module = timm.create_model("legacy_xception", pretrained=False, num_classes=classes)
    return model


@register("efficientnet_b0", task="classification", summary="torchvision EfficientNet-B0.", size=224)
def efficientnet_b0(classes: int = 2) -> nn.Module:
    """Tan and Le, ICML 2019. SiLU: int8 costs it accuracy."""
    model: nn.Module = torchvision.models.efficientnet_b0(weights=None, num_classes=classes)
    return model


@register("efficientnet_b3", task="classification", summary="torchvision EfficientNet-B3.", size=300)
def efficientnet_b3(classes: int = 2) -> nn.Module:
    """Tan and Le, ICML 2019. SiLU: int8 costs it accuracy."""
    model: nn.Module = torchvision.models.efficientnet_b3(weights=None, num_classes=classes)
    return model


@register(
    "inception_v3", task="classification", summary="torchvision InceptionV3 without its auxiliary head.", size=299
)
def inception_v3(classes: int = 2) -> nn.Module:
    """Szegedy et al., CVPR 2016."""
    model: nn.Module = torchvision.models.inception_v3(
        weights=None, num_classes=classes, aux_logits=False, transform_input=False, init_weights=False
    )
    return model


@register("densenet121", task="classification", summary="torchvision DenseNet121.", size=224)
def densenet121(classes: int = 2) -> nn.Module:
    """Huang et al., CVPR 2017."""
    model: nn.Module = torchvision.models.densenet121(weights=None, num_classes=classes)
    return model
