"""A toy data set and toy recipes: every training in the tests takes seconds on one core."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from trainer.data.drawn import draw_dataset
from trainer.data.ham10000 import Record, read_ham10000
from trainer.recipe import Recipe, load_recipe


@pytest.fixture(scope="session")
def drawn_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """28 drawn lesions in HAM10000's layout, 96x128 pixels. Read only."""
    folder = tmp_path_factory.mktemp("drawn")
    draw_dataset(folder, 28, seed=3, height=96, width=128)
    return folder


@pytest.fixture(scope="session")
def drawn_records(drawn_folder: Path) -> list[Record]:
    return read_ham10000(drawn_folder)


@pytest.fixture(scope="session")
def toy_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared folder for decoded pictures."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def toy_recipe() -> Callable[..., Recipe]:
    """Makes one of the shipped recipes small: `toy_recipe("mobile-segmenter", epochs=2)`."""

    def make(name: str, size: int = 64, **optim: object) -> Recipe:
        recipe = load_recipe(name)
        wide = None if recipe.data.cache_size is None else size + 8
        data = dataclasses.replace(recipe.data, size=size, small_size=None, cache_size=wide)
        settings = {"epochs": 2, "batch_size": 8, "warmup": 0.0} | optim
        return dataclasses.replace(recipe, data=data, optim=dataclasses.replace(recipe.optim, **settings), members=1)

    return make


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Toy networks are faster on one thread, and their sums do not depend on the machine's core count."""
    torch.set_num_threads(1)
