"""Two tiny torch networks as checkpoints, and the choices around them, so that exports are tested in seconds.

The segmenter calls dark skin lesion. The classifier's weights are random, so that every change of its input shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from edge_infer.rules import Calibration, MaskRule, OperatingPoint, QualityLimits
from trainer.bundle.recipe import BundleRecipe, StageRecipe, Stages
from trainer.bundle.system import System
from trainer.choices.choose import Choices
from trainer.recipe import Recipe, load_recipe
from trainer.training.checkpoint import Checkpoint

SEGMENTER_SIZE, CLASSIFIER_SIZE = 96, 48


class ToySegmenter(nn.Module):
    """Logits from the smoothed red and green planes, and a batch norm to fold; each channel weighs differently."""

    def __init__(self) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(1)
        self.smooth = nn.AvgPool2d(5, stride=1, padding=2, count_include_pad=False)
        with torch.no_grad():
            self.weigh.weight.copy_(torch.tensor([-1.0, -6.0, -3.0]).reshape(1, 3, 1, 1))
            assert self.norm.running_mean is not None and self.norm.running_var is not None
            self.norm.running_mean.fill_(1.0)
            self.norm.running_var.fill_(0.5)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) to (n, 1, h, w)."""
        logits: Tensor = self.norm(self.weigh(self.smooth(images)))
        return logits


class EncodingSegmenter(nn.Module):
    """`ToySegmenter` with an encoder beside it, whose maps tell colours and edges."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = ToySegmenter()
        with torch.random.fork_rng():
            torch.manual_seed(7)
            self.down = nn.ModuleList(
                nn.Sequential(nn.Conv2d(inside, outside, 3, stride=2, padding=1), nn.ReLU())
                for inside, outside in ((3, 8), (8, 12), (12, 12))
            )

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) to (n, 1, h, w)."""
        return self.outline(self.encode(images))

    def encode(self, images: Tensor) -> list[Tensor]:
        """The picture, and its maps at strides 2, 4 and 8."""
        maps = [images]
        for block in self.down:
            maps.append(block(maps[-1]))
        return maps

    def outline(self, maps: Sequence[Tensor]) -> Tensor:
        """What `forward` gives."""
        logits: Tensor = self.inner(maps[0])
        return logits


class ToyClassifier(nn.Module):
    """One random convolution and a random linear layer over its sixteen cells, so that position matters."""

    def __init__(self, classes: int = 7) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU())
            self.head = nn.Linear(8 * 16, classes)
            with torch.no_grad():
                self.head.weight.mul_(3)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) to (n, classes)."""
        cells = nn.functional.avg_pool2d(self.features(images), kernel_size=5, stride=5)[..., :4, :4]
        logits: Tensor = self.head(cells.flatten(1))
        return logits


class Wide(nn.Module):
    """A toy network and, added to its logits, what a layer of 36,864 weights gives: enough for them to be rounded.

    The layer's weights are multiplied by `scale` and its result divided by it.
    """

    def __init__(self, inner: nn.Module, scale: float = 1.0) -> None:
        super().__init__()
        self.inner, self.scale = inner, scale
        with torch.random.fork_rng():
            torch.manual_seed(6)
            self.expand = nn.Sequential(nn.Conv2d(3, 64, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True))
            self.hidden = nn.Conv2d(64, 64, 3, padding=1)
            with torch.no_grad():
                self.hidden.weight.mul_(scale)
                assert self.hidden.bias is not None
                self.hidden.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        """As the inner network."""
        logits: Tensor = self.inner(images)
        more = self.hidden(self.expand(images))[:, :1] / self.scale
        return logits + (more if logits.ndim == 4 else more.flatten(1)[:, : logits.shape[1]])


def wide_system(scale: float = 1.0) -> System:
    """The toy system with more weights, stored as float16; see `Wide`."""
    toy = toy_system()
    return replace(
        toy,
        segmenter=toy.segmenter._replace(model=Wide(toy.segmenter.model, scale).eval()),
        classifier=toy.classifier._replace(model=Wide(toy.classifier.model, scale).eval()),
        store="float16",
    )


def toy_system() -> System:
    """A system whose recipes are the mobile ones at toy sizes."""
    return System(
        Checkpoint(ToySegmenter().eval(), _sized("mobile-segmenter", SEGMENTER_SIZE), 1, {"dice": 0.9}),
        Checkpoint(ToyClassifier().eval(), _sized("mobile-classifier", CLASSIFIER_SIZE), 1, {"auc": 0.5}),
    )


def encoding_system() -> System:
    """The toy system with a segmenter that can score familiarity."""
    toy = toy_system()
    return replace(toy, segmenter=toy.segmenter._replace(model=EncodingSegmenter().eval()))


def toy_bundle_recipe() -> BundleRecipe:
    """What the manifest of a toy bundle says."""
    return BundleRecipe(
        name="toy",
        version="1.0.0",
        description="For tests.",
        intended_use="None.",
        sources=("HAM10000",),
        data="Drawn pictures.",
        citation="None.",
        license="Apache-2.0",
        license_note="Nothing was trained.",
        stages=Stages(StageRecipe("mobile-segmenter"), StageRecipe("mobile-classifier")),
        roi=toy_system().roi,
        store="float32",
    )


def toy_choices() -> Choices:
    """Limits that refuse hardly any drawn picture, temperature 2, two operating points."""
    return Choices(
        mask=MaskRule(0.5, 0.002, 0.98),
        quality=QualityLimits(48, 1.0, 10.0, 250.0, 1e-5),
        calibration=Calibration("temperature", 2.0, "val"),
        operating_points=(
            OperatingPoint("balanced", 0.15, "by hand", "For tests.", "val"),
            OperatingPoint("screening", 0.05, "by hand", "For tests.", "val"),
        ),
        default_operating_point="balanced",
    )


def _sized(name: str, size: int) -> Recipe:
    recipe = load_recipe(name)
    return replace(recipe, data=replace(recipe.data, size=size))
