"""U-Nets over pretrained encoders of segmentation_models_pytorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import segmentation_models_pytorch as smp
from torch import nn

from trainer.models.registry import register

ENCODERS = {
    "resnet50": "ResNet50",
    "resnet101": "ResNet101",
    "mobilenet_v2": "MobileNetV2",
    "inceptionresnetv2": "InceptionResNetV2",
    "efficientnet-b4": "EfficientNet-B4",
}
"""Names that segmentation_models_pytorch knows, and how they are written."""


def _builder(encoder: str) -> Callable[..., nn.Module]:
    def build(pretrained: bool = False, decoder_channels: Sequence[int] = (256, 128, 64, 32, 16)) -> nn.Module:
        """S4. `pretrained` downloads the library's ImageNet weights; the decoder is much lighter than the encoder."""
        model: nn.Module = smp.Unet(
            encoder,
            encoder_weights="imagenet" if pretrained else None,
            decoder_channels=tuple(decoder_channels),
            decoder_interpolation="bilinear",
        )
        return model

    return build


for _encoder, _written in ENCODERS.items():
    register(
        f"unet_{_encoder.replace('-', '_')}_encoder",
        task="segmentation",
        summary=f"U-Net with a {_written} encoder and an asymmetric decoder with bilinear up-sampling.",
        size=256,
    )(_builder(_encoder))
