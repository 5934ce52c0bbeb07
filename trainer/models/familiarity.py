"""Is a picture like those that a segmenter learnt from? One linear score of what its own encoder makes of it.

The features are the mean and the standard deviation of each channel of the encoder's feature maps from stride 4 down.
They cost next to nothing, since the segmenter computes the maps anyway, and leave nothing to repeat for a port: the
score is a second output of the same graph. Weights come from `trainer.choices.familiarity`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import segmentation_models_pytorch as smp
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.errors import ModelError

FIRST_STRIDE = 4
"""Finer maps hold edges and noise, which every picture has."""

_LEAST_VARIANCE = 1e-4

Floats = NDArray[np.float32]
Halves = tuple[Callable[[Tensor], Sequence[Tensor]], Callable[[Sequence[Tensor]], Tensor]]


@dataclass(frozen=True, eq=False)
class FamiliarityWeights:
    """The score: sum of weight * z + curve * z**2, plus `bias`, with z = (feature - centre) * scale within +-`clip`.

    All arrays are float32, shape (features,), in the order of `pool`.
    """

    centre: Floats
    scale: Floats
    weight: Floats
    curve: Floats
    bias: float
    clip: float

    def score(self, features: Floats) -> Floats:
        """float32 (n, features) to float32 (n,): what the graph computes from its own features."""
        with torch.inference_mode():
            result: Floats = Familiarity(self).score(torch.from_numpy(features)).numpy()
        return result


class Familiarity(nn.Module):
    """Feature maps to a score, float32 (n,): the higher, the more like the pictures that it was fitted on.

    It is written without a linear layer's operation, so that 8-bit forms of the graph leave it in float.
    """

    centre: Tensor
    scale: Tensor
    weight: Tensor
    curve: Tensor
    bias: Tensor

    def __init__(self, weights: FamiliarityWeights) -> None:
        super().__init__()
        for name in ("centre", "scale", "weight", "curve"):
            self.register_buffer(name, torch.from_numpy(np.array(getattr(weights, name), np.float32)))
        self.register_buffer("bias", torch.tensor(weights.bias, dtype=torch.float32))
        self.clip = weights.clip

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (n, c, h, w) of one picture batch, as `pool` takes them."""
        return self.score(pool(maps))

    def score(self, features: Tensor) -> Tensor:
        """Features (n, f) to scores (n,)."""
        z = ((features - self.centre) * self.scale).clamp(-self.clip, self.clip)
        return (z * self.weight + z * z * self.curve).sum(1) + self.bias


def pool(maps: Sequence[Tensor]) -> Tensor:
    """Means of all channels of all maps (n, c, h, w), then their standard deviations: (n, 2 * channels)."""
    means = [values.mean((2, 3), keepdim=True) for values in maps]
    spreads = [(v - mean).square().mean((2, 3)) for v, mean in zip(maps, means, strict=True)]
    return torch.cat([*(mean.flatten(1) for mean in means), *((v + _LEAST_VARIANCE).sqrt() for v in spreads)], 1)


def halves(network: nn.Module) -> Halves:
    """A segmenter as its encoder, images (n, 3, h, w) to feature maps, and the rest, feature maps to logits.

    Raises:
        ModelError: it does not come apart there.
    """
    encode, outline = (getattr(network, name, None) for name in ("encode", "outline"))
    if callable(encode) and callable(outline):
        return encode, outline
    if isinstance(network, smp.Unet):
        whole: Any = network
        return whole.encoder, lambda maps: whole.segmentation_head(whole.decoder(maps))
    raise ModelError(
        f"{type(network).__name__} has no encoder whose feature maps could tell whether a picture looks familiar.",
        "Use a U-Net over an encoder, or a bundle recipe without familiarity.",
    )


def coarse(maps: Sequence[Tensor], side: int) -> list[Tensor]:
    """The maps from stride `FIRST_STRIDE` down.

    Args:
        maps: of any strides.
        side: height of the pictures that they are of.
    """
    return [values for values in maps if side >= FIRST_STRIDE * values.shape[2]]
