"""The site: navigation, generated pages, drawings, and what the pages state about the bundle."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import util
from types import ModuleType

import pytest
import yaml

from tests.contract.test_layers import LAYERS
from tests.docs.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"


def load(name: str) -> ModuleType:
    spec = util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec and spec.loader
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_drawings_are_what_the_script_draws() -> None:
    for file, content in load("drawings").drawings().items():
        assert (DOCS / "assets" / file).read_text(encoding="utf-8") == content, f"run python docs/drawings.py ({file})"


@pytest.mark.parametrize(("package", "rows"), [("edge_infer", "RUNTIME"), ("trainer", "TRAINER")])
def test_the_drawing_shows_the_layers_that_are_tested(package: str, rows: str) -> None:
    drawn = [tuple(room.split(", ")) for room, _ in getattr(load("drawings"), rows)]
    tested = [tuple(room for room in names if not room.startswith("_")) for names in LAYERS[package]]
    assert drawn == tested


def test_every_command_has_its_reference() -> None:
    hooks = load("hooks")
    from edge_infer.cli.app import app

    page = hooks.command_page("edge-infer", app)
    for command in ("diagnose", "bundles", "inspect", "verify", "doctor", "benchmark", "kiosk"):
        assert f"\n## {command}\n" in page
    assert "--save-overlay" in page and "Exit codes" in page


def test_every_page_is_in_the_navigation() -> None:
    text = re.sub(r"!!\S+", "", (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))
    hooks = load("hooks")
    written = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert set(_files(yaml.safe_load(text)["nav"])) == written | set(hooks.COMMANDS) | set(hooks.INCLUDED)


def test_no_page_loads_anything_from_elsewhere() -> None:
    for path in DOCS.rglob("*"):
        if path.suffix in {".md", ".css", ".svg"}:
            found = re.findall(r"""(?:src=|!\[[^\]]*\]\(|url\()["']?https?:""", path.read_text(encoding="utf-8"))
            assert not found, path


def _files(nav: object) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    values = nav.values() if isinstance(nav, dict) else nav
    return [file for value in values for file in _files(value)]  # type: ignore[attr-defined]


def test_mkdocs_is_installed_for_the_build() -> None:
    done = subprocess.run([sys.executable, "-m", "mkdocs", "--version"], capture_output=True, check=False)
    assert done.returncode == 0, "pip install -e '.[docs]'"
