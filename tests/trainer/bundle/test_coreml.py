"""Core ML packages: read back from disk and interpreted, they are the PyTorch model; a sabotaged one fails the gate."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edge_infer.bundle.manifest import Manifest, Stage
from edge_infer.bundle.store import read_manifest
from edge_infer.engines.coreml import CoreMLEngine
from edge_infer.schema import parse
from tests.support.packages import NORMALIZATION, pictures, settled, stage
from tests.support.sabotage import SABOTAGE
from tests.support.toy_system import toy_choices, toy_system
from trainer.bundle import coreml
from trainer.bundle.coreml import MINIMUM_TARGET, export_coreml, find_float_layers
from trainer.bundle.errors import ExportError, ParityError
from trainer.bundle.gates import float16_limits, judge, measure_parity, require
from trainer.bundle.mil import MilProgram
from trainer.data.drawn import draw_dataset, draw_picture
from trainer.data.ham10000 import Record, read_ham10000
from trainer.models import create
from trainer.models.serving import ServingClassifier, ServingGraph, ServingSegmenter, as_network
from trainer.scoring.networks import Networks

SEGMENTER, CLASSIFIER = "segmenter.mlpackage", "classifier.mlpackage"
Change = Callable[[ServingGraph], nn.Module]


# ---- the toy system through the same gates as a real export


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    folder = tmp_path_factory.mktemp("drawn")
    draw_dataset(folder, lesions=24, seed=6, height=120, width=160, split=(0.2, 0.4, 0.4))
    return read_ham10000(folder)


@pytest.fixture(scope="module")
def manifest(toy_bundle: Path) -> Manifest:
    system, choices = toy_system(), toy_choices()
    segmenter, classifier = system.stages()
    return replace(
        read_manifest(toy_bundle).manifest,
        segmenter=segmenter,
        classifier=classifier,
        labels=system.labels,
        mask=choices.mask,
        roi=system.roi,
        operating_points=choices.operating_points,
    )


def export_system(folder: Path, changes: dict[str, Change] | None = None, **options: Any) -> None:
    system = toy_system()
    for file, graph, spec, labels in zip(
        (SEGMENTER, CLASSIFIER), system.graphs(2.0), system.stages(), (None, system.labels), strict=True
    ):
        change = (changes or {}).get(file, lambda graph: graph)
        export_coreml(change(graph).eval(), spec, labels, folder / file, **options)


def interpreted(folder: Path) -> Networks:
    return Networks(MilProgram(folder / SEGMENTER).run, MilProgram(folder / CLASSIFIER).run)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both toy packages in float16. Read only."""
    folder = tmp_path_factory.mktemp("packages")
    export_system(folder)
    return folder


def test_float16_packages_pass_the_gate_end_to_end(
    packages: Path, records: Sequence[Record], manifest: Manifest
) -> None:
    parity = measure_parity(records, manifest, toy_system().networks(2.0), interpreted(packages), progress=False)
    require(judge(parity, float16_limits(SEGMENTER, CLASSIFIER)))
    assert parity.max_probability > 0
    assert parity.max_map > 0


@pytest.mark.parametrize("file", [SEGMENTER, CLASSIFIER])
@pytest.mark.parametrize("how", list(SABOTAGE))
def test_a_sabotaged_package_fails_the_gate(
    how: str, file: str, records: Sequence[Record], manifest: Manifest, tmp_path: Path
) -> None:
    export_system(tmp_path, {file: SABOTAGE[how]})
    parity = measure_parity(records, manifest, toy_system().networks(2.0), interpreted(tmp_path), progress=False)
    with pytest.raises(ParityError, match=file):
        require(judge(parity, float16_limits(SEGMENTER, CLASSIFIER)))


def test_float32_is_the_model_itself(tmp_path: Path) -> None:
    export_system(tmp_path, precision="float32")
    for file, graph in zip((SEGMENTER, CLASSIFIER), toy_system().graphs(2.0), strict=True):
        program = MilProgram(tmp_path / file)
        batch = pictures(3, *program.input_shape[:2])
        expected = as_network(graph)(batch)
        assert program.run(batch) == pytest.approx(expected, abs=2e-6)
        assert np.array_equal(program.run(batch), program.run(batch, fp16=False))


def test_float16_rounding_is_applied_where_the_program_says_so(packages: Path) -> None:
    program = MilProgram(packages / SEGMENTER)
    batch = pictures(1, *program.input_shape[:2])
    rounded, exact = program.run(batch), program.run(batch, fp16=False)
    assert np.array_equal(rounded, rounded.astype(np.float16))
    assert not np.array_equal(exact, exact.astype(np.float16))


