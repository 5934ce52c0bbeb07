"""int8 export: the scheme asked for, sensitive blocks found and kept float, biases corrected, close to float."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from edge_infer.bundle.manifest import OutputSpec, Stage
from edge_infer.engines.onnx import OnnxEngine
from edge_infer.rules import InputSpec
from trainer.bundle.onnx import export_onnx
from trainer.bundle.quantize import (
    Decisions,
    QuantizationError,
    QuantizationReport,
    _mean_of_error,
    find_blocks,
    measure_shift,
    quantize_onnx,
)
from trainer.data.drawn import draw_picture
from trainer.models.serving import ServingClassifier, ServingSegmenter
from trainer.recipe import Normalization

SIZE = 32
NORMALIZATION = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
LABELS = ("a", "b", "mel")
BLOCKS = ("stem.0", "first.0", "first.3", "spiky.0", "spiky.1", "last.0", "last.3", "head")


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


def drawn(count: int, seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return np.stack([draw_picture(rng, SIZE, SIZE, ("nv", "mel")[i % 2]).image for i in range(count)])


@pytest.fixture(scope="module")
def pictures() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return drawn(24, 1), drawn(16, 2)


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


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return export(Classifier(), tmp_path_factory.mktemp("quantize") / "classifier.onnx")


@pytest.fixture(scope="module")
def quantized(
    classifier: Path, pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]]
) -> tuple[Path, QuantizationReport]:
    path = classifier.with_name("classifier.int8.onnx")
    return path, quantize_onnx(classifier, path, *pictures, limit=0.05)


def run(path: Path, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    return OnnxEngine(path, providers=["cpu"], threads=1).run(batch)


def zero_point_types(model: onnx.ModelProto, operation: str) -> set[int]:
    """Types of the zero points of activations that go into an operation."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    found = set()
    for node in model.graph.node:
        source = made_by.get(node.input[0]) if node.op_type == operation else None
        if source is not None:
            found.add(types[source.input[2]] if source.op_type == "DequantizeLinear" else onnx.TensorProto.FLOAT)
    return found


def test_probabilities_stay_within_the_limit_on_new_pictures(
    classifier: Path, quantized: tuple[Path, QuantizationReport]
) -> None:
    path, report = quantized
    new = drawn(16, 9)
    expected, actual = run(classifier, new), run(path, new)
    assert np.ptp(expected, axis=0).max() > 0.1
    assert 0 < np.abs(expected - actual).max() <= 0.06
    assert report.shift.worst <= 0.05
    assert report.int8_bytes == path.stat().st_size
    assert report.float_bytes == classifier.stat().st_size


def test_the_report_is_what_the_written_file_does(
    classifier: Path,
    quantized: tuple[Path, QuantizationReport],
    pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    path, report = quantized
    again = measure_shift(run(classifier, pictures[1]), run(path, pictures[1]))
    assert (again.mean, again.worst) == pytest.approx((report.shift.mean, report.shift.worst), abs=2e-3)
    assert (report.float_blocks, report.sensitivity) == ((), ())


def test_input_output_and_metadata_are_those_of_the_source(
    classifier: Path, quantized: tuple[Path, QuantizationReport]
) -> None:
    before, after = onnx.load(classifier), onnx.load(quantized[0])
    assert [value.SerializeToString() for value in before.graph.input] == [
        value.SerializeToString() for value in after.graph.input
    ]
    assert [value.name for value in before.graph.output] == [value.name for value in after.graph.output]
    old, new = ({entry.key: entry.value for entry in model.metadata_props} for model in (before, after))
    quantization = json.loads(new.pop("edge_infer.quantization"))
    assert new == old
    assert quantization["scheme"] == quantized[1].scheme
    assert quantization["float_blocks"] == list(quantized[1].float_blocks)


@pytest.mark.parametrize(("target", "kind"), [("x86", onnx.TensorProto.UINT8), ("arm", onnx.TensorProto.INT8)])
def test_each_target_gets_its_scheme(
    target: Any,
    kind: int,
    classifier: Path,
    pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    tmp_path: Path,
) -> None:
    path = tmp_path / "int8.onnx"
    report = quantize_onnx(classifier, path, *pictures, limit=1.0, target=target, float_blocks=[])
    model = onnx.load(path)
    assert zero_point_types(model, "Conv") == {kind}
    weights = {t.name: t for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 4}
    scales = {
        node.input[0]: next(t for t in model.graph.initializer if t.name == node.input[1])
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in weights
    }
    assert scales
    assert all(list(scales[name].dims) == [tensor.dims[0]] for name, tensor in weights.items())
    largest = max(int(np.abs(numpy_helper.to_array(tensor)).max()) for tensor in weights.values())
    assert largest <= 64 if target == "x86" else largest == 127
    assert report.scheme.startswith("QDQ U8S8" if target == "x86" else "QDQ S8S8")
    assert report.sensitivity == ()


def test_normalisation_and_softmax_stay_float(quantized: tuple[Path, QuantizationReport]) -> None:
    model = onnx.load(quantized[0])
    assert zero_point_types(model, "Softmax") <= {onnx.TensorProto.FLOAT}
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.index("Cast") < kinds.index("QuantizeLinear")
    first = next(
        node
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] not in {tensor.name for tensor in model.graph.initializer}
    )
    made_by = {name: node.op_type for node in model.graph.node for name in node.output}
    assert made_by[first.input[0]] in {"Sub", "Add", "Mul"}


