"""Bundles come from anybody: what they ask for beyond being a bundle is refused by name, and bytes are read once."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edge_infer import Diagnoser, errors
from edge_infer.bundle import store
from edge_infer.bundle.golden import read_golden
from edge_infer.bundle.manifest import MANIFEST
from edge_infer.bundle.onnx_file import check_network
from edge_infer.bundle.parse import parse_manifest
from edge_infer.bundle.store import load_bundle, read_manifest
from edge_infer.engines.variants import open_variant
from tests.conftest import REPOSITORY
from tests.support.toy_bundle import file_entry, write_manifest

Change = Callable[[onnx.ModelProto], object]


@pytest.fixture
def copy(toy_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_bundle, tmp_path / "copy"))


def relist(folder: Path, *names: str) -> None:
    """Makes the manifest true again after files were changed: the attacker's part."""
    manifest = read_manifest(folder).manifest
    files = {**manifest.files, **{name: file_entry(folder / name) for name in names}}
    write_manifest(folder, replace(manifest, files=files))


def change(folder: Path, name: str, how: Change) -> None:
    model = onnx.load(folder / name)
    how(model)
    (folder / name).write_bytes(model.SerializeToString())
    relist(folder, name)


def weights(model: onnx.ModelProto) -> TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == "weights")


def elsewhere(model: onnx.ModelProto) -> None:
    tensor = weights(model)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../etc/passwd")


def nan(model: onnx.ModelProto) -> None:
    values = numpy_helper.to_array(weights(model)).copy()
    values[0, 0] = np.nan
    weights(model).CopyFrom(numpy_helper.from_array(values, "weights"))


def infinite_half(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([np.inf], np.float16), "half"))


def unpacked_nan(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(helper.make_tensor("plain", TensorProto.FLOAT, [2], [1.0, float("nan")]))


def constant_nan(model: onnx.ModelProto) -> None:
    value = numpy_helper.from_array(np.array([np.nan], np.float32))
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=value))


def claims_more(model: onnx.ModelProto) -> None:
    weights(model).dims[0] = 2**40


def negative(model: onnx.ModelProto) -> None:
    weights(model).dims[0] = -1


def grows(operator: str, place: int) -> Change:
    def how(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(numpy_helper.from_array(np.array([2**20, 2**20], np.int64), "huge"))
        model.graph.node.append(helper.make_node(operator, [*["x"] * place, "huge"], ["y"]))

    return how


def branch(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [])
    model.graph.node.append(helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner))


def function(model: onnx.ModelProto) -> None:
    model.functions.append(
        helper.make_function("own", "F", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], model.opset_import)
    )


UNSAFE: dict[str, tuple[Change, str]] = {
    "external data": (elsewhere, "keeps weights in another file"),
    "operators of others, declared": (lambda m: m.opset_import.add(domain="evil", version=1), "operators of 'evil'"),
    "operators of others, used": (
        lambda m: m.graph.node.append(helper.make_node("F", [], ["z"], domain="evil")),
        "'evil'",
    ),
    "functions": (function, "functions"),
    "branches": (branch, "loops or branches"),
    "randomness": (lambda m: m.graph.node.append(helper.make_node("RandomNormal", [], ["z"], shape=[1])), "at random"),
    "weights that are no numbers": (nan, "not finite"),
    "half-precision weights without end": (infinite_half, "not finite"),
    "weights that are no numbers, unpacked": (unpacked_nan, "not finite"),
    "a constant that is no number": (constant_nan, "not finite"),
    "a shape that nothing backs": (claims_more, "values"),
    "a negative shape": (negative, "shape"),
    "a constant without end": (grows("ConstantOfShape", 0), "makes a tensor of 1,099,511,627,776"),
    "an expansion without end": (grows("Expand", 1), "Expand"),
    "a resize without end": (grows("Resize", 3), "Resize"),
    "two graphs in one": (lambda m: m.graph.Clear(), "takes nothing"),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_a_network_that_asks_for_more_is_refused_before_an_engine_sees_it(
    name: str, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how, words = UNSAFE[name]
    change(copy, "classifier.onnx", how)
    monkeypatch.setattr("edge_infer.engines.variants.OnnxEngine", lambda *_, **__: pytest.fail("an engine saw it"))
    with pytest.raises(errors.BundleError, match=words) as caught:
        open_variant(load_bundle(copy), "classifier")
    assert isinstance(caught.value, errors.BundleUnsafeError | errors.BundleMismatchError) and caught.value.remedy


MISMATCHED: dict[str, Change] = {
    "input name": lambda m: setattr(m.graph.input[0], "name", "other"),
    "input type": lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", TensorProto.FLOAT),
    "input rank": lambda m: m.graph.input[0].type.tensor_type.shape.dim.pop(),
    "input size": lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 7),
    "second input": lambda m: m.graph.input.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, [1])),
    "no input": lambda m: m.graph.input.pop(),
    "output name": lambda m: setattr(m.graph.output[0], "name", "other"),
    "output type": lambda m: setattr(m.graph.output[0].type.tensor_type, "elem_type", TensorProto.DOUBLE),
    "output rank": lambda m: m.graph.output[0].type.tensor_type.shape.dim.pop(),
    "output size": lambda m: setattr(m.graph.output[0].type.tensor_type.shape.dim[1], "dim_value", 7),
}


