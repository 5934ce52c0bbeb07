"""Choosing a variant and Core ML itself: in Python, on the command line and in the benchmark."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from edge_infer import Diagnoser, errors
from edge_infer.benchmark.opening import discover, open_target
from edge_infer.benchmark.targets import find_target
from edge_infer.bundle.manifest import ParityGate, Variant
from edge_infer.bundle.store import load_bundle, read_manifest
from edge_infer.cli.app import app
from edge_infer.cli.guard import EXIT_BROKEN, EXIT_OK
from edge_infer.engines.base import NATIVE_COREML
from edge_infer.engines.onnx import OnnxEngine
from edge_infer.rules import Tolerance
from tests.support.toy_bundle import file_entry, write_manifest

LOOSE = Tolerance(0.01, 0.98, 0.05, 0.1)
PACKAGE_PARTS = ("Manifest.json", "model.onnx")


@pytest.fixture
def varied(toy_bundle: Path, tmp_path: Path) -> Path:
    """The toy bundle with an int8 variant and a Core ML one (both hold the same networks), and one left out."""
    folder = tmp_path / "varied"
    shutil.copytree(toy_bundle, folder)
    manifest = read_manifest(folder).manifest
    files, stages = dict(manifest.files), {}
    for name in ("segmenter", "classifier"):
        gates = (ParityGate(f"{name}.int8.onnx", "max |Δp|", "<=", 0.05, 0.02),)
        shutil.copy(folder / f"{name}.onnx", folder / f"{name}.int8.onnx")
        package = folder / f"{name}.mlpackage"
        package.mkdir()
        (package / "Manifest.json").write_text("{}")
        shutil.copy(folder / f"{name}.onnx", package / "model.onnx")
        for file in (f"{name}.int8.onnx", *(f"{name}.mlpackage/{part}" for part in PACKAGE_PARTS)):
            files[file] = file_entry(folder / file)
        stage = getattr(manifest, name)
        stages[name] = replace(
            stage,
            files={**stage.files, "coreml": f"{name}.mlpackage"},
            variants={
                "int8": Variant("onnx", f"{name}.int8.onnx", "int8", "x86", "U8S8 per channel", gates, LOOSE),
                "coreml-float16": Variant("coreml", f"{name}.mlpackage", "float16", "apple", "float16", gates, LOOSE),
            },
        )
    left_out = {"coreml-int8": "max |Δp| is 0.3"}
    write_manifest(folder, replace(manifest, files=files, variants_left_out=left_out, **stages))
    return folder


class Units(Enum):
    """`coremltools.ComputeUnit`."""

    ALL = 1
    CPU_ONLY = 2
    CPU_AND_GPU = 3
    CPU_AND_NE = 4


class Model:
    """`coremltools.models.MLModel` over the ONNX file that the package hides."""

    loaded: list[tuple[str, Units]] = []  # noqa: RUF012

    def __init__(self, path: str, compute_units: Units) -> None:
        self.loaded.append((Path(path).name, compute_units))
        self._engine = OnnxEngine(Path(path) / "model.onnx", providers=["cpu"], threads=1)

    def get_spec(self) -> Any:
        height, width, _ = self._engine.input_shape
        image = SimpleNamespace(height=height, width=width)
        entry = SimpleNamespace(name="image", type=SimpleNamespace(imageType=image, WhichOneof=lambda _: "imageType"))
        metadata = SimpleNamespace(userDefined=dict(self._engine.metadata))
        return SimpleNamespace(
            description=SimpleNamespace(input=[entry], output=[SimpleNamespace(name="out")], metadata=metadata)
        )

    def predict(self, data: list[dict[str, Image.Image]]) -> list[dict[str, Any]]:
        return [{"out": self._engine.run(np.asarray(entry["image"], np.uint8)[None])} for entry in data]


@pytest.fixture
def macos(monkeypatch: pytest.MonkeyPatch) -> type[Model]:
    """A Mac, as far as the runtime can tell."""
    fake: Any = ModuleType("coremltools")
    fake.ComputeUnit, fake.models = Units, SimpleNamespace(MLModel=Model)
    monkeypatch.setitem(sys.modules, "coremltools", fake)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(Model, "loaded", [])
    return Model


def test_an_onnx_variant_runs_only_when_it_is_named(varied: Path, nevus_file: Path) -> None:
    with Diagnoser.load(varied, providers=["cpu"]) as plain, Diagnoser.load(varied, variant="int8") as small:
        first, second = plain.diagnose(nevus_file), small.diagnose(nevus_file)
        assert plain.tolerance == plain.manifest.golden.tolerance and small.tolerance == LOOSE
    assert (first.variant, second.variant) == ("float32", "int8")
    assert first.melanoma_probability == second.melanoma_probability


def test_only_the_files_in_use_are_read(varied: Path) -> None:
    (varied / "segmenter.int8.onnx").write_bytes(b"damaged")
    Diagnoser.load(varied, providers=["cpu"]).close()
    with pytest.raises(errors.BundleTamperedError, match=r"segmenter\.int8\.onnx"):
        Diagnoser.load(varied, variant="int8")


@pytest.mark.parametrize(("provider", "units"), list(NATIVE_COREML.items()))
def test_core_ml_itself_runs_with_the_wanted_units(
    varied: Path, nevus_file: Path, macos: type[Model], provider: str, units: str
) -> None:
    with Diagnoser.load(varied, providers=["cpu"]) as onnx, Diagnoser.load(varied, providers=[provider]) as native:
        found, expected = native.diagnose(nevus_file), onnx.diagnose(nevus_file)
    assert sorted(macos.loaded) == [("classifier.mlpackage", Units[units]), ("segmenter.mlpackage", Units[units])]
    assert (found.provider, found.variant) == (f"CoreML:{units}", "coreml-float16")
    assert found.melanoma_probability == pytest.approx(expected.melanoma_probability, abs=1e-6)


def test_a_core_ml_variant_alone_uses_all_units(varied: Path, macos: type[Model]) -> None:
    with Diagnoser.load(varied, variant="coreml-float16") as diagnoser:
        assert diagnoser.provider == "CoreML:ALL"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"providers": ["coreml-all", "cpu"]}, errors.ProviderUnavailableError, "cannot share"),
        ({"providers": ["coreml-all"], "variant": "int8"}, errors.BundleMismatchError, r"ONNX file.*coreml-float16"),
        ({"variant": "coreml-int8"}, errors.BundleError, r"max \|Δp\| is 0\.3"),
        ({"variant": "int4"}, errors.BundleError, "It has: float32, int8, coreml-float16"),
    ],
)
def test_what_does_not_fit_together_is_told(
    varied: Path, macos: type[Model], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Diagnoser.load(varied, **options)
    assert macos.loaded == []


def test_a_bundle_without_a_package_says_why(toy_bundle: Path, macos: type[Model]) -> None:
    with pytest.raises(errors.BundleError, match=r"no Core ML variant.*--provider coreml,"):
        Diagnoser.load(toy_bundle, providers=["coreml-all"])


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML runs here")
@pytest.mark.parametrize("options", [{"providers": ["coreml-cpu-and-ne"]}, {"variant": "coreml-float16"}])
def test_elsewhere_core_ml_is_an_error_with_a_remedy(varied: Path, options: dict[str, Any]) -> None:
    with pytest.raises(errors.ProviderUnavailableError, match=r"macOS only.*leave out Core ML"):
        Diagnoser.load(varied, **options)


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_line_chooses_and_shows_variants(varied: Path, nevus_file: Path) -> None:
    code, out, _ = run("diagnose", "--bundle", varied, "--variant", "int8", "--format", "json", nevus_file)
    assert code == EXIT_OK and json.loads(out)[0]["variant"] == "int8"
    code, out, _ = run("diagnose", "--bundle", varied, "--variant", "int8", nevus_file)
    assert "variant int8" in " ".join(out.split())
    code, out, _ = run("inspect", varied)
    assert code == EXIT_OK and "float32 (default): ONNX Runtime" in out
    assert "coreml-float16: Core ML, macOS only" in out and "coreml-int8: left out. max |Δp| is 0.3" in out
    code, out, _ = run("verify", varied, "--variant", "int8", "--provider", "cpu")
    assert code == EXIT_OK and "variant int8" in out


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML runs here")
def test_the_command_line_refuses_core_ml_here(varied: Path, nevus_file: Path) -> None:
    code, out, err = run("diagnose", "--bundle", varied, "--provider", "coreml-all", nevus_file)
    assert code == EXIT_BROKEN and out == "" and "error [provider-unavailable]" in err and "fix: " in err


def test_the_command_line_runs_core_ml_on_a_mac(varied: Path, nevus_file: Path, macos: type[Model]) -> None:
    arguments = ("--bundle", varied, "--provider", "coreml-cpu-and-ne", "--format", "json", nevus_file)
    code, out, _ = run("diagnose", *arguments)
    assert code == EXIT_OK and json.loads(out)[0]["provider"] == "CoreML:CPU_AND_NE"
    code, out, _ = run("verify", varied, "--provider", "coreml-cpu-and-ne")
    assert code == EXIT_OK and "CoreML:CPU_AND_NE, variant coreml-float16" in out


def test_the_benchmark_measures_variants_beside_float32(varied: Path) -> None:
    bundle = load_bundle(varied)
    listed = {entry.target: entry for entry in discover(bundle)}
    assert listed["cpu"].available and listed["cpu:int8"].available
    target = find_target("cpu:int8")
    assert target.on_cpu and target.variant == "int8"
    opened = open_target(target, bundle, 1)
    with Diagnoser(bundle, opened.segmenter, opened.classifier, variant=target.variant) as diagnoser:
        assert diagnoser.variant == "int8"
    with pytest.raises(errors.ProviderUnavailableError, match="no variant 'int4'"):
        open_target(find_target("cpu:int4"), bundle, 1)
