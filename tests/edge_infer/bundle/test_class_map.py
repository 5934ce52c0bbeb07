"""Class activation maps: exact, from the file's own bytes, and refused where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_infer import Diagnoser
from edge_infer.bundle.class_map import CLASS_MAP, add_to_graph, against_others, find_head, with_class_map
from edge_infer.bundle.store import read_manifest
from edge_infer.errors import ExplanationUnavailableError
from tests.conftest import REPOSITORY
from tests.support.toy_bundle import file_entry, write_manifest, write_toy_bundle
from trainer.data.drawn import draw_picture

ONE_VIEW = [
    folder.name
    for folder in sorted((REPOSITORY / "exported").iterdir())
    if folder.name in ("sources", "open") and (folder / "classifier.onnx").is_file()
]


def run(data: bytes, batch: NDArray[np.uint8], *names: str) -> list[NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return list(session.run(list(names), {session.get_inputs()[0].name: batch}))


def network(pool: str = "GlobalAveragePool", views: bool = False, hidden: bool = False, alpha: float = 1.0) -> bytes:
    """A small classifier: two channels of features, a pool, a linear layer to three classes, a temperature of 2."""
    rng = np.random.default_rng(4)
    constants = {
        "w": rng.normal(size=(2, 3, 3, 3)).astype(np.float32) / 100,
        "fc": rng.normal(size=(3, 2)).astype(np.float32),
        "b": np.array([0.3, -0.2, 0.1], np.float32),
        "t": np.array(2.0, np.float32),
        "axes": np.array([-1, -2], np.int64),
        "three": np.array([1, -1, 3], np.int64),
        "zero": np.array([0], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "w"], ["conv"], strides=[4, 4]),
        helper.make_node("Relu", ["conv"], ["features"]),
        helper.make_node(pool, ["features"] if pool.startswith("Global") else ["features", "axes"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        *([helper.make_node("Relu", ["flat"], ["bent"])] if hidden else ()),
        helper.make_node("Gemm", ["bent" if hidden else "flat", "fc", "b"], ["logits"], transB=1, alpha=alpha),
    ]
    last = "logits"
    if views:
        nodes += [
            helper.make_node("Reshape", ["logits", "three"], ["viewed"]),
            helper.make_node("ReduceMean", ["viewed", "zero"], ["mean"], keepdims=0),
        ]
        last = "mean"
    nodes += [helper.make_node("Div", [last, "t"], ["div"]), helper.make_node("Softmax", ["div"], ["p"], axis=1)]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 32, 32, 3])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("pool", ["GlobalAveragePool", "ReduceMean"])
def test_the_mean_of_a_map_is_the_logit_less_the_bias(pool: str) -> None:
    data = network(pool)
    more = with_class_map(data, "p", "small")
    onnx.checker.check_model(onnx.load_from_string(more))
    batch = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    head = find_head(data, "p", "small")
    probabilities, maps, logits = run(add_to_graph(more, [], head.logits), batch, "p", CLASS_MAP, head.logits)
    assert maps.shape == (3, 8, 8, 3)
    np.testing.assert_allclose(maps.mean((1, 2)), logits - [0.3, -0.2, 0.1], atol=1e-5)
    np.testing.assert_array_equal(probabilities, run(data, batch, "p")[0])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"views": True}, "mirrored views"),
        ({"hidden": True}, "'Relu' stands where the mean over all places should"),
        ({"pool": "GlobalMaxPool"}, "'GlobalMaxPool' stands where the mean"),
        ({"alpha": 2.0}, "'Gemm' stands where its last linear layer should"),
    ],
)
def test_what_has_no_exact_map_is_refused(options: dict[str, object], why: str) -> None:
    with pytest.raises(ExplanationUnavailableError, match=why):
        with_class_map(network(**options), "p", "small")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ONE_VIEW)
def test_shipped_classifiers_of_one_view_are_explained_exactly(name: str) -> None:
    bundle = read_manifest(REPOSITORY / "exported" / name)
    manifest = bundle.manifest
    data = bundle.variant_file("classifier").read_bytes()
    output = manifest.classifier.output.name
    head = find_head(data, output, name)
    stored = {item.name: item for item in onnx.load_from_string(data).graph.initializer}
    linear = next(node for node in onnx.load_from_string(data).graph.node if head.logits in node.output)
    bias = numpy_helper.to_array(stored[linear.input[2]])
    side = manifest.classifier.input.height
    batch = np.stack(
        [draw_picture(np.random.default_rng(seed), side, side, kind).image for seed, kind in ((5, "mel"), (6, "nv"))]
    )
    more = add_to_graph(with_class_map(data, output, name), [], head.logits)
    rows, maps, logits = run(more, batch, output, CLASS_MAP, head.logits)
    np.testing.assert_allclose(maps.mean((1, 2)) + bias, logits, atol=2e-4)
    np.testing.assert_allclose(rows, run(data, batch, output)[0], atol=1e-6)
    index, temperature = manifest.melanoma_index, manifest.calibration.temperature
    for row, places in zip(rows, maps, strict=True):
        shown = against_others(places, index, row)
        q = np.delete(row, index).astype(np.float64) / np.delete(row, index).sum()
        constant = bias[index] - np.delete(bias, index) @ q
        entropy = -(q * np.log(q)).sum()
        odds = np.log(float(row[index]) / (1 - float(row[index])))
        assert odds == pytest.approx((shown.mean() + constant) / temperature - entropy, abs=2e-3)


def test_a_diagnoser_explains_where_it_is_asked_to(toy_bundle: Path, nevus: NDArray[np.uint8]) -> None:
    with Diagnoser.load(toy_bundle) as plain, Diagnoser.load(toy_bundle, explain=True) as explaining:
        first, second = plain.diagnose(nevus), explaining.diagnose(nevus)
        many = list(explaining.diagnose_many([nevus, np.zeros_like(nevus), nevus]))
    assert first.class_map is None and "class_map" not in first.to_dict()
    assert second.class_map is not None and second.class_map.dtype == np.float32
    assert second.melanoma_probability == first.melanoma_probability
    np.testing.assert_allclose(second.to_dict()["class_map"], second.class_map)
    assert many[1].class_map is None, "a refused picture has no score to explain"
    np.testing.assert_allclose(many[2].class_map, second.class_map, atol=1e-5)


def test_a_bundle_of_several_views_is_refused_by_name(tmp_path: Path) -> None:
    folder = write_toy_bundle(tmp_path / "views")
    model = onnx.load(folder / "classifier.onnx")
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([1, -1, 7], np.int64), "views"))
    softmax = graph.node.pop()
    graph.node.extend(
        [
            helper.make_node("Reshape", [softmax.input[0], "views"], ["viewed"]),
            helper.make_node("ReduceMean", ["viewed"], ["mean_view"], axes=[0], keepdims=0),
            helper.make_node("Softmax", ["mean_view"], list(softmax.output), axis=1),
        ]
    )
    onnx.save(model, folder / "classifier.onnx")
    manifest = read_manifest(folder).manifest
    manifest.files["classifier.onnx"] = file_entry(folder / "classifier.onnx")
    write_manifest(folder, manifest)
    Diagnoser.load(folder).close()
    with pytest.raises(ExplanationUnavailableError, match="'views': it answers with the mean over several"):
        Diagnoser.load(folder, explain=True)


def test_the_published_system_has_hidden_layers_and_is_refused() -> None:
    data = (REPOSITORY / "exported/reference/classifier.onnx").read_bytes()
    with pytest.raises(ExplanationUnavailableError, match="global mean"):
        find_head(data, "probabilities", "reference")
