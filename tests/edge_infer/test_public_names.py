"""Import paths that users know: they work alone, in a fresh process, and give the very objects of the inner modules."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

PUBLIC = {
    "edge_infer": ["Diagnoser", "Diagnosis", "EdgeInferError", "Reason"],
    "edge_infer.bundle": ["Bundle", "Manifest", "available_bundles", "find_bundle", "load_bundle"],
}


@pytest.mark.parametrize("package", PUBLIC)
def test_each_public_name_is_the_object_of_its_home(package: str) -> None:
    module = importlib.import_module(package)
    assert set(PUBLIC[package]) == set(module.__all__) - {"__version__"}
    for name in PUBLIC[package]:
        found = getattr(module, name)
        assert found is getattr(importlib.import_module(found.__module__), name)


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names_can_be_the_first_import(package: str) -> None:
    code = f"from {package} import {', '.join(PUBLIC[package])}"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)


@pytest.mark.parametrize("package", PUBLIC)
def test_an_unknown_name_is_an_attribute_error(package: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        importlib.import_module(package).nothing  # noqa: B018


def test_asking_for_the_room_loads_none_of_its_parts() -> None:
    code = "import edge_infer.bundle, sys; print(*(m for m in sys.modules if m.startswith('edge_infer.bundle.')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
