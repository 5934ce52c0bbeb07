"""Networks by name: a decorator and a dictionary."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import nn

from trainer.errors import ModelError
from trainer.recipe import Task

Builder = TypeVar("Builder", bound=Callable[..., nn.Module])


@dataclass(frozen=True)
class ModelEntry:
    """One architecture of the registry.

    Attributes:
        name: as recipes write it.
        task: what it is built for.
        build: takes the recipe's `model.options` (and `classes` for classification); returns the network.
        summary: one sentence for `python -m trainer models`.
        size: usual side of the input in pixels, at which parameters and GFLOPs are listed.
        exports: whether the exporters are tested with it.
    """

    name: str
    task: Task
    build: Callable[..., nn.Module]
    summary: str
    size: int
    exports: bool


# Networks ported from TensorFlow bring 0.01: after a short run their running statistics would still be mostly the
# initial ones, and a network that has learnt would answer one constant.
_LEAST_MOMENTUM = 0.1

_REGISTRY: dict[str, ModelEntry] = {}


def register(name: str, *, task: Task, summary: str, size: int, exports: bool = True) -> Callable[[Builder], Builder]:
    """Adds a builder to the registry under `name`; a name is given once."""

    def add(build: Builder) -> Builder:
        if name in _REGISTRY:
            raise ModelError(f"Two models are registered as '{name}'.", "Rename one of them.")
        _REGISTRY[name] = ModelEntry(name, task, build, summary, size, exports)
        return build

    return add


def entry(name: str) -> ModelEntry:
    """Looks one architecture up.

    Raises:
        ModelError: no model has this name; the message names the nearest.
    """
    if name not in _REGISTRY:
        near = difflib.get_close_matches(name, _REGISTRY, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Known models: {', '.join(sorted(_REGISTRY))}."
        raise ModelError(f"There is no model '{name}'.", hint)
    return _REGISTRY[name]


def entries() -> list[ModelEntry]:
    """All architectures, segmentation first, then by name."""
    return sorted(_REGISTRY.values(), key=lambda item: (item.task != "segmentation", item.name))


def create(name: str, **options: Any) -> nn.Module:
    """Builds a network with fresh weights.

    It takes normalised float32 RGB, shape (n, 3, h, w), and returns logits: (n, 1, h, w) for segmentation, (n, classes)
    for classification.

    Raises:
        ModelError: unknown name, or options that the builder does not take.
    """
    found = entry(name)
    try:
        network = found.build(**options)
    except TypeError as error:
        raise ModelError(f"Model '{name}': {error}.", "Correct `model.options` in the recipe.") from error
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.momentum is not None:
            module.momentum = max(module.momentum, _LEAST_MOMENTUM)
    return network
