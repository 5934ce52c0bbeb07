"""A baseline: what three convolutions can do."""

from __future__ import annotations

from torch import nn

from trainer.models.registry import register


@register(
    "simple_cnn",
    task="classification",
    summary="Three convolutional and two fully connected layers: a baseline.",
    size=224,
    exports=False,
)
def simple_cnn(classes: int, width: int = 32, hidden: int = 128) -> nn.Module:
    """S5. Each 3x3 convolution is followed by ReLU and 2x2 max-pooling; the last map is pooled to 4x4."""
    convolutions: list[nn.Module] = []
    inside = 3
    for outside in (width, 2 * width, 4 * width):
        convolutions += [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
        inside = outside
    return nn.Sequential(
        *convolutions,
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(inside * 16, hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, classes),
    )
