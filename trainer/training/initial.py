"""Which pretrained weights a network can start from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch

from trainer.errors import CheckpointError
from trainer.recipe import Normalization, Recipe
from trainer.training.checkpoint import build_model, init_weights, read_file

IMAGENET = {
    "mobilenet_v2": "mobilenet_v2_imagenet.pth",
    "densenet121": "densenet121_imagenet.pth",
    "resnet50": "resnet50_imagenet.pth",
    "efficientnet_lite0": "tf_efficientnet_lite0.pth",
    "efficientnet_lite2": "tf_efficientnet_lite2.pth",
}
"""Files that are looked for in a folder of ImageNet weights, by torchvision's name of the network."""

_HALF = Normalization(mean=(0.498039,) * 3, std=(0.501961,) * 3)

RANDOM = "random"

_ENCODERS = {
    "unet_mobilenet_v2": "mobilenet_v2",
    "unet_mobilenet_v2_encoder": "mobilenet_v2",
    "unet_resnet50_encoder": "resnet50",
    "unet_efficientnet_lite0": "efficientnet_lite0",
}
_JOINT = ("clnet", "clnet_classifier")
_STAGES = {"conv1": "0.0", "bn1": "0.1", "layer1": "0.4", "layer2": "1", "layer3": "2", "layer4": "3"}


def normalization_of(network: str) -> Normalization:
    """What a classifier's ImageNet weights expect; torchvision's name of the network, or timm's without `tf_`."""
    return _HALF if network.startswith("efficientnet_lite") else Normalization()


def encoder_of(recipe: Recipe) -> str:
    """torchvision's name of the network whose weights the recipe's network can take; its own name where it is none."""
    name = recipe.model.name
    if name in _JOINT or name == "metadata_fusion":
        return str(recipe.model.options.get("backbone", "resnet50" if name in _JOINT else "mobilenet_v2"))
    return _ENCODERS.get(name, name)


def weights_for(recipe: Recipe, files: Mapping[str, Path], folder: Path | None) -> Path | None:
    """The file to start from: the one named for the recipe, else the folder's for its encoder, else None."""
    if recipe.name in files:
        return files[recipe.name]
    name = IMAGENET.get(encoder_of(recipe))
    return folder / name if folder is not None and name is not None and (folder / name).is_file() else None


def prepared(recipe: Recipe, weights: Path, run: Path) -> tuple[Path, str]:
    """A weight file that fits the network's own names, and in words what it initialises.

    CLNet keeps a ResNet's layers under the names of its stages: for it a renamed copy is written to the run's folder.

    Raises:
        CheckpointError: the file cannot be read, or does not fit.
    """
    content = read_file(weights)
    source = content.get("weights", content)
    file = weights
    if recipe.model.name in _JOINT and not any(name.startswith("stages.") for name in source):
        if encoder_of(recipe) != "resnet50":
            raise CheckpointError(f"{weights} is not for {encoder_of(recipe)}.", "Start from a checkpoint of CLNet.")
        run.mkdir(parents=True, exist_ok=True)
        file = run / "init.pth"
        torch.save({_staged(name): value for name, value in source.items()}, file)
    found = init_weights(build_model(recipe), file)
    total = len(found.loaded) + len(found.fresh)
    return file, f"{weights.name}, {len(found.loaded)} of {total} tensors"


def _staged(name: str) -> str:
    head, _, rest = name.partition(".")
    return re.sub(r"\.$", "", f"stages.{_STAGES[head]}.{rest}") if head in _STAGES else name
