"""Weights as float16 or int8: norms folded only where that is right, values rounded once, files that compute alike."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from edge_infer.bundle.manifest import OutputSpec, Stage
from edge_infer.engines.onnx import OnnxEngine
from edge_infer.rules import InputSpec
from trainer.bundle import rounding
from trainer.bundle.errors import ExportError
from trainer.bundle.onnx import OPSET, export_onnx
from trainer.bundle.quantize import find_blocks, quantize_onnx
from trainer.bundle.rounding import fold_norms, rounded
from trainer.bundle.storage import (
    IR_VERSION,
    MIN_ELEMENTS,
    MIN_INT8_ELEMENTS,
    load_wide,
    narrow,
    on_grid,
    parse_store,
    save_onnx,
    widen,
)
from trainer.models.serving import ServingClassifier
from trainer.recipe import Normalization

SIZE = 32
LABELS = ("a", "b", "mel")
STAGE = Stage("wide", 1, InputSpec("image", SIZE, SIZE), OutputSpec("p", "probabilities"), {})


def settled(network: nn.Module) -> nn.Module:
    """Gives every batch norm statistics and factors that a wrong folding would show."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                for values in (module.weight, module.bias, module.running_mean, module.running_var):
                    assert values is not None
                    values.copy_(torch.rand(len(values), generator=generator) + 0.5)
    return network.eval()


class Classifier(nn.Module):
    """Two wide convolutions with norms, a linear layer in float16's reach and one that is too small to round."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 64, 3, stride=2), nn.BatchNorm2d(64), nn.ReLU(inplace=True))
        self.wide = nn.Sequential(nn.Conv2d(64, 64, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU6(inplace=True))
        self.mix = nn.Linear(64, 512)
        self.head = nn.Linear(512, len(LABELS))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.relu(self.mix(self.wide(self.first(images)).mean((2, 3)))))
        return logits


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return rounded(settled(Classifier()), SIZE)


@pytest.fixture(scope="module")
def files(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same network with its weights as float32 and as float16. Read only."""
    folder = tmp_path_factory.mktemp("storage")
    graph = ServingClassifier(network, Normalization())
    export_onnx(graph, STAGE, folder / "full.onnx", LABELS)
    export_onnx(graph, STAGE, folder / "half.onnx", LABELS, store="float16")
    return folder / "full.onnx", folder / "half.onnx"


def noise(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def stored(model: onnx.ModelProto, kind: int) -> list[str]:
    return [tensor.name for tensor in model.graph.initializer if tensor.data_type == kind]


def test_large_weights_are_rounded_and_nothing_else(network: nn.Module) -> None:
    torch.manual_seed(0)
    trained = settled(Classifier())
    kept = copy.deepcopy(trained.state_dict())
    again = rounded(trained, SIZE)
    assert all(torch.equal(value, kept[name]) for name, value in trained.state_dict().items()), "a copy is rounded"
    assert not any(isinstance(module, nn.BatchNorm2d) for module in again.modules())
    exact = {name for name, value in again.named_parameters() if torch.equal(value, value.half().float())}
    assert exact == {"wide.0.weight", "mix.weight"}
    assert torch.equal(again.head.weight, kept["head.weight"])  # type: ignore[arg-type,union-attr]
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in again.state_dict().items())


def test_weights_beyond_float16_are_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 64, 1), nn.Conv2d(64, 64, 3))
    with torch.no_grad():
        network[1].weight[0, 0, 0, 0] = 7e4  # type: ignore[index,operator]
    with pytest.raises(ExportError, match=r"'1\.weight' goes up to 7e\+04") as raised:
        rounded(network, SIZE)
    assert "--store float32" in raised.value.remedy


class Twice(nn.Module):
    """A convolution and what is done with its result."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=how != "plain")
        self.norm, self.other = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.relu, self.up = nn.ReLU(inplace=True), nn.ConvTranspose2d(3, 4, 2, stride=2)
        self.grouped = nn.ConvTranspose2d(4, 4, 2, stride=2, groups=4)
        self.special = Special(4)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) to four channels."""
        x = self.up(images) if self.how == "transposed" else self.conv(images)
        result: Tensor
        if self.how == "used twice":
            result = self.norm(x) + x
        elif self.how == "changed in place":
            result = self.norm(self.relu(x))
        elif self.how == "two norms":
            result = self.norm(x) + self.other(self.conv(images.flip(1)))
        elif self.how == "norm of two":
            result = self.norm(x) + self.norm(images.repeat(1, 2, 1, 1)[:, :4])
        elif self.how == "grouped transposed":
            result = self.norm(self.grouped(x))
        elif self.how == "special norm":
            result = self.special(x)
        else:
            result = self.norm(x)
        return result


class Special(nn.BatchNorm2d):
    """Does more than a batch norm."""

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return super().forward(images).abs()


