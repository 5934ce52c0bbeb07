"""Examples in docstrings of the runtime are run, from the repository's root as their paths say."""

from __future__ import annotations

import doctest
import pkgutil
from importlib import import_module

import pytest

import edge_infer
from edge_infer import Diagnoser, Diagnosis
from edge_infer.bundle.store import find_bundle
from edge_infer.steps.crop import lesion_box, roi_box
from edge_infer.steps.mask import largest_region
from edge_infer.steps.resize import resize
from tests.docs.conftest import REPOSITORY

MODULES = ["edge_infer", *(m.name for m in pkgutil.walk_packages(edge_infer.__path__, "edge_infer."))]


@pytest.mark.parametrize("module", [name for name in MODULES if not name.endswith("__main__")])
def test_examples_in_docstrings_run(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    failed, _ = doctest.testmod(import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert not failed


@pytest.mark.parametrize(
    "thing", [edge_infer, Diagnoser, Diagnosis, find_bundle, lesion_box, roi_box, largest_region, resize]
)
def test_what_people_call_first_shows_how(thing: object) -> None:
    assert thing.__doc__ and ">>> " in thing.__doc__
