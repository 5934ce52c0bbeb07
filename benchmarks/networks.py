"""The pair that peers are compared on: U-Net++ and ResNet50, as bundles that the runtime loads.

Where the bundle `reference` is at hand the pair has its trained weights (`benchmarks.trained`). Other networks get
random ones, since latency depends on the architecture and not on the weights. Two things are arranged with these, so
that the path through the pipeline is the usual one: batch statistics are settled on the pictures, so that
activations have ordinary sizes; and the segmenter's logits are replaced, but for a thousandth, by how much darker than
the whole each place is, so that there is one lesion to crop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.trained import trained_pair, trained_rules, trained_source
from edge_infer.bundle import manifest as b
from edge_infer.bundle.golden import trace, write_golden
from edge_infer.bundle.manifest import MANIFEST
from edge_infer.rules import Calibration, InputSpec, MaskRule, OperatingPoint, QualityLimits, RoiRule
from edge_infer.steps.image import open_picture
from edge_infer.steps.resize import resize, to_batch
from trainer._torchvision_compat import ensure_torchvision

SEGMENTER, CLASSIFIER = "unetplusplus", "resnet50"
SEGMENTER_SIDE, CLASSIFIER_SIDE = 256, 224
LABELS = ("benign", "melanoma")
# As in the trainer's int8 recipe for this classifier: the first and last layers stay float.
FLOAT_BLOCKS = ("conv1", "layer1", "fc")
_CALIBRATION = 8


class DarkerThanTheRest(nn.Module):
    """A segmenter whose lesion is what is dark; the network inside is computed in full and hardly counts."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Normalised RGB (n, 3, h, w) to logits (n, 1, h, w)."""
        logits = self.network(image)
        grey = nn.functional.avg_pool2d(image.mean(1, keepdim=True), 9, stride=1, padding=4)
        # Clamped, so that int8 resolves the border finely.
        darker = torch.clamp(8 * (grey.mean((2, 3), keepdim=True) - grey - 0.4), -4, 4)
        mixed: Tensor = darker + 1e-3 * logits
        return mixed


def build_networks(segmenter: str = SEGMENTER, classifier: str = CLASSIFIER) -> tuple[nn.Module, nn.Module]:
    """Both networks with random weights from the trainer's registry, in eval mode."""
    ensure_torchvision()
    from trainer.models import create

    torch.manual_seed(0)
    return DarkerThanTheRest(create(segmenter)).eval(), create(classifier, classes=len(LABELS)).eval()


def serving_networks(pictures: Sequence[bytes], segmenter: str, classifier: str) -> tuple[nn.Module, nn.Module]:
    """The networks as a bundle serves them: uint8 NHWC in, probabilities out; the same ones for the same pictures.

    Trained, where there are weights of these architectures (`benchmarks.trained`), otherwise random.
    """
    source = trained_source(segmenter, classifier)
    if source is not None:
        return trained_pair(source)
    first, second = build_networks(segmenter, classifier)
    from trainer.models.serving import ServingClassifier, ServingSegmenter
    from trainer.recipe import Normalization

    serving = ServingSegmenter(first, Normalization()), ServingClassifier(second, Normalization())
    images = [open_picture(data).pixels for data in pictures[:_CALIBRATION]]
    for network, side in zip(serving, (SEGMENTER_SIDE, CLASSIFIER_SIDE), strict=True):
        _settle(network, to_batch([resize(image, side, side) for image in images]))
    return serving