@pytest.mark.parametrize(
    ("how", "count"),
    [
        ("plain", 1),
        ("with bias", 1),
        ("transposed", 1),
        ("used twice", 0),
        ("changed in place", 0),
        ("two norms", 0),
        ("norm of two", 0),
        ("grouped transposed", 0),
        ("special norm", 0),
    ],
)
def test_a_norm_is_folded_only_where_nothing_else_sees_it(how: str, count: int) -> None:
    torch.manual_seed(0)
    network = settled(Twice(how))
    pictures = torch.randn(2, 3, SIZE, SIZE)
    with torch.inference_mode():
        expected = network(pictures)
    assert fold_norms(network, SIZE) == count
    with torch.inference_mode():
        assert torch.allclose(network(pictures), expected, atol=1e-5)


def test_a_stored_file_computes_bit_for_bit_the_same(files: tuple[Path, Path], network: nn.Module) -> None:
    full, half = (OnnxEngine(path, providers=["cpu"], threads=1) for path in files)
    for pictures in (noise(1), noise(3, 1)):
        assert np.array_equal(full.run(pictures), half.run(pictures))
    assert full.metadata == half.metadata
    saved = files[0].stat().st_size - files[1].stat().st_size
    assert saved == pytest.approx(2 * (64 * 64 * 9 + 64 * 512), rel=0.01)
    model = onnx.load(files[1])
    onnx.checker.check_model(model, full_check=True)
    assert len(stored(model, TensorProto.FLOAT16)) == 2


def optimised(path: Path, folder: Path) -> onnx.ModelProto:
    """What ONNX Runtime computes with once it has opened the file."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "optimised.onnx")


def test_the_runtime_casts_no_weights_when_it_runs(files: tuple[Path, Path], tmp_path: Path) -> None:
    model = optimised(files[1], tmp_path)
    assert stored(model, TensorProto.FLOAT16) == []
    assert {node.input[0] for node in model.graph.node if node.op_type == "Cast"} <= {"image"}


def test_widening_gives_the_plain_file_back_and_bytes_are_deterministic(
    files: tuple[Path, Path], network: nn.Module
) -> None:
    assert load_wide(files[1]).SerializeToString() == onnx.load(files[0]).SerializeToString()
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / "again.onnx"
        export_onnx(ServingClassifier(network, Normalization()), STAGE, again, LABELS, store="float16")
        assert again.read_bytes() == files[1].read_bytes()


def test_only_what_float16_holds_is_narrowed() -> None:
    exact = np.linspace(-1, 1, MIN_ELEMENTS).astype(np.float16).astype(np.float32)
    values = {
        "exact": exact,
        "tiny": np.full(MIN_ELEMENTS, 2.0**-24, np.float32),
        "inexact": np.append(exact[:-1], np.float32(0.1)),
        "overflow": np.append(exact[:-1], np.float32(1e6)),
        "small": exact[:-1],
        "whole": np.arange(MIN_ELEMENTS),
    }
    nodes = [helper.make_node("Identity", [name], [f"{name} out"]) for name in values]
    tensors = [numpy_helper.from_array(value, name) for name, value in values.items()]
    outputs = [
        helper.make_tensor_value_info(f"{name} out", helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in values.items()
    ]
    graph = helper.make_graph(nodes, "g", [], outputs, tensors)
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", OPSET)])
    before = model.SerializeToString()
    assert narrow(model) == 2 and narrow(model) == 0
    onnx.checker.check_model(model, full_check=True)
    assert stored(model, TensorProto.FLOAT16) == ["exact.float16", "tiny.float16"]
    results = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {})
    assert all(np.array_equal(result, value) for result, value in zip(results, values.values(), strict=True))
    assert widen(model) == 2 and widen(model) == 0
    assert model.SerializeToString() == before


def test_int8_files_come_out_of_stored_ones(files: tuple[Path, Path], tmp_path: Path) -> None:
    blocks = list(find_blocks(load_wide(files[1])))
    assert blocks == list(find_blocks(onnx.load(files[0]))) and "wide.0" in blocks
    paths = tmp_path / "full.onnx", tmp_path / "half.onnx"
    reports = [
        quantize_onnx(source, path, noise(8, 1), noise(8, 2), limit=1.0, float_blocks=["wide.0"])
        for source, path in zip(files, paths, strict=True)
    ]
    assert reports[0].shift == reports[1].shift
    full, half = (OnnxEngine(path, providers=["cpu"], threads=1).run(noise(2)) for path in paths)
    assert np.array_equal(full, half)
    models = [onnx.load(path) for path in paths]
    assert len(stored(models[0], TensorProto.FLOAT16)) == 0
    assert len(stored(models[1], TensorProto.FLOAT16)) == 1
    assert paths[1].stat().st_size < paths[0].stat().st_size - 64 * 64 * 9


def ups() -> nn.Module:
    """As `Classifier`, with a transposed convolution, whose output channels are its weight's second axis."""
    torch.manual_seed(2)
    network = Classifier()
    network.wide = nn.Sequential(nn.ConvTranspose2d(64, 96, 3, bias=False), nn.BatchNorm2d(96), nn.ReLU())
    network.mix = nn.Linear(96, 512)
    return settled(network)


