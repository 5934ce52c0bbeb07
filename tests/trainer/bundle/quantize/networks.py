"""Small networks that quantise well or badly, exported, and drawn pictures for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_infer.bundle.manifest import OutputSpec, Stage
from edge_infer.engines.onnx import OnnxEngine
from edge_infer.rules import InputSpec
from trainer.bundle.onnx import export_onnx
from trainer.data.drawn import draw_picture
from trainer.models.serving import ServingClassifier, ServingSegmenter
from trainer.recipe import Normalization

SIZE = 32
NORMALIZATION = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
LABELS = ("a", "b", "mel")
BLOCKS = ("stem.0", "first.0", "first.3", "spiky.0", "spiky.1", "last.0", "last.3", "head")
Pictures = NDArray[np.uint8]


class Block(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, inputs, 3, stride=stride, padding=1, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU6(),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU6(),
        )


class Classifier(nn.Module):
    """Depthwise blocks like MobileNetV2's. In `spiky`, two input channels cancel and drown the rest in rounding."""

    def __init__(self, spike: float = 0.0) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.first = Block(16, 24)
        self.spiky = nn.Sequential(nn.Conv2d(24, 24, 1), nn.Conv2d(24, 24, 1))
        self.last = Block(24, 32, stride=2)
        self.head = nn.Linear(32, len(LABELS))
        with torch.no_grad():
            self.head.weight.mul_(6)
            if spike:
                # One channel in the middle carries a large constant that nothing reads: it only widens the range.
                widening, reading = self.spiky[0], self.spiky[1]
                assert isinstance(widening, nn.Conv2d) and isinstance(reading, nn.Conv2d) and widening.bias is not None
                widening.weight[0] = 0
                widening.bias[0] = spike
                reading.weight[:, 0] = 0

    def forward(self, images: Tensor) -> Tensor:
        x = self.last(self.spiky(self.first(self.stem(images))))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class Segmenter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), Block(8, 16))
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.enlarge = nn.Upsample(scale_factor=2, mode="nearest")
        self.head = nn.Conv2d(24, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.down(images)
        logits: Tensor = self.head(torch.cat([self.up(x), self.enlarge(x)], dim=1))
        return logits


class Rounded(nn.Module):
    """One large weight, for a channel that is always zero, makes the small weights beside it round to zero."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2), nn.ReLU())
        self.mix = nn.Sequential(nn.Conv2d(16, 8, 1), nn.ReLU())
        self.head = nn.Linear(8, len(LABELS))
        with torch.no_grad():
            for layer, bias in ((self.stem[0], -50.0), (self.mix[0], None)):
                assert isinstance(layer, nn.Conv2d) and layer.bias is not None
                if bias is not None:
                    layer.weight[0], layer.bias[0] = 0, bias
                else:
                    layer.weight.copy_(torch.linspace(0.005, 0.02, 8)[:, None, None, None].expand(8, 16, 1, 1))
                    layer.weight[:, 0] = 4
            self.head.weight.mul_(40)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.mix(self.stem(images)).mean((2, 3)))
        return logits


def drawn(count: int, seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return np.stack([draw_picture(rng, SIZE, SIZE, ("nv", "mel")[i % 2]).image for i in range(count)])


def export(network: nn.Module, path: Path, views: int = 1) -> Path:
    """Exports with batch norm statistics that belong to the drawn pictures, as after training."""
    segments = isinstance(network, Segmenter)
    graph: ServingSegmenter | ServingClassifier
    if segments:
        graph = ServingSegmenter(network, NORMALIZATION)
    else:
        graph = ServingClassifier(network, NORMALIZATION, views=views)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        graph.train()(torch.from_numpy(drawn(24, 3)))
    kind: Any = "probability_map" if segments else "probabilities"
    stage = Stage("toy", 1, InputSpec("image", SIZE, SIZE), OutputSpec(kind, kind), {})
    export_onnx(graph.eval(), stage, path, None if segments else LABELS)
    return path


def run(path: Path, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    return OnnxEngine(path, providers=["cpu"], threads=1).run(batch)
