"""Networks marked as exportable become ONNX files that compute the same, for any batch size.

Every family is tested at toy size; members that differ only in depth are not repeated.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from edge_infer.bundle import InputSpec, OutputSpec, Stage
from trainer.config import Normalization
from trainer.export.graphs import ServingClassifier, ServingSegmenter
from trainer.export.onnx import export_onnx
from trainer.models import create, entry

NETWORKS = [
    ("unet_mobilenet_v2", {}, 64),
    ("unetplusplus", {"width": 8}, 32),
    ("unet", {"width_divisor": 8, "channels": 1}, 32),
    ("resunet", {"widths": [16, 32, 64, 128]}, 32),
    ("unet_mobilenet_v2_encoder", {}, 64),
    ("resnet34", {"classes": 2}, 64),
    ("mobilenet_v2", {"classes": 7}, 64),
    ("inception_v3", {"classes": 7}, 80),
]


def lively(network: nn.Module, size: int) -> nn.Module:
    """Takes batch norm's statistics from noise: fresh ones let a deep network's output fade to a constant."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean of what it has seen
    with torch.no_grad():
        network.train()(torch.randn(8, 3, size, size))
    return network.eval()


@pytest.mark.parametrize(("name", "options", "size"), NETWORKS, ids=[name for name, _, _ in NETWORKS])
def test_exported_network_computes_the_same(name: str, options: dict[str, object], size: int, tmp_path: Path) -> None:
    item = entry(name)
    assert item.exports
    torch.manual_seed(0)
    network = lively(create(name, **options), size)
    segments = item.task == "segmentation"
    wrapped = (
        ServingSegmenter(network, Normalization()) if segments else ServingClassifier(network, Normalization(), 1.5)
    )
    output = OutputSpec("map", "probability_map") if segments else OutputSpec("risk", "probabilities")
    stage = Stage(name, 1, InputSpec("picture", size, size), output, {"onnx": "network.onnx"})
    labels = None if segments else [f"class {number}" for number in range(int(str(options["classes"])))]
    path = tmp_path / "network.onnx"
    export_onnx(wrapped.eval(), stage, path, labels)

    pictures = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = wrapped(torch.from_numpy(pictures)).numpy()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (together,) = session.run(None, {"picture": pictures})
    (alone,) = session.run(None, {"picture": pictures[1:2]})
    np.testing.assert_allclose(together, expected, atol=3e-4)  # logits of noise are large: rounding shows
    np.testing.assert_allclose(alone, expected[1:2], atol=3e-4)
    assert expected.std() > 1e-6, "a constant output would agree with anything"
