"""Back from a bundle to checkpoints: its weights can be exported again beside a new stage, or trained on.

An ONNX file of this trainer names its weights as the PyTorch network does, with batch normalisation folded into the
convolution before it. The recovered network holds the folded weights and batch norms that only add the bias, which
computes the same. Statistics of the training are gone: for training on, batch norms learn theirs again.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from edge_infer.bundle.golden import segment_and_score
from edge_infer.bundle.store import Bundle
from edge_infer.engines.onnx import OnnxEngine
from trainer.bundle.errors import ExportError
from trainer.bundle.rounding import norms_after
from trainer.bundle.storage import load_wide
from trainer.choices.familiarity import CLIP
from trainer.models.familiarity import FamiliarityWeights
from trainer.models.serving import ServingClassifier, ServingGraph, ServingSegmenter, as_network
from trainer.recipe import Recipe, recipe_from_dict
from trainer.scoring.networks import as_segmenter
from trainer.training.checkpoint import FORMAT, build_model, save_atomic

MAX_DEVIATION = 1e-4

StageName = Literal["segmenter", "classifier"]

_PREFIX, _WEIGHT, _FOLDED_BIAS = "network.", ".weight", ".weight_bias"
_FAMILIARITY = "familiarity."
_NOT_OF_RECIPE = ("epoch", "validation", "training_hours", "weights_stored_as")


def recover_checkpoint(bundle: Bundle, stage: StageName, out: Path) -> float:
    """Writes one stage of a bundle as a checkpoint that `trainer export` takes.

    Args:
        bundle: a bundle that this trainer made.
        stage: which network.
        out: file to write.

    Returns:
        Largest difference between probabilities of the recovered network and of the ONNX file, on noise.

    Raises:
        ExportError: see `recover_graph`.
    """
    graph, recipe, deviation = recover_graph(bundle, stage)
    known = bundle.manifest.provenance.recipes[stage]
    content = {"format": FORMAT, "recipe": recipe.to_dict(), "epoch": known["epoch"], "metrics": known["validation"]}
    trained = build_model(recipe)  # a bundle holds the first style of masks alone: the others begin as it is
    trained.load_state_dict(graph.network.state_dict(), strict=not recipe.data.styles)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_atomic(content | {"weights": trained.state_dict()}, out)
    return deviation


def recover_graph(bundle: Bundle, stage: StageName) -> tuple[ServingGraph, Recipe, float]:
    """One stage of a bundle as the PyTorch graph that its ONNX file was exported from.

    Args:
        bundle: a bundle that this trainer made.
        stage: which network.

    Returns:
        The graph in eval mode, its recipe, and the largest difference of its probabilities from the file's on noise, or
        a hundredth of the largest difference of its score of familiarity, which goes up to some ten.

    Raises:
        ExportError: the manifest holds no recipe of the stage, the file's weights do not fit it, or the recovered
            network computes something else.
    """
    manifest = bundle.manifest
    known: dict[str, Any] = dict(manifest.provenance.recipes.get(stage, {}))
    if not known:
        raise ExportError(f"'{manifest.name}' holds no recipe of its {stage}.", "Use a bundle that this trainer made.")
    recipe = recipe_from_dict({k: v for k, v in known.items() if k not in _NOT_OF_RECIPE}, where=f"{stage}'s recipe")
    file = bundle.path / getattr(manifest, stage).files["onnx"]
    model = build_model(recipe).eval()
    _load(model, recipe, _weights(file), file)
    views = 1 if stage == "segmenter" else _views(manifest.classifier.architecture)
    serving: ServingGraph
    if stage == "segmenter":
        score = None if manifest.familiarity is None else familiarity_weights(file)
        serving = ServingSegmenter(model, recipe.normalization, score)
    else:
        serving = ServingClassifier(model, recipe.normalization, manifest.calibration.temperature, views)
    noise = np.random.default_rng(0).integers(0, 256, (2, recipe.data.size, recipe.data.size, 3), dtype=np.uint8)
    exported = as_segmenter(OnnxEngine(file, providers=["cpu"]))
    ours, theirs = (segment_and_score(network, noise) for network in (as_network(serving), exported))
    deviation = float(np.abs(ours[0] - theirs[0]).max())
    if ours[1] is not None:
        deviation = max(deviation, math.inf if theirs[1] is None else float(np.abs(ours[1] - theirs[1]).max()) / 100)
    if not deviation <= MAX_DEVIATION:
        raise ExportError(
            f"The recovered {stage} deviates from {file} by {deviation:.3g}, at most {MAX_DEVIATION:g}.",
            "The file was changed after its export, or by another version of this trainer.",
        )
    return serving, recipe, deviation


def familiarity_weights(file: Path) -> FamiliarityWeights:
    """The weights of a segmenter's second output, as its file names them."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in load_wide(file).graph.initializer}
    names = ("centre", "scale", "weight", "curve")
    if missing := [name for name in (*names, "bias") if f"{_FAMILIARITY}{name}" not in stored]:
        raise ExportError(f"{file} lacks '{_FAMILIARITY}{missing[0]}'.", "Use a bundle that this trainer made.")
    vectors = {name: stored[f"{_FAMILIARITY}{name}"].astype(np.float32) for name in names}
    return FamiliarityWeights(**vectors, bias=float(stored[f"{_FAMILIARITY}bias"]), clip=CLIP)


def _views(architecture: str) -> int:
    """Undoes `trainer.bundle.write`'s note of mirrored views in the stage's architecture."""
    words = architecture.split("mean of ")
    return int(words[1].split()[0]) if len(words) == 2 else 1


def _weights(file: Path) -> dict[str, Tensor]:
    return {
        tensor.name.removeprefix(_PREFIX): torch.from_numpy(numpy_helper.to_array(tensor).copy())
        for tensor in load_wide(file).graph.initializer
        if tensor.name.startswith(_PREFIX)
    }


@torch.no_grad()
def _load(model: nn.Module, recipe: Recipe, weights: dict[str, Tensor], file: Path) -> None:
    modules = dict(model.named_modules())
    names = {module: name for name, module in modules.items()}
    norms = {names[layer]: norm for layer, norm in norms_after(model, recipe.data.size).items()}
    for norm in norms.values():
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)
        norm.weight.fill_(1)
        norm.bias.zero_()
    target: Tensor | None
    for name, value in weights.items():
        if name.endswith(_FOLDED_BIAS):
            folded = norms.get(name.removesuffix(_FOLDED_BIAS))
            target = None if folded is None else folded.bias
        else:
            owner, _, leaf = name.rpartition(".")
            target = getattr(modules.get(owner, model), leaf, None)
            if leaf == "bias" and owner in norms:  # of both: a convolution's own is folded with its norm's
                if target is not None:
                    target.zero_()
                target = norms[owner].bias
        if target is None or target.shape != value.shape:
            raise ExportError(f"{file}: '{name}' is no weight of {recipe.model.name}.", "Recover it by its own recipe.")
        target.copy_(value)
    wanted = {f"{name}{_WEIGHT}" for name, item in modules.items() if isinstance(item, nn.Conv2d | nn.Linear)}
    if missing := sorted(wanted - set(weights)):
        raise ExportError(f"{file} lacks '{missing[0]}' of {recipe.model.name}.", "Recover it by its own recipe.")