def test_float_blocks_stay_float(
    classifier: Path, pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]], tmp_path: Path
) -> None:
    blocks = find_blocks(onnx.load(classifier))
    quantize_onnx(classifier, tmp_path / "int8.onnx", *pictures, limit=1.0, float_blocks=["stem.0", "head"])
    model = onnx.load(tmp_path / "int8.onnx")
    stored = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    layers = {node.name: node for node in model.graph.node if node.op_type in ("Conv", "Gemm")}
    for block, names in blocks.items():
        for name in set(names) & set(layers):
            is_float = stored.get(layers[name].input[1]) == onnx.TensorProto.FLOAT
            assert is_float == (block in {"stem.0", "head"})


def test_the_scan_finds_what_cannot_be_quantised(
    pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    source = export(Classifier(spike=1000.0), tmp_path / "spiky.onnx")
    with pytest.raises(QuantizationError, match="shift"):
        quantize_onnx(source, tmp_path / "all.onnx", *pictures, limit=0.03, float_blocks=[])
    assert not (tmp_path / "all.onnx").exists()
    report = quantize_onnx(source, tmp_path / "some.onnx", *pictures, limit=0.03)
    assert {entry.block for entry in report.sensitivity} == set(BLOCKS)
    assert {entry.block for entry in report.sensitivity[:2]} == {"spiky.0", "spiky.1"}
    assert report.sensitivity[1].shift.mean > 3 * report.sensitivity[2].shift.mean
    assert set(report.float_blocks) == {"spiky.0", "spiky.1"}


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


def test_bias_correction_makes_up_for_rounded_weights(
    pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    source = export(Rounded(), tmp_path / "rounded.onnx")
    report = quantize_onnx(source, tmp_path / "int8.onnx", *pictures, limit=1.0, float_blocks=[])
    assert report.corrected_layers == 3
    assert report.shift_uncorrected.mean > 0.02
    assert report.shift.mean < 0.5 * report.shift_uncorrected.mean


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_expected_error_is_that_of_a_constant_input(groups: int) -> None:
    error = torch.randn(8, 4 // groups, 3, 3, generator=torch.Generator().manual_seed(groups))
    means = torch.tensor([0.5, -1.0, 2.0, 3.0])
    flat = means[None, :, None, None].expand(1, 4, 5, 5)
    expected = nn.functional.conv2d(flat, error, groups=groups)[0, :, 0, 0]
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], group=groups)
    actual = _mean_of_error(node, error.numpy(), means.numpy())
    assert actual == pytest.approx(expected.numpy(), rel=1e-4)


def test_a_segmenter_keeps_its_transposed_convolution_float(
    pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    source = export(Segmenter(), tmp_path / "segmenter.onnx")
    report = quantize_onnx(source, tmp_path / "int8.onnx", *pictures, limit=0.02)
    expected, actual = run(source, pictures[1]), run(tmp_path / "int8.onnx", pictures[1])
    assert actual.shape == expected.shape == (16, SIZE, SIZE)
    assert 0 < np.abs(expected - actual).mean() < 0.02
    assert report.float_blocks == ()
    model = onnx.load(tmp_path / "int8.onnx")
    stored = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    [transposed] = [node for node in model.graph.node if node.op_type == "ConvTranspose"]
    assert stored[transposed.input[1]] == onnx.TensorProto.FLOAT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"float_blocks": ["stem.0", "nose"]}, "nose"),
        ({"calibration": np.zeros((2, SIZE, SIZE + 1, 3), np.uint8)}, "pictures"),
        ({"selection": np.zeros((2, SIZE, SIZE, 3), np.float32)}, "pictures"),
        ({"calibration": np.zeros((0, SIZE, SIZE, 3), np.uint8)}, "pictures"),
    ],
)
def test_wrong_arguments_are_refused(
    change: dict[str, Any],
    message: str,
    classifier: Path,
    pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    tmp_path: Path,
) -> None:
    arguments: dict[str, Any] = {"calibration": pictures[0], "selection": pictures[1], "limit": 1.0, **change}
    with pytest.raises(QuantizationError, match=message):
        quantize_onnx(classifier, tmp_path / "int8.onnx", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_blocks_are_modules_in_order(classifier: Path) -> None:
    model = onnx.load(classifier)
    blocks = find_blocks(model, most=5)
    assert list(blocks) == ["stem", "first", "spiky", "last", "head"]
    assert tuple(find_blocks(model)) == BLOCKS
    kinds = {node.name: node.op_type for node in model.graph.node}
    assert sorted(kinds[name] for name in blocks["first"]) == ["Clip", "Clip", "Conv", "Conv"]
    outside = {kinds[name] for name in set(kinds) - {name for names in blocks.values() for name in names}}
    assert {"Cast", "Softmax"} <= outside


def test_the_mean_over_mirrored_views_stays_float(
    pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    source = export(Classifier(), tmp_path / "views.onnx", views=4)
    quantize_onnx(source, tmp_path / "int8.onnx", *pictures, limit=0.05, float_blocks=[])
    model = onnx.load(tmp_path / "int8.onnx")
    kinds = [node.op_type for node in model.graph.node]
    assert not {"QuantizeLinear", "DequantizeLinear"}.intersection(kinds[kinds.index("Softmax") :])


def test_shift_is_the_worst_class_or_the_mean_of_a_map() -> None:
    a = np.array([[0.5, 0.5], [0.9, 0.1]], np.float32)
    b = np.array([[0.4, 0.6], [0.6, 0.4]], np.float32)
    shift = measure_shift(a, b)
    assert (shift.mean, shift.worst) == pytest.approx((0.2, 0.3))
    assert shift.flipped == 0
    decided = measure_shift(a, b, Decisions(1, (0.05, 0.3), 0.01))
    assert decided.flipped == pytest.approx(1 / 4)
    maps = measure_shift(np.zeros((2, 2, 2), np.float32), np.array([[[1, 0], [0, 0]], [[0, 0], [0, 0]]], np.float32))
    assert (maps.mean, maps.worst) == pytest.approx((0.125, 0.25))
