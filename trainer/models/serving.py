"""The networks as a bundle serves them: uint8 pictures in, probabilities out, all arithmetic inside.

These modules are what every exporter takes and what every artifact is compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_infer.bundle.golden import Network, Scoring
from trainer.models.familiarity import Familiarity, FamiliarityWeights, coarse, halves, pool
from trainer.models.segmentation.style import drop_styles
from trainer.recipe import Normalization

INPUT_NAME = "image"
MAP_NAME = "probability_map"
PROBABILITIES_NAME = "probabilities"
FAMILIARITY_NAME = "familiarity"


VIEWS: dict[int, tuple[tuple[int, ...], ...]] = {1: ((),), 2: ((), (3,)), 4: ((), (3,), (2,), (2, 3))}
"""By number of views, the axes of (n, c, h, w) along which each is mirrored."""


def mean_over_views(network: Callable[[Tensor], Tensor], planes: Tensor, views: int) -> Tensor:
    """Logits (n, classes) averaged over `views` mirrored copies of (n, c, h, w); it costs as many times as much."""
    if views == 1:
        return network(planes)
    mirrored = torch.cat([planes.flip(axes) if axes else planes for axes in VIEWS[views]])
    return network(mirrored).reshape(views, planes.shape[0], -1).mean(0)


class ServingGraph(nn.Module):
    """Normalisation and the network, in eval mode with contiguous float32 weights.

    Attributes:
        further_outputs: names of what it gives after its stage's own output.
    """

    further_outputs: tuple[str, ...] = ()

    def __init__(self, network: nn.Module, normalization: Normalization) -> None:
        super().__init__()
        self.network = network.to("cpu", torch.float32)
        for parameter in self.network.parameters():
            parameter.data = parameter.data.contiguous()
        mean, std = torch.tensor(normalization.mean), torch.tensor(normalization.std)
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", (1 / (255 * std)).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", (mean / std).reshape(1, 3, 1, 1), persistent=False)
        self.eval()

    def normalized(self, image: Tensor) -> Tensor:
        """RGB 0..255 of any dtype, shape (n, h, w, 3), to the network's input (n, 3, h, w)."""
        return image.to(torch.float32).permute(0, 3, 1, 2).contiguous() * self.scale - self.shift


class ServingSegmenter(ServingGraph):
    """RGB (n, h, w, 3), 0..255, to lesion probabilities (n, h, w) in 0..1, in the first style of outlining.

    With `familiarity` it gives a second output: scores (n,), see `trainer.models.familiarity`.
    """

    def __init__(
        self, network: nn.Module, normalization: Normalization, familiarity: FamiliarityWeights | None = None
    ) -> None:
        drop_styles(network)
        super().__init__(network, normalization)
        self.weights = familiarity
        self.familiarity = None if familiarity is None else Familiarity(familiarity)
        if familiarity is not None:
            halves(network)
            self.further_outputs = (FAMILIARITY_NAME,)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """See the class."""
        if self.familiarity is None:
            return torch.sigmoid(self.network(self.normalized(image))).squeeze(1)
        encode, outline = halves(self.network)
        maps = encode(self.normalized(image))
        score = self.familiarity(coarse(maps, image.shape[1]))
        return torch.sigmoid(outline(maps)).squeeze(1), score

    def features(self, image: Tensor) -> Tensor:
        """What the score is made of: (n, features), see `trainer.models.familiarity.pool`.

        Raises:
            ModelError: the network has no encoder to take them from.
        """
        encode, _ = halves(self.network)
        return pool(coarse(encode(self.normalized(image)), image.shape[1]))


class ServingClassifier(ServingGraph):
    """RGB (n, s, s, 3), 0..255, to class probabilities (n, classes): softmax(logits / temperature).

    With several views the logits are averaged, see `mean_over_views`.
    """

    def __init__(
        self, network: nn.Module, normalization: Normalization, temperature: float = 1.0, views: int = 1
    ) -> None:
        super().__init__(network, normalization)
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}; it must be above 0")
        if views not in VIEWS:
            raise ValueError(f"views is {views}; it must be one of {', '.join(map(str, VIEWS))}")
        self.temperature = temperature
        self.views = views

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        logits = mean_over_views(self.network, self.normalized(image), self.views)
        return torch.softmax(logits / self.temperature, dim=1)


class ServingJoint(ServingGraph):
    """RGB (n, h, w, 3), 0..255, to lesion probabilities (n, h, w) and class probabilities (n, classes), of one picture.

    For networks that segment and classify at once (CLNet); a bundle's two stages are the other two graphs.
    """

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        mask, classes = self.network(self.normalized(image))
        return torch.sigmoid(mask).squeeze(1), torch.softmax(classes, dim=1)


def as_network(module: Callable[[Tensor], Any]) -> Network:
    """A torch module as the callable that `edge_infer.bundle.golden.trace` and the evaluation take."""

    def both(batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with torch.inference_mode():
            maps, scores = module(torch.from_numpy(batch))
        return maps.numpy(), scores.numpy()

    if isinstance(module, ServingSegmenter) and module.familiarity is not None:
        return Scoring(both)

    def run(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            result: NDArray[np.float32] = module(torch.from_numpy(batch)).numpy()
        return result

    return run
