"""Small segmenters for phones and the CPU: U-Net and U-Net++ decoders over a pretrained mobile encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from segmentation_models_pytorch.decoders.unetplusplus.decoder import UnetPlusPlusDecoder
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn

from trainer.models.registry import register
from trainer.models.segmentation.style import StyledSegmenter, add_styles


class HalfResolution(StyledSegmenter):
    """An encoder and a decoder that stops at stride 2, and a head that enlarges its logits to the input's size.

    The input's sides are multiples of 32.

    The last, full-resolution decoder block of the common implementation has no skip connection, and a lesion's outline
    is smooth enough to do without it. Up-sampling is nearest inside the decoder and bilinear after it (no transposed
    convolution), which int8 kernels and Core ML both execute natively.

    Args:
        encoder: from segmentation_models_pytorch, five stages.
        decoder: takes the encoder's feature maps, gives (n, channels, h / 2, w / 2).
        channels: the decoder's width at stride 2.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, channels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.head = nn.Sequential(
            nn.Conv2d(channels, 1, kernel_size=3, padding=1),
            nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False),
        )

    def encode(self, images: Tensor) -> Sequence[Tensor]:
        """The encoder's feature maps, the finest first."""
        maps: Sequence[Tensor] = self.encoder(images)
        return maps

    def outline(self, maps: Sequence[Tensor]) -> Tensor:
        """What `forward` gives, from what `encode` gave."""
        logits: Tensor = self.head(self.decoder(maps))
        return logits


def _mobilenet_v2_encoder() -> tuple[nn.Module, tuple[int, ...]]:
    """MobileNetV2 without its last 1x1 convolution, whose 1,280 channels serve classification, and its stage widths."""
    encoder: Any = get_encoder("mobilenet_v2", weights=None)
    del encoder.features[-1]
    encoder._out_indexes[-1] = len(encoder.features) - 1
    return encoder, (3, 16, 24, 32, 96, 320)


@register(
    "unet_mobilenet_v2",
    task="segmentation",
    summary="U-Net over a MobileNetV2 encoder, predicting at half resolution.",
    size=224,
)
def unet_mobilenet_v2(decoder_channels: Sequence[int] = (96, 64, 32, 24), styles: int = 1) -> nn.Module:
    """The mobile bundle's segmenter. `decoder_channels`: widths at strides 16, 8, 4 and 2."""
    return _unet(*_mobilenet_v2_encoder(), decoder_channels, styles)


@register(
    "unet_efficientnet_lite0",
    task="segmentation",
    summary="U-Net over an EfficientNet-Lite0 encoder, predicting at half resolution.",
    size=224,
)
def unet_efficientnet_lite0(decoder_channels: Sequence[int] = (96, 64, 32, 24), styles: int = 1) -> nn.Module:
    """As `unet_mobilenet_v2`, with another encoder; see `trainer.models.classification.lite` for its input."""
    encoder: Any = get_encoder("tu-tf_efficientnet_lite0", weights=None)
    return _unet(encoder, tuple(encoder.out_channels), decoder_channels, styles)


def _unet(encoder: nn.Module, widths: tuple[int, ...], decoder_channels: Sequence[int], styles: int) -> nn.Module:
    decoder = UnetDecoder(widths, (*decoder_channels, 1))
    del decoder.blocks[-1]
    if styles > 1:
        add_styles(decoder.blocks[-1], styles)
    return HalfResolution(encoder, decoder, decoder_channels[-1])


@register(
    "unetplusplus_mobilenet_v2",
    task="segmentation",
    summary="U-Net++ over a MobileNetV2 encoder, predicting at half resolution; 1.6 times the time of the U-Net.",
    size=224,
)
def unetplusplus_mobilenet_v2(decoder_channels: Sequence[int] = (96, 64, 32, 24)) -> nn.Module:
    """Nested skip connections (Zhou et al., DLMIA 2018). `decoder_channels` as in `unet_mobilenet_v2`."""
    encoder, widths = _mobilenet_v2_encoder()
    decoder = UnetPlusPlusDecoder(widths, (*decoder_channels, 1))
    decoder.blocks[f"x_0_{decoder.depth}"] = nn.Identity()
    return HalfResolution(encoder, decoder, decoder_channels[-1])