@pytest.mark.parametrize("make", [lambda: settled(Classifier()), ups])
def test_a_file_of_8_bit_weights_computes_what_pytorch_does(
    make: Callable[[], nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounding, "MIN_INT8_ELEMENTS", MIN_ELEMENTS)
    trained = make()
    network = rounded(trained, SIZE, "int8")
    plain = rounded(trained, SIZE, "float16")
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and layer.weight.numel() >= MIN_ELEMENTS:
            axis = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
            weight, other = layer.weight.detach(), plain.get_submodule(name).weight
            assert isinstance(other, Tensor)
            others = [dim for dim in range(weight.dim()) if dim != axis]
            step = weight.abs().amax(others, keepdim=True) / 127
            assert all(len(channel.unique()) <= 255 for channel in weight.unbind(axis))
            assert ((weight - other).abs() <= 0.51 * step + 1e-3 * other.abs()).all()
    graph = ServingClassifier(network, Normalization())
    for store, name in (("float32", "full.onnx"), ("int8", "byte.onnx"), ("int8", "again.onnx")):
        export_onnx(graph, STAGE, tmp_path / name, LABELS, store=store)  # type: ignore[arg-type]
    full, byte = (OnnxEngine(tmp_path / name, providers=["cpu"], threads=1) for name in ("full.onnx", "byte.onnx"))
    assert np.array_equal(full.run(noise(3)), byte.run(noise(3)))
    expected = graph(torch.from_numpy(noise(3))).detach().numpy()
    assert np.abs(byte.run(noise(3)) - expected).max() < 1e-5
    model = onnx.load(tmp_path / "byte.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert len(stored(model, TensorProto.INT8)) == 2 and not stored(model, TensorProto.FLOAT16)
    assert (
        load_wide(tmp_path / "byte.onnx").SerializeToString() == onnx.load(tmp_path / "full.onnx").SerializeToString()
    )
    assert (tmp_path / "byte.onnx").read_bytes() == (tmp_path / "again.onnx").read_bytes()
    kept = {tensor.data_type for tensor in optimised(tmp_path / "byte.onnx", tmp_path).graph.initializer}
    assert kept <= {TensorProto.FLOAT, TensorProto.INT64}


def test_only_the_largest_layers_get_8_bits() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3), nn.Conv2d(64, 4096, 1)]
    assert layers[1].weight.numel() < MIN_INT8_ELEMENTS == layers[2].weight.numel()
    first, second, third = rounded(nn.Sequential(*layers), SIZE, "int8").children()
    assert torch.equal(first.weight, layers[0].weight)  # type: ignore[arg-type]
    assert torch.equal(second.weight, layers[1].weight.half().float())  # type: ignore[arg-type]
    assert len(third.weight[0].unique()) <= 255 and not torch.equal(third.weight, third.weight.half().float())  # type: ignore[index,operator,arg-type,union-attr]


@given(
    weight=arrays(np.float32, (5, 7), elements=st.floats(-1e4, 1e4, width=32)),
    axis=st.sampled_from([0, 1]),
    empty=st.booleans(),
)
@example(weight=np.full((5, 7), 1.6307e-41, np.float32), axis=0, empty=False)
def test_weights_on_the_grid_stay_where_they_are(weight: NDArray[np.float32], axis: int, empty: bool) -> None:
    if empty:
        weight[0] = 0
    once = on_grid(weight, axis)
    assert np.array_equal(once, on_grid(once, axis))
    peak = np.abs(weight).max(1 - axis, keepdims=True)
    assert (np.abs(once - weight) <= 0.5001 * peak / 127 + 1e-30).all()
    assert not np.signbit(once[once == 0]).any()


def test_ways_of_storing_have_names() -> None:
    assert [parse_store(name) for name in ("float16", "float32", "int8")] == ["float16", "float32", "int8"]
    with pytest.raises(ExportError, match="int4"):
        parse_store("int4")


def test_files_are_of_an_old_format_that_old_engines_open(files: tuple[Path, Path], tmp_path: Path) -> None:
    size = (4, SIZE, SIZE, 3)
    pictures = np.random.default_rng(3).integers(0, 256, size, dtype=np.uint8)
    quantize_onnx(files[0], tmp_path / "int8.onnx", pictures, pictures, limit=1.0)
    for file in (*files, tmp_path / "int8.onnx"):
        assert onnx.load(file).ir_version == IR_VERSION == 9


def test_a_graph_that_needs_a_newer_format_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    newer, noted = onnx.load(files[0]), onnx.load(files[0])
    newer.opset_import[0].version = 21
    with pytest.raises(ExportError, match="opset 21"):
        save_onnx(newer, tmp_path / "newer.onnx")
    noted.graph.node[0].metadata_props.add(key="line", value="1")
    with pytest.raises(ExportError, match="notes on nodes"):
        save_onnx(noted, tmp_path / "noted.onnx")
    assert not list(tmp_path.iterdir())
