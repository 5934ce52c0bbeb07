"""A bundle of toys and its pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_infer.benchmark.runners import load_pictures
from edge_infer.bundle.store import Bundle, load_bundle


@pytest.fixture(scope="module")
def bundle(toy_bundle: Path) -> Bundle:
    return load_bundle(toy_bundle)


@pytest.fixture(scope="module")
def pictures(bundle: Bundle) -> list[bytes]:
    return load_pictures((), bundle)[0]
