"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.toy_bundle import write_toy_bundle
from trainer.data.drawn import draw_picture

REPOSITORY = Path(__file__).parents[1]

ONE_AFTER_THE_OTHER = ("tests/ports/", "tests/test_supply_chain.py")
"""These build in the checkout itself, so with `-n` one process takes all of them."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """With `-n`, files stay whole: what a file's fixtures make is made once."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return "checkout" if file.startswith(ONE_AFTER_THE_OTHER) else file

    return ByFile(config, log)


@pytest.fixture(scope="session")
def toy_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A valid bundle with two hand-written networks. Read only: tests that change a bundle write their own."""
    return write_toy_bundle(tmp_path_factory.mktemp("bundles") / "toy")


@pytest.fixture(scope="session")
def nevus() -> NDArray[np.uint8]:
    """A drawn nevus: RGB uint8, 225x300."""
    return draw_picture(np.random.default_rng(103), 225, 300, "nv", hairs=0, vignette=False, artefacts=False).image


@pytest.fixture(scope="session")
def nevus_file(nevus: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same picture as a PNG file. Read only."""
    path = tmp_path_factory.mktemp("pictures") / "nevus.png"
    assert cv2.imwrite(str(path), nevus[..., ::-1])
    return path


@pytest.fixture(scope="session")
def example_folder() -> Path:
    """The repository's example pictures: drawn ones, and photographs with ISIC's ids in their names."""
    return REPOSITORY / "examples"


@pytest.fixture(scope="session")
def ham10000() -> Path:
    """Real pictures where there are any: in `EDGE_INFER_DATA`, or in `../shared/data/ham10000` beside the checkout."""
    folder = Path(os.environ.get("EDGE_INFER_DATA") or REPOSITORY.parent / "shared/data/ham10000")
    if not (folder / "metadata.csv").is_file():
        pytest.skip(f"no HAM10000 data at '{folder}' (set EDGE_INFER_DATA)")
    return folder
