"""Image features and metadata, joined before the decision."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor, nn

from trainer.models.registry import register

METADATA = 3


def headless(backbone: str) -> tuple[nn.Module, int]:
    """A torchvision classifier without its last layers, and the number of features that it gives.

    The backbone's own name decides which attribute is its head: `fc` or `classifier`.
    """
    model = torchvision.models.get_model(backbone, weights=None)
    name = "fc" if hasattr(model, "fc") else "classifier"
    head = getattr(model, name)
    first = next(module for module in head.modules() if isinstance(module, nn.Linear))
    setattr(model, name, nn.Identity())
    return model, int(first.in_features)


class MetadataFusion(nn.Module):
    """S9: metadata pass through small fully connected layers and are concatenated to the image's features.

    Args:
        backbone: a torchvision classifier.
        classes: outputs.
        hidden: width of the two metadata layers.
        dropout: before the last layer.
    """

    def __init__(self, backbone: str, classes: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.encoder, features = headless(backbone)
        self.metadata = nn.Sequential(
            nn.Linear(METADATA, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, hidden), nn.ReLU(inplace=True)
        )
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(features + hidden, classes))

    def forward(self, images: Tensor, metadata: Tensor | None = None) -> Tensor:
        """Normalised RGB (n, 3, h, w) and metadata (n, 3) in 0..1, 0 for empty, None for none at all, to logits."""
        if metadata is None:
            metadata = images.new_zeros(len(images), METADATA)
        logits: Tensor = self.head(torch.cat([self.encoder(images), self.metadata(metadata)], 1))
        return logits


@register(
    "metadata_fusion",
    task="classification",
    summary="Image features joined with age, sex and site.",
    size=224,
    exports=False,
)
def metadata_fusion(classes: int, backbone: str = "mobilenet_v2", hidden: int = 16, dropout: float = 0.2) -> nn.Module:
    """S9. `backbone`: a torchvision name, for example resnet50."""
    return MetadataFusion(backbone, classes, hidden, dropout)