def test_the_package_explains_itself(packages: Path) -> None:
    import coremltools as ct

    system = toy_system()
    for file, spec, labels in zip((SEGMENTER, CLASSIFIER), system.stages(), (None, list(system.labels)), strict=True):
        package = ct.models.MLModel(str(packages / file), skip_model_load=True).get_spec()
        metadata = package.description.metadata.userDefined
        assert parse(Stage, json.loads(metadata["edge_infer.stage"])) == spec
        assert json.loads(metadata.get("edge_infer.labels", "null")) == labels
        assert set(json.loads(metadata["edge_infer.packages"])) == {"torch", "coremltools", "numpy"}
        assert metadata["edge_infer.minimum_target"] == MINIMUM_TARGET
        assert package.specificationVersion == ct.target[MINIMUM_TARGET].value
        [image], [result] = package.description.input, package.description.output
        assert (image.name, result.name) == (spec.input.name, spec.output.name)
        assert image.type.imageType.colorSpace == image.type.imageType.ColorSpace.Value("RGB")
        assert (image.type.imageType.height, image.type.imageType.width) == (spec.input.height, spec.input.width)
        assert result.type.multiArrayType.dataType == result.type.multiArrayType.ArrayDataType.Value("FLOAT32")


def test_a_second_export_replaces_the_first_and_a_failed_one_does_not(tmp_path: Path) -> None:
    path = tmp_path / CLASSIFIER
    graph = ServingClassifier(nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(3, 2)), NORMALIZATION)
    spec = stage("probabilities", 16, 16)
    export_coreml(graph, spec, ["old", "mel"], path)
    export_coreml(graph, spec, ["new", "mel"], path)
    with pytest.raises(ExportError, match="training mode"):
        export_coreml(graph.train(), spec, ["newest", "mel"], path)
    with pytest.raises(ExportError, match="mlpackage"):
        export_coreml(graph.eval(), spec, ["newest", "mel"], tmp_path / "classifier.mlmodel")
    assert json.loads(MilProgram(path).metadata["edge_infer.labels"]) == ["new", "mel"]
    assert [entry.name for entry in tmp_path.iterdir()] == [CLASSIFIER]


# ---- real architectures


@pytest.mark.parametrize("name", ["unet_mobilenet_v2", "unetplusplus_mobilenet_v2"])
def test_segmenters_agree_with_torch(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    graph = ServingSegmenter(settled(create(name), 64), NORMALIZATION)
    check_agreement(graph, stage("probability_map", 64, 64), tmp_path / SEGMENTER)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50", "densenet121"])
def test_classifiers_agree_with_torch(name: str, tmp_path: Path) -> None:
    import torchvision

    torch.manual_seed(0)
    network = getattr(torchvision.models, name)(num_classes=7)
    graph = ServingClassifier(settled(network, 64), NORMALIZATION, 1.3)
    check_agreement(graph, stage("probabilities", 64, 64), tmp_path / CLASSIFIER)


def test_mirrored_views_are_averaged_inside_the_package(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 5, stride=3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 7))
    graph = ServingClassifier(network, NORMALIZATION, 1.3, views=4)
    export_coreml(graph, stage("probabilities", 20, 20), None, tmp_path / CLASSIFIER, precision="float32")
    batch = pictures(2, 20, 20)
    result = MilProgram(tmp_path / CLASSIFIER).run(batch)
    assert result == pytest.approx(as_network(graph)(batch), abs=1e-5)
    assert result != pytest.approx(as_network(ServingClassifier(network, NORMALIZATION, 1.3))(batch), abs=1e-3)


def check_agreement(graph: ServingGraph, spec: Stage, path: Path) -> None:
    """In float32: how far float16 moves an untrained network says nothing about a trained one."""
    export_coreml(graph, spec, None, path, precision="float32")
    batch = pictures(2, 64, 64)
    result, expected = MilProgram(path).run(batch), as_network(graph)(batch)
    assert result.shape == expected.shape
    assert np.ptp(expected) > 2e-3
    assert result == pytest.approx(expected, abs=1e-5)


# ---- layers in float32


