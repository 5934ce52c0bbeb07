"""EfficientNet-Lite: ReLU6 and no squeeze-and-excitation, made to be quantised."""

from __future__ import annotations

from collections.abc import Callable

import timm
from torch import nn

from trainer.models.registry import register


def _builder(number: int) -> Callable[..., nn.Module]:
    def build(classes: int = 2, dropout: float = 0.2, drop_path: float = 0.0) -> nn.Module:
        """Tan and Le, ICML 2019, and Google's Lite variants of 2020; padding and batch norm as in TensorFlow.

        The last layer starts from zeros: the features are so large that a random one begins far off. Expects RGB
        normalised with mean 127/255 and standard deviation 128/255.
        """
        model: nn.Module = timm.create_model(
            f"tf_efficientnet_lite{number}",
            pretrained=False,
            num_classes=classes,
            drop_rate=dropout,
            drop_path_rate=drop_path,
        )
        head = model.get_submodule("classifier")
        assert isinstance(head, nn.Linear)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        return model

    return build


for _number, _size in ((0, 224), (2, 260)):
    register(
        f"efficientnet_lite{_number}",
        task="classification",
        summary=f"timm EfficientNet-Lite{_number}; ReLU6, so int8 suits it.",
        size=_size,
    )(_builder(_number))
