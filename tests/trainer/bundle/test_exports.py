"""Networks marked as exportable become ONNX files that compute the same, for any batch size.

Every family is tested at toy size; members that differ only in depth are not repeated.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from edge_infer.bundle.manifest import OutputSpec, Stage
from edge_infer.rules import InputSpec
from trainer.bundle.onnx import export_onnx
from trainer.bundle.rounding import fold_norms
from trainer.data.drawn import draw_picture
from trainer.models import create, entries, entry
from trainer.models.serving import ServingClassifier, ServingJoint, ServingSegmenter
from trainer.recipe import Normalization

NETWORKS: list[tuple[str, dict[str, Any], int]] = [
    ("unet_mobilenet_v2", {}, 64),
    ("unet_efficientnet_lite0", {}, 64),
    ("unetplusplus", {"width": 8}, 32),
    ("unet", {"width_divisor": 8, "channels": 1}, 32),
    ("resunet", {"widths": [16, 32, 64, 128]}, 32),
    ("unet_mobilenet_v2_encoder", {}, 64),
    ("resnet34", {"classes": 2}, 64),
    ("mobilenet_v2", {"classes": 7}, 64),
    ("efficientnet_lite0", {"classes": 7}, 64),
    ("inception_v3", {"classes": 7}, 80),
    ("efficientnet_b0", {"classes": 7}, 64),
    ("xception", {"classes": 7}, 64),
    ("densenet121", {"classes": 2}, 64),
    ("clnet", {"classes": 2}, 64),
]
# The same operations as another one, only more of them.
SAME_FAMILY = {
    "unetplusplus_mobilenet_v2": "unetplusplus",
    "unet_resnet50_encoder": "unet_mobilenet_v2_encoder",
    "unet_resnet101_encoder": "unet_mobilenet_v2_encoder",
    "unet_efficientnet_b4_encoder": "efficientnet_b0",
    "unet_inceptionresnetv2_encoder": "inception_v3",
    "resnet50": "resnet34",
    "resnet101": "resnet34",
    "efficientnet_b3": "efficientnet_b0",
    "mobilenet_v3_large": "efficientnet_b0",
    "efficientnet_lite2": "efficientnet_lite0",
}


def test_every_system_that_exports_is_tested_or_has_a_sibling_that_is() -> None:
    tested = {name for name, _, _ in NETWORKS}
    exported = {item.name for item in entries() if item.exports}
    assert exported == tested | set(SAME_FAMILY)
    assert set(SAME_FAMILY.values()) <= tested


def lively(network: nn.Module, size: int) -> nn.Module:
    """Takes batch norm's statistics from noise: fresh ones let a deep network's output fade to a constant.

    Last layers that start from zeros get weights.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean of what it has seen
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.01)
    with torch.no_grad():
        network.train()(torch.randn(8, 3, size, size))
    return network.eval()


MAP, RISK = OutputSpec("map", "probability_map"), OutputSpec("risk", "probabilities")
SERVING: dict[str, Callable[[nn.Module], tuple[nn.Module, list[OutputSpec]]]] = {
    "segmentation": lambda network: (ServingSegmenter(network, Normalization()), [MAP]),
    "classification": lambda network: (ServingClassifier(network, Normalization(), 1.5), [RISK]),
    "joint": lambda network: (ServingJoint(network, Normalization()), [MAP, RISK]),
}


@pytest.mark.parametrize(("name", "options", "size"), NETWORKS, ids=[name for name, _, _ in NETWORKS])
def test_batch_norms_fold_in_every_network(name: str, options: dict[str, Any], size: int) -> None:
    torch.manual_seed(0)
    network = lively(create(name, **options), size)
    folded = copy.deepcopy(network)
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    count = fold_norms(folded, size)
    assert count >= 0.4 * norms > 0
    assert sum(isinstance(module, nn.BatchNorm2d) for module in folded.modules()) == norms - count
    with torch.inference_mode():
        results = [network(torch.ones(2, 3, size, size)) for network in (network, folded)]
    ours, theirs = (result if isinstance(result, tuple) else (result,) for result in results)
    for expected, actual in zip(ours, theirs, strict=True):
        # Noise has grown to thousands here, and float32 differs between processors by a thousandth of it.
        assert (actual - expected).abs().max() <= 3e-3 * expected.abs().max()


@pytest.mark.parametrize(("name", "options", "size"), NETWORKS, ids=[name for name, _, _ in NETWORKS])
def test_exported_network_computes_the_same(name: str, options: dict[str, Any], size: int, tmp_path: Path) -> None:
    item = entry(name)
    assert item.exports
    torch.manual_seed(0)
    network = lively(create(name, **options), size)
    wrapped, outputs = SERVING[item.task](network)
    stage = Stage(name, 1, InputSpec("picture", size, size), outputs[0], {"onnx": "network.onnx"})
    labels = [f"class {number}" for number in range(options["classes"])] if "classes" in options else None
    path = tmp_path / "network.onnx"
    export_onnx(wrapped.eval(), stage, path, labels, outputs[1:])

    rng = np.random.default_rng(0)
    pictures = np.stack([draw_picture(rng, size, size, kind).image for kind in ("nv", "mel", "bkl")])
    with torch.inference_mode():
        expected = wrapped(torch.from_numpy(pictures))
    expected = expected if isinstance(expected, tuple) else (expected,)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == [output.name for output in outputs]
    together, alone = (session.run(None, {"picture": batch}) for batch in (pictures, pictures[1:2]))
    for ours, many, one in zip(expected, together, alone, strict=True):
        np.testing.assert_allclose(many, ours.numpy(), atol=3e-4)  # logits of noise are large: rounding shows
        np.testing.assert_allclose(one, ours[1:2].numpy(), atol=3e-4)
        assert ours.std() > 1e-6, "a constant output would agree with anything"