class Steep(nn.Module):
    """The second layer's large weights cancel each other on smooth pictures, as folded batch norms can make them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.edges = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.mix = nn.Sequential(
            nn.ReLU6(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU6(), nn.Conv2d(16, 16, 3), nn.ReLU6()
        )
        self.head = nn.Linear(16, 7)
        with torch.no_grad():
            weights = torch.randn(8, 1, 9)
            self.edges.weight.copy_(2400 * (weights - weights.mean(2, keepdim=True)).reshape(8, 1, 3, 3))
            self.head.weight.mul_(16)

    def forward(self, planes: Tensor) -> Tensor:
        logits: Tensor = self.head(self.mix(self.edges(self.stem(planes))).mean((2, 3)))
        return logits


def test_the_layers_that_float16_cannot_hold_are_found_and_stay_float32(tmp_path: Path) -> None:
    torch.manual_seed(0)
    graph = ServingClassifier(Steep(), NORMALIZATION).eval()
    spec, rng = stage("probabilities", 32, 32), np.random.default_rng(0)
    batch = np.stack([draw_picture(rng, 32, 32, "nv").image for _ in range(4)])
    expected = as_network(graph)(batch)
    layers = find_float_layers(graph, spec, batch, 8e-4)
    assert layers == 2
    paths = [tmp_path / f"{name}.mlpackage" for name in ("plain", "mixed", "exact")]
    export_coreml(graph, spec, None, paths[0])
    export_coreml(graph, spec, None, paths[1], float_layers=layers)
    export_coreml(graph, spec, None, paths[2], precision="float32")
    plain, mixed, exact = map(MilProgram, paths)
    assert np.abs(plain.run(batch) - expected).max() > 1e-3 >= np.abs(mixed.run(batch) - expected).max()
    for count, program in ((0, plain), (layers, mixed)):
        assert np.array_equal(exact.run(batch, float_layers=count), program.run(batch))
        assert program.float32_share == pytest.approx(exact.share_of_first(count))
    assert (plain.float32_share, exact.float32_share) == (0, 1)
    assert mixed.multiplications == 256 * 27 * 8 + 256 * 9 * 8 + 49 * 72 * 16 + 25 * 144 * 16 + 16 * 7
    assert mixed.metadata["edge_infer.float32_layers"] == "2"
    with pytest.raises(ExportError, match="half of its work"):
        find_float_layers(graph, spec, batch, 0.0)


# ---- compressed weights


@pytest.mark.parametrize(("weights", "share", "tolerance"), [("int8", 0.65, 0.01), ("palette6", 0.55, 0.03)])
def test_compressed_weights_are_smaller_and_are_what_core_ml_decompresses(
    weights: Any, share: float, tolerance: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import coremltools as ct

    monkeypatch.setattr(coreml, "MIN_INT8_ELEMENTS", 2048)
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 32, 3, stride=2, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU6(),
        nn.Conv2d(32, 64, 3, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 7),
    )
    graph = ServingClassifier(settled(network, 32), NORMALIZATION)
    spec = stage("probabilities", 32, 32)
    export_coreml(graph, spec, None, tmp_path / "plain.mlpackage")
    export_coreml(graph, spec, None, tmp_path / "small.mlpackage", weights=weights)
    batch = pictures(4, 32, 32)
    small = MilProgram(tmp_path / "small.mlpackage")
    assert any(name.startswith("constexpr_") for name in small.operations)
    assert small.run(batch) == pytest.approx(as_network(graph)(batch), abs=tolerance)

    if weights == "int8":
        monkeypatch.setattr(coreml, "MIN_INT8_ELEMENTS", 32 * 64 * 9 + 1)
        export_coreml(graph, spec, None, tmp_path / "none.mlpackage", weights=weights)
        none = MilProgram(tmp_path / "none.mlpackage")
        assert not any(name.startswith("constexpr_") for name in none.operations), "no tensor is large enough"

    def weight_bytes(path: Path) -> int:
        return sum(file.stat().st_size for file in path.rglob("weight.bin"))

    assert weight_bytes(tmp_path / "small.mlpackage") < share * weight_bytes(tmp_path / "plain.mlpackage")

    package = ct.models.MLModel(str(tmp_path / "small.mlpackage"), skip_model_load=True)
    ct.optimize.coreml.decompress_weights(package).save(str(tmp_path / "dense.mlpackage"))
    dense = MilProgram(tmp_path / "dense.mlpackage")
    assert not any(name.startswith("constexpr_") for name in dense.operations)
    assert small.run(batch) == pytest.approx(dense.run(batch), abs=1e-6)


# ---- Core ML itself


@pytest.mark.skipif(sys.platform != "darwin", reason="Core ML runs on macOS only")
@pytest.mark.parametrize("units", ["CPU_ONLY", "ALL"])
def test_core_ml_predicts_what_the_interpreter_does(packages: Path, units: Any) -> None:
    for file in (SEGMENTER, CLASSIFIER):
        program = MilProgram(packages / file)
        batch = pictures(3, *program.input_shape[:2])
        engine = CoreMLEngine(packages / file, compute_units=units)
        assert engine.run(batch) == pytest.approx(program.run(batch), abs=5e-3)
