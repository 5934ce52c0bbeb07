"""Both stages get ready at the same time, and nothing runs before its hash was compared."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from edge_infer import Diagnoser, errors
from edge_infer.bundle.store import read_manifest
from edge_infer.engines.loading import Loading, StageName, files_of, start_loading
from edge_infer.errors import EngineVersionError
from tests.support.toy_bundle import write_toy_bundle


class Stub:
    """An engine that only knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


def nothing() -> None:
    """No library to import."""


@pytest.fixture
def damaged(toy_bundle: Path, tmp_path: Path) -> Path:
    """A bundle whose classifier was changed."""
    folder = tmp_path / "bundle"
    shutil.copytree(toy_bundle, folder)
    with (folder / "classifier.onnx").open("ab") as stream:
        stream.write(b"x")
    return folder


def test_a_bundle_that_needs_a_newer_runtime_is_not_opened(tmp_path: Path) -> None:
    folder = write_toy_bundle(tmp_path / "newer", min_onnxruntime="99.1")
    with pytest.raises(EngineVersionError, match=r"99\.1 or newer") as caught:
        Diagnoser.load(folder, providers=["cpu"])
    assert "99.1" in caught.value.remedy


def test_both_stages_load_at_the_same_time(toy_bundle: Path) -> None:
    meet = threading.Barrier(2, timeout=60)

    def opener(stage: StageName, data: bytes | None) -> Any:
        meet.wait()
        return Stub()

    bundle, segmenter, classifier = Loading(read_manifest(toy_bundle), "float32", nothing, opener).wait()
    assert bundle.path == toy_bundle and segmenter is not classifier


def test_a_changed_file_is_never_opened_and_the_other_network_is_freed(damaged: Path) -> None:
    opened: dict[str, Stub] = {}

    def opener(stage: StageName, data: bytes | None) -> Any:
        opened[stage] = Stub()
        return opened[stage]

    with pytest.raises(errors.BundleTamperedError, match=r"classifier\.onnx"):
        Loading(read_manifest(damaged), "float32", nothing, opener).wait()
    assert list(opened) == ["segmenter"] and opened["segmenter"].closed


@pytest.mark.parametrize("name", ["golden.npz", "segmenter.onnx", "classifier.onnx"])
def test_every_file_is_checked(toy_bundle: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(toy_bundle, folder)
    (folder / name).unlink()
    with pytest.raises(errors.BundleFileMissingError, match=name):
        start_loading(folder, providers=["cpu"]).wait()


def test_each_file_belongs_to_one_thread(toy_bundle: Path) -> None:
    bundle = read_manifest(toy_bundle)
    files = files_of(bundle, "float32")
    assert sorted(files["segmenter"] + files["classifier"]) == sorted(bundle.manifest.files)


def test_a_missing_engine_is_told_and_a_changed_file_is_told_first(toy_bundle: Path, damaged: Path) -> None:
    def prepare() -> None:
        raise errors.EngineNotInstalledError("none")

    def opener(stage: StageName, data: bytes | None) -> Any:
        raise AssertionError("nothing can be opened without an engine")

    with pytest.raises(errors.EngineNotInstalledError):
        Loading(read_manifest(toy_bundle), "float32", prepare, opener).wait()
    with pytest.raises(errors.BundleTamperedError):
        Loading(read_manifest(damaged), "float32", prepare, opener).wait()


def test_a_network_that_does_not_load_frees_the_other(toy_bundle: Path) -> None:
    stub = Stub()

    def opener(stage: StageName, data: bytes | None) -> Any:
        if stage == "segmenter":
            raise errors.EngineError("broken")
        return stub

    with pytest.raises(errors.EngineError, match="broken"):
        Loading(read_manifest(toy_bundle), "float32", nothing, opener).wait()
    assert stub.closed