@pytest.mark.parametrize("name", MISMATCHED)
def test_inputs_and_outputs_are_those_of_the_manifest(name: str, copy: Path) -> None:
    change(copy, "segmenter.onnx", MISMATCHED[name])
    with pytest.raises(errors.BundleMismatchError, match="the manifest says"):
        Diagnoser.load(copy)


def test_every_published_network_passes() -> None:
    count = 0
    for root in (REPOSITORY / "exported", REPOSITORY / "tests/fixtures/bundles"):
        for folder in sorted(path.parent for path in root.glob(f"*/{MANIFEST}")):
            manifest = read_manifest(folder).manifest
            for stage in (manifest.segmenter, manifest.classifier):
                for file in {*stage.files.values(), *(variant.file for variant in stage.variants.values())}:
                    if file.endswith(".onnx"):
                        check_network((folder / file).read_bytes(), stage, file)
                        count += 1
    assert count >= 8


@given(data=st.binary(max_size=300), at=st.integers(0, 2000), insert=st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_network_or_a_typed_error(data: bytes, at: int, insert: bool) -> None:
    folder = REPOSITORY / "tests/fixtures/bundles/schema-2"
    stage, whole = read_manifest(folder).manifest.classifier, (folder / "classifier.onnx").read_bytes()
    changed = whole[:at] + data + whole[at if insert else at + len(data) :]
    for candidate in (data, changed):
        try:
            check_network(candidate, stage, "a.onnx")
        except errors.BundleError as error:
            assert error.remedy


def test_what_was_hashed_is_what_is_loaded(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = store._read_regular

    def then_swapped(path: Path, expected: int) -> bytes:
        data = real(path, expected)
        opened.append(path.name)
        if path.suffix == ".onnx":
            path.write_bytes(b"another network")
        return data

    monkeypatch.setattr(store, "_read_regular", then_swapped)
    with Diagnoser.load(copy) as diagnoser:
        diagnoser.warmup()
    assert sorted(opened) == ["bundle.json", "classifier.onnx", "golden.npz", "segmenter.onnx"]


@pytest.mark.skipif(os.name == "nt", reason="needs symbolic links and FIFOs")
@pytest.mark.timeout(20)
def test_files_are_files_of_the_folder(copy: Path, tmp_path: Path) -> None:
    outside, file = tmp_path / "outside.onnx", copy / "segmenter.onnx"
    file.rename(outside)
    file.symlink_to(outside)
    with pytest.raises(errors.BundleUnsafeError, match="link out of its bundle"):
        load_bundle(copy)
    file.unlink()
    outside.rename(copy / "inside.onnx")
    file.symlink_to("inside.onnx")
    load_bundle(copy)
    for make in (
        lambda: os.mkfifo(file),
        lambda: file.symlink_to(file),
        lambda: file.symlink_to("/dev/zero"),
        file.mkdir,
    ):
        file.unlink()
        make()
        with pytest.raises((errors.BundleUnsafeError, errors.BundleFileMissingError)):
            load_bundle(copy)
    link = tmp_path / "link"
    link.symlink_to(copy)
    (copy / MANIFEST).unlink()
    os.mkfifo(copy / MANIFEST)
    with pytest.raises(errors.BundleError):
        read_manifest(link)


def test_a_file_of_another_size_is_refused_without_being_read_to_its_end(copy: Path) -> None:
    with (copy / "segmenter.onnx").open("r+b") as stream:
        stream.truncate(2**34)
    with pytest.raises(errors.BundleTamperedError, match="the manifest says"):
        load_bundle(copy)


def edit(folder: Path, how: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    how(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


NAMES = ["../x", "/etc/passwd", "a/../../x", "a\\..\\x", "C:x", "a//b", "./a", "a/", "", ".", "a\nb", "a\0b"]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_leave_the_folder_or_are_none(name: str, copy: Path) -> None:
    edit(copy, lambda m: m["files"].update({name: m["files"]["golden.npz"]}))
    with pytest.raises(errors.BundleSchemaError, match=r"leaves the bundle's folder|control characters"):
        load_bundle(copy)


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "escape sequence": (lambda m: m.update(description="\x1b]0;owned\x07"), "control characters"),
    "half a character": (lambda m: m.update(description="\ud800"), "control characters"),
    "no hash": (lambda m: m["files"]["golden.npz"].update(sha256="0"), "no SHA-256"),
    "negative size": (lambda m: m["files"]["golden.npz"].update(bytes=-1), "no SHA-256 and size"),
    "endless file": (lambda m: m["files"]["golden.npz"].update(bytes=2**40), "no SHA-256 and size"),
    "endless margin": (lambda m: m["roi"].update(margin=3.9), "roi.margin"),
    "threshold that is no number": (lambda m: m["mask"].update(threshold=float("nan")), "not a finite number"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_manifests(name: str, copy: Path) -> None:
    how, words = HOSTILE[name]
    edit(copy, how)
    with pytest.raises(errors.BundleSchemaError, match=words):
        load_bundle(copy)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "1" * 100_000, '{"schema_version": 1e999}'])
def test_manifests_that_no_parser_likes(text: str) -> None:
    with pytest.raises(errors.BundleSchemaError):
        parse_manifest(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
@settings(max_examples=200, deadline=None)
def test_any_json_is_a_manifest_or_a_typed_error(value: object) -> None:
    with pytest.raises(errors.BundleSchemaError):
        parse_manifest(json.dumps(value))


@given(
    path=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    value=st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.just([]) | st.just({}),
)
@settings(max_examples=300, deadline=None)
def test_any_value_changed_in_a_manifest_is_read_or_a_typed_error(path: list[int], value: object) -> None:
    data = json.loads((REPOSITORY / "tests/fixtures/bundles/schema-2" / MANIFEST).read_text())
    node: Any = data
    for depth, number in enumerate(path):
        keys = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
        if not keys:
            break
        key = keys[number % len(keys)]
        if depth == len(path) - 1:
            node[key] = value
        node = node[key]
    try:
        parse_manifest(json.dumps(data))
    except errors.BundleSchemaError as error:
        assert error.remedy


def test_golden_examples_that_unpack_without_end_are_refused(tmp_path: Path) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("0/image.npy", "w") as stream:
        for _ in range(1100):
            stream.write(bytes(2**20))
    path = tmp_path / "golden.npz"
    path.write_bytes(bomb.getvalue())
    for source in (path, bomb):
        with pytest.raises(errors.BundleSchemaError, match="more than a gigabyte"):
            read_golden(source)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    pytest.importorskip("cryptography")
    from edge_infer.bundle.signature import make_key

    return tmp_path / "key", make_key(tmp_path / "key")


def signed(folder: Path, key: Path) -> None:
    from edge_infer.bundle.signature import SIGNATURE, sign

    (folder / SIGNATURE).write_bytes(sign((folder / MANIFEST).read_bytes(), key))


def test_a_signed_bundle_loads_and_a_changed_one_does_not(copy: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    assert os.name == "nt" or private.stat().st_mode & 0o777 == 0o600
    with pytest.raises(errors.BundleSignatureError, match="is not signed"):
        load_bundle(copy, require_signature=public)
    signed(copy, private)
    assert load_bundle(copy, require_signature=public).manifest.name == "toy"
    with Diagnoser.load(copy, require_signature=public) as diagnoser:
        diagnoser.warmup()
    edit(copy, lambda m: m.update(description="changed"))
    load_bundle(copy)
    for load in (load_bundle, Diagnoser.load):
        with pytest.raises(errors.BundleSignatureError, match="no signature of this"):
            load(copy, require_signature=public)


def test_the_signature_of_another_is_refused(copy: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    from edge_infer.bundle.signature import SIGNATURE, make_key

    other = make_key(tmp_path / "other")
    signed(copy, keys[0])
    with pytest.raises(errors.BundleSignatureError, match="somebody else"):
        load_bundle(copy, require_signature=other)
    for text in (b"", b"no base64!", b"AAAA", bytes(5000)):
        (copy / SIGNATURE).write_bytes(text)
        with pytest.raises(errors.BundleSignatureError):
            load_bundle(copy, require_signature=keys[1])
    for key in (tmp_path / "absent", copy / MANIFEST, keys[0]):
        with pytest.raises(errors.BundleSignatureError, match="cannot be used"):
            load_bundle(copy, require_signature=key)
    with pytest.raises(errors.BundleSignatureError, match="exists already"):
        make_key(tmp_path / "other")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
def test_openssl_agrees(copy: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    import base64

    from edge_infer.bundle.signature import SIGNATURE

    signed(copy, keys[0])
    raw = tmp_path / "raw"
    raw.write_bytes(base64.b64decode((copy / SIGNATURE).read_bytes()))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", keys[1], "-rawin", "-in", copy / MANIFEST]
    done = subprocess.run([*command, "-sigfile", raw], capture_output=True, text=True, check=False)
    if "rawin" in done.stderr:
        pytest.skip("this openssl is too old for -rawin")
    assert done.returncode == 0, done.stderr
