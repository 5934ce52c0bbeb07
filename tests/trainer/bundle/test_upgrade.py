"""An older bundle in today's form: other bytes, the same graphs, the same answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner

from edge_infer import Diagnoser
from edge_infer.bundle.manifest import MANIFEST, SCHEMA_VERSION
from edge_infer.bundle.store import load_bundle, read_manifest
from edge_infer.errors import BundleSchemaError
from tests.conftest import REPOSITORY
from tests.support.toy_bundle import file_entry, plain_picture
from trainer.bundle.errors import ExportError
from trainer.bundle.storage import IR_VERSION, MIN_ONNXRUNTIME
from trainer.bundle.upgrade import next_version, require_same_answers, upgrade_bundle
from trainer.cli.app import app


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A bundle of schema 1 whose ONNX files are of IR version 10."""
    folder = Path(shutil.copytree(REPOSITORY / "tests/fixtures/bundles/schema-1", tmp_path / "old"))
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    for path in folder.glob("*.onnx"):
        model = onnx.load(path)
        model.ir_version = 10
        onnx.save(model, path)
        entry = file_entry(path)
        manifest["files"][path.name] = {"sha256": entry.sha256, "bytes": entry.bytes}
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def graphs(folder: Path) -> dict[str, bytes]:
    return {path.name: onnx.load(path).graph.SerializeToString(deterministic=True) for path in folder.glob("*.onnx")}


def test_an_upgraded_bundle_has_new_files_and_the_same_answers(old: Path, tmp_path: Path) -> None:
    before = load_bundle(old)
    manifest = upgrade_bundle(before, tmp_path / "new")
    assert load_bundle(tmp_path / "new").manifest == manifest
    assert (manifest.version, manifest.min_onnxruntime) == ("1.0.0", MIN_ONNXRUNTIME)
    assert json.loads((tmp_path / "new" / MANIFEST).read_text())["schema_version"] == SCHEMA_VERSION
    assert {onnx.load(path).ir_version for path in (tmp_path / "new").glob("*.onnx")} == {IR_VERSION}
    assert graphs(old) == graphs(tmp_path / "new") and len(graphs(old)) == 4
    assert manifest.files["classifier.onnx"] != before.manifest.files["classifier.onnx"]
    answers = []
    for folder in (old, tmp_path / "new"):
        with Diagnoser.load(folder, providers=["cpu"]) as diagnoser:
            answers.append(diagnoser.diagnose(plain_picture()).probabilities)
    assert answers[0] == answers[1]


def test_the_command_upgrades_in_place_and_again_without_changing_a_network(old: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["upgrade", str(old), "--version", "3.1.0"]).exit_code == 0
    files = {path.name: path.read_bytes() for path in old.glob("*.onnx")}
    assert read_manifest(old).manifest.version == "3.1.0"
    result = runner.invoke(app, ["upgrade", str(old)])
    assert result.exit_code == 0 and "3.1.1" in result.output
    assert read_manifest(old).manifest.version == "3.1.1"
    assert files == {path.name: path.read_bytes() for path in old.glob("*.onnx")}


def test_a_network_that_answers_otherwise_is_found(old: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(old, tmp_path / "other"))
    model = onnx.load(other / "classifier.onnx")
    [bias] = [tensor for tensor in model.graph.initializer if tensor.name == "bias"]
    values = onnx.numpy_helper.to_array(bias).copy()
    values[0] += 1e-3
    bias.CopyFrom(onnx.numpy_helper.from_array(values, "bias"))
    onnx.save(model, other / "classifier.onnx")
    with pytest.raises(ExportError, match=r"golden example 0.*probabilities"):
        require_same_answers(load_bundle(old), other)


def test_a_version_that_is_none_leaves_the_bundle_as_it_was(old: Path) -> None:
    before = (old / MANIFEST).read_bytes()
    with pytest.raises(BundleSchemaError, match="three numbers"):
        upgrade_bundle(load_bundle(old), old, "next")
    assert (old / MANIFEST).read_bytes() == before


def test_a_version_of_a_new_form() -> None:
    assert next_version("0.0.0") == "1.0.0"
    assert next_version("1.4.9") == "1.4.10"
