"""What ends up in the wheel: the runtime and the default bundle, nothing else."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from edge_infer.bundle.store import DEFAULT_BUNDLE, load_bundle, read_manifest

REPOSITORY = Path(__file__).parents[2]
LARGEST_BUNDLE = 40_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_holds_the_runtime_and_the_default_bundle_only(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"edge_infer"}
    bundle = f"edge_infer/bundles/{DEFAULT_BUNDLE}/"
    manifest = read_manifest(REPOSITORY / "exported" / DEFAULT_BUNDLE).manifest
    for file in ("bundle.json", "MODEL_CARD.md", *manifest.files):
        assert bundle + file in names
    assert {name.split("/")[2] for name in names if name.startswith("edge_infer/bundles/")} == {DEFAULT_BUNDLE}
    assert "edge_infer/py.typed" in names


def test_the_default_bundle_is_sound_and_small() -> None:
    folder = REPOSITORY / "exported" / DEFAULT_BUNDLE
    bundle = load_bundle(folder)
    assert bundle.manifest.name == DEFAULT_BUNDLE
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < LARGEST_BUNDLE


def test_the_base_install_stays_light() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    names = {requirement.split(">")[0].split("=")[0] for requirement in project["dependencies"]}
    assert names == {"numpy", "opencv-python-headless", "typer"}
    for engine in ("cpu", "cuda", "directml", "openvino"):
        assert [r.startswith("onnxruntime") for r in project["optional-dependencies"][engine]] == [True]


def test_the_readme_shows_the_commands_that_ci_runs() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    script = (REPOSITORY / ".ci/run").read_text()
    (command,) = (line for line in script.splitlines() if line.endswith("-m pytest -n auto"))
    assert command in readme
    assert "mkdocs build --strict" in script.strip().splitlines()[-1]
