"""Small segmenters for phones and the CPU: nested skip connections over a pretrained mobile encoder."""

from __future__ import annotations

from collections.abc import Sequence

import segmentation_models_pytorch as smp
from torch import Tensor, nn

from trainer.models.registry import register


class HalfResolutionUnetPlusPlus(nn.Module):
    """U-Net++ (Zhou et al., DLMIA 2018) that predicts at half the input's resolution and enlarges the logits.

    The last, full-resolution decoder block of the common implementation has no skip connection and costs more than the
    rest of the decoder; a lesion's outline is smooth enough to do without it. Up-sampling is nearest inside the decoder
    and bilinear after it (no transposed convolution), which int8 and Core ML both execute natively.

    Args:
        encoder: an encoder of segmentation_models_pytorch with five stages.
        decoder_channels: widths at strides 16, 8, 4 and 2.
    """

    def __init__(self, encoder: str, decoder_channels: Sequence[int]) -> None:
        super().__init__()
        full = smp.UnetPlusPlus(encoder, encoder_weights=None, decoder_channels=(*decoder_channels, 1))
        self.encoder = full.encoder
        self.decoder = full.decoder
        self.decoder.blocks[f"x_0_{self.decoder.depth}"] = nn.Identity()
        self.head = nn.Sequential(
            nn.Conv2d(decoder_channels[-1], 1, kernel_size=3, padding=1),
            nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Normalised RGB (n, 3, h, w) with h and w multiples of 32 to logits (n, 1, h, w)."""
        logits: Tensor = self.head(self.decoder(self.encoder(images)))
        return logits


@register(
    "unetplusplus_mobilenet_v2",
    task="segmentation",
    summary="U-Net++ over a MobileNetV2 encoder, predicting at half resolution.",
    size=224,
)
def unetplusplus_mobilenet_v2(decoder_channels: Sequence[int] = (96, 64, 32, 24)) -> nn.Module:
    """The mobile bundle's segmenter."""
    return HalfResolutionUnetPlusPlus("mobilenet_v2", decoder_channels)