def write_peer_bundles(folder: Path, pictures: Sequence[bytes], segmenter: str, classifier: str) -> tuple[Path, Path]:
    """Writes the pair as a float32 and an int8 bundle, with golden examples computed by PyTorch.

    Returns:
        Folders of the two bundles.
    """
    from trainer.bundle.onnx import export_onnx
    from trainer.bundle.quantize import find_blocks, quantize_onnx
    from trainer.bundle.variants.kinds import KINDS
    from trainer.models.serving import as_network

    first, second = serving_networks(pictures, segmenter, classifier)
    stages = _stages(first, second, segmenter, classifier)
    trained = trained_source(segmenter, classifier)
    manifest = _manifest(stages)
    if trained is not None:
        manifest = replace(manifest, **trained_rules(trained.manifest), description="The published pair, for timing.")
    images = [open_picture(data).pixels for data in pictures]
    traces = [trace(image, manifest, as_network(first), as_network(second)) for image in images[:4]]
    crops = [_crop(image, manifest, as_network(first)) for image in images[: 2 * _CALIBRATION]]
    inputs = to_batch([resize(image, SEGMENTER_SIDE, SEGMENTER_SIDE) for image in images[: 2 * _CALIBRATION]])
    folders = folder / "peers-float32", folder / "peers-int8"
    for target in folders:
        target.mkdir(parents=True, exist_ok=True)
        write_golden(target / "golden.npz", traces)
    export_onnx(first, stages[0], folders[0] / "segmenter.onnx")
    export_onnx(second, stages[1], folders[0] / "classifier.onnx", list(manifest.labels))
    for name, data, kept in (("segmenter", inputs, ()), ("classifier", to_batch(crops), FLOAT_BLOCKS)):
        half, source = len(data) // 2, folders[0] / f"{name}.onnx"
        quantize_onnx(
            source,
            folders[1] / f"{name}.onnx",
            data[:half],
            data[half:],
            limit=1.0,
            float_blocks=[block for block in find_blocks(onnx.load(source)) if block.partition(".")[0] in kept],
        )
    bounds = KINDS["int8"].tolerance  # what every int8 variant of a bundle is held to
    golden = replace(
        manifest.golden,
        max_map=bounds.max_map,
        min_mask_iou=bounds.min_mask_iou,
        max_probability=bounds.max_probability,
    )
    _seal(folders[0], manifest)
    _seal(folders[1], replace(manifest, golden=golden))
    return folders


def _settle(network: nn.Module, batch: NDArray[np.uint8]) -> None:
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        network(torch.from_numpy(batch))
    for norm in norms:
        norm.eval()


def _crop(image: NDArray[np.uint8], manifest: b.Manifest, segment: Any) -> NDArray[np.uint8]:
    classes = len(manifest.labels)
    steps = trace(image, manifest, segment, lambda batch: np.zeros((len(batch), classes), np.float32))
    if "roi" in steps:
        return np.asarray(steps["roi"], np.uint8)
    return resize(image, CLASSIFIER_SIDE, CLASSIFIER_SIDE)


def _stages(first: nn.Module, second: nn.Module, segmenter: str, classifier: str) -> tuple[b.Stage, b.Stage]:
    from trainer.models.complexity import measure_module
    from trainer.models.serving import INPUT_NAME

    def stage(network: Any, name: str, side: int, output: b.OutputSpec, file: str) -> b.Stage:
        size = measure_module(network.network, side)
        entry = InputSpec(INPUT_NAME, side, side)
        return b.Stage(name, size.parameters, entry, output, {"onnx": file}, size.gflops)

    return (
        stage(first, segmenter, SEGMENTER_SIDE, b.OutputSpec("probability_map", "probability_map"), "segmenter.onnx"),
        stage(second, classifier, CLASSIFIER_SIDE, b.OutputSpec("probabilities", "probabilities"), "classifier.onnx"),
    )


def _manifest(stages: tuple[b.Stage, b.Stage]) -> b.Manifest:
    unhashed = b.FileEntry("", 0)
    return b.Manifest(
        schema_version=b.SCHEMA_VERSION,
        version="1.0.0",
        min_onnxruntime=None,
        name="peers",
        description="Random weights, for timing only.",
        intended_use="Benchmarks. Its answers mean nothing.",
        labels=LABELS,
        label_names={label: label for label in LABELS},
        melanoma_label="melanoma",
        segmenter=stages[0],
        classifier=stages[1],
        mask=MaskRule(0.5, 0.001, 0.95),
        roi=RoiRule("keep", 0.3),
        quality=QualityLimits(32, 0.0, 0.0, 255.0, 0.0),
        calibration=Calibration("none", 1.0, "nothing"),
        operating_points=(OperatingPoint("half", 0.5, "fixed", "none", "nothing"),),
        default_operating_point="half",
        golden=b.Golden("golden.npz", max_map=0.005, min_mask_iou=0.99, max_probability=0.05),
        parity=(),
        evaluations=(),
        provenance=b.Provenance("none", "none", "Apache-2.0", "Nothing was trained.", "0", "", {}),
        files=dict.fromkeys(("segmenter.onnx", "classifier.onnx", "golden.npz"), unhashed),
    )


def _seal(folder: Path, manifest: b.Manifest) -> None:
    files = {}
    for name in manifest.files:
        data = (folder / name).read_bytes()
        files[name] = b.FileEntry(hashlib.sha256(data).hexdigest(), len(data))
    (folder / MANIFEST).write_text(replace(manifest, name=folder.name, files=files).to_json(), encoding="utf-8")
