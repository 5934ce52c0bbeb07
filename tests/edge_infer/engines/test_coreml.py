"""The Core ML engine: typed errors everywhere, and the macOS branch with a stand-in for coremltools."""

from __future__ import annotations

import subprocess
import sys
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edge_infer.engines.base import Engine
from edge_infer.engines.coreml import CoreMLEngine
from edge_infer.errors import EngineError, EngineNotInstalledError, InferenceError, ProviderUnavailableError

HEIGHT, WIDTH = 6, 8


class ComputeUnit(Enum):
    ALL = 1
    CPU_ONLY = 2
    CPU_AND_GPU = 3
    CPU_AND_NE = 4


class FakeModel:
    """What the engine uses of `coremltools.models.MLModel`: the mean red, green and blue of every picture."""

    loaded: list[tuple[str, ComputeUnit]] = []  # noqa: RUF012
    broken = False
    input_kind = "imageType"

    def __init__(self, path: str, compute_units: ComputeUnit) -> None:
        if path.endswith("damaged.mlpackage"):
            raise RuntimeError("Error compiling model")
        self.loaded.append((path, compute_units))

    def get_spec(self) -> Any:
        kind = SimpleNamespace(
            imageType=SimpleNamespace(height=HEIGHT, width=WIDTH), WhichOneof=lambda _: self.input_kind
        )
        return SimpleNamespace(
            description=SimpleNamespace(
                input=[SimpleNamespace(name="image", type=kind)],
                output=[SimpleNamespace(name="probabilities")],
                metadata=SimpleNamespace(userDefined={"edge_infer.labels": '["a", "b", "c"]'}),
            )
        )

    def predict(self, data: list[dict[str, Image.Image]]) -> list[dict[str, NDArray[np.float32]]]:
        if self.broken:
            raise RuntimeError("no Neural Engine")
        for entry in data:
            assert entry["image"].mode == "RGB"
            assert entry["image"].size == (WIDTH, HEIGHT)
        return [
            {"probabilities": np.asarray(entry["image"], np.float32).mean(axis=(0, 1))[None] / 255} for entry in data
        ]


@pytest.fixture
def macos(monkeypatch: pytest.MonkeyPatch) -> type[FakeModel]:
    fake: Any = ModuleType("coremltools")
    fake.ComputeUnit = ComputeUnit
    fake.models = SimpleNamespace(MLModel=FakeModel)
    monkeypatch.setitem(sys.modules, "coremltools", fake)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(FakeModel, "loaded", [])
    return FakeModel


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML runs here")
def test_other_systems_get_a_typed_error_with_a_remedy() -> None:
    with pytest.raises(ProviderUnavailableError, match=r"macOS only.*ONNX"):
        CoreMLEngine(Path("segmenter.mlpackage"))


def test_importing_the_module_imports_neither_coremltools_nor_pillow() -> None:
    code = "import sys, edge_infer.engines.coreml; print({'coremltools', 'PIL'} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "set()"


def test_runs_a_batch_picture_by_picture_in_order(macos: type[FakeModel]) -> None:
    engine: Engine = CoreMLEngine(Path("classifier.mlpackage"))
    batch = np.zeros((3, HEIGHT, WIDTH, 3), np.uint8)
    batch[0, ..., 0], batch[1, ..., 1], batch[2, ..., 2] = 255, 255, 51

    result = engine.run(batch)

    assert result.dtype == np.float32
    np.testing.assert_allclose(result, [[1, 0, 0], [0, 1, 0], [0, 0, 0.2]], atol=1e-6)
    assert engine.input_shape == (HEIGHT, WIDTH, 3)
    assert engine.metadata["edge_infer.labels"] == '["a", "b", "c"]'


@pytest.mark.parametrize("units", ["ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE"])
def test_compute_units_reach_core_ml_and_the_provider_name(macos: type[FakeModel], units: Any) -> None:
    engine = CoreMLEngine(Path("classifier.mlpackage"), compute_units=units)
    assert macos.loaded == [("classifier.mlpackage", ComputeUnit[units])]
    assert engine.provider == f"CoreML:{units}"


def test_what_was_checked_is_what_core_ml_opens(macos: type[FakeModel], tmp_path: Path) -> None:
    files = {"Manifest.json": b"{}", "Data/com.apple.CoreML/model.mlmodel": b"checked"}
    engine = CoreMLEngine(tmp_path / "classifier.mlpackage", files=files)
    opened = Path(macos.loaded[0][0])
    assert opened.name == "classifier.mlpackage" and tmp_path not in opened.parents
    assert {str(path.relative_to(opened)): path.read_bytes() for path in opened.rglob("*") if path.is_file()} == files
    assert opened.parent.stat().st_mode & 0o077 == 0
    engine.close()
    assert not opened.parent.exists()


def test_unknown_compute_units_are_refused(macos: type[FakeModel]) -> None:
    with pytest.raises(ProviderUnavailableError, match="CPU_AND_NE"):
        CoreMLEngine(Path("classifier.mlpackage"), compute_units="GPU")  # type: ignore[arg-type]
    assert macos.loaded == []


def test_a_package_that_does_not_load_is_an_engine_error(macos: type[FakeModel]) -> None:
    with pytest.raises(EngineError, match="macOS 13"):
        CoreMLEngine(Path("damaged.mlpackage"))


def test_a_package_that_loads_and_does_not_run_is_refused_at_once(
    macos: type[FakeModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(macos, "broken", True)
    with pytest.raises(EngineError, match="no Neural Engine"):
        CoreMLEngine(Path("classifier.mlpackage"))


def test_a_package_without_image_input_is_refused(macos: type[FakeModel], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(macos, "input_kind", "multiArrayType")
    with pytest.raises(EngineError, match="one picture"):
        CoreMLEngine(Path("classifier.mlpackage"))


def test_failures_while_running_are_inference_errors(macos: type[FakeModel], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = CoreMLEngine(Path("classifier.mlpackage"))
    batch = np.zeros((1, HEIGHT, WIDTH, 3), np.uint8)
    monkeypatch.setattr(macos, "broken", True)
    with pytest.raises(InferenceError, match="no Neural Engine"):
        engine.run(batch)
    monkeypatch.setattr(macos, "broken", False)
    engine.close()
    with pytest.raises(InferenceError):
        engine.run(batch)


@pytest.mark.parametrize("missing", ["coremltools", "PIL.Image"])
def test_missing_packages_are_named(macos: type[FakeModel], monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(EngineNotInstalledError, match=rf"{missing.split('.')[0]}.*edge-infer\[coreml\]"):
        CoreMLEngine(Path("classifier.mlpackage"))
