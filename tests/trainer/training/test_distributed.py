"""Two processes train one network: the same weights in both, the run that one process would have had, exact resume."""

from __future__ import annotations

import csv
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.layers import convert_sync_batchnorm

from trainer.data.ham10000 import Record
from trainer.data.splits import standard_split
from trainer.recipe import AugmentConfig, ModelConfig, Recipe, load_recipe, save_recipe
from trainer.training.checkpoint import build_model, read_file
from trainer.training.distributed import World
from trainer.training.loop import train

REPOSITORY = Path(__file__).parents[3]


def toy(name: str, model: ModelConfig, augment: AugmentConfig, epochs: int) -> Recipe:
    recipe = load_recipe(name)
    data = dataclasses.replace(recipe.data, size=32, cache_size=None, cache_margin=None)
    settings = {"epochs": epochs, "batch_size": 8, "learning_rate": 1e-2, "warmup": 0.0, "precision": "float32"}
    optim = dataclasses.replace(recipe.optim, **settings)  # type: ignore[arg-type]
    return dataclasses.replace(recipe, model=model, data=data, augment=augment, optim=optim)


NORM = toy("unet", ModelConfig("unet", {"width_divisor": 16}), AugmentConfig(flip=True, brightness=0.2), epochs=6)
PLAIN = toy("simple-cnn", ModelConfig("simple_cnn", {"width": 8, "hidden": 16}), AugmentConfig(), epochs=2)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, drawn_folder: Path) -> Path:
    """Folder in which two processes, started by torchrun, have trained; see `tests/support/shared_training.py`."""
    folder = tmp_path_factory.mktemp("shared")
    save_recipe(NORM, folder / "norm.toml")
    save_recipe(PLAIN, folder / "plain.toml")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(REPOSITORY / "tests/support/shared_training.py"), str(folder), str(drawn_folder)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=580)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.count("best.pt: epoch") == 4, "one process reports, once a run"
    return folder


def weights(path: Path, key: str | None = None) -> dict[str, torch.Tensor]:
    content = read_file(path)
    return content[key] if key else content


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def losses(run: Path) -> list[float]:
    with (run / "history.csv").open(newline="") as stream:
        return [float(row["train_loss"]) for row in csv.DictReader(stream)]


@pytest.mark.parametrize("run", ["straight", "broken", "plain"])
def test_both_processes_end_with_the_weights_that_are_stored(shared: Path, run: str) -> None:
    assert same(weights(shared / run / "rank0.pt"), weights(shared / run / "rank1.pt"))
    assert same(weights(shared / run / "rank0.pt"), weights(shared / run / "last.pt", "model"))


def test_all_start_from_rank_0(shared: Path) -> None:
    for rank in (0, 1):
        start = weights(shared / f"start{rank}.pt")
        assert len(start) == 5 and all(bool((value == 5).all()) for value in start.values())


def test_the_loss_falls(shared: Path) -> None:
    found = losses(shared / "straight")
    assert len(found) == NORM.optim.epochs
    assert found[-1] < 0.85 * found[0]


def test_resume_is_exact(shared: Path) -> None:
    assert losses(shared / "straight") == losses(shared / "broken")
    for key in ("model", "weights"):
        assert same(weights(shared / "straight/last.pt", key), weights(shared / "broken/last.pt", key))


def test_two_processes_do_what_one_does(shared: Path, drawn_records: list[Record], tmp_path: Path) -> None:
    parts = standard_split(drawn_records)
    assert len(parts["train"]) % PLAIN.optim.batch_size % 2 == 1, "the last batch should not divide evenly"
    train(PLAIN, parts["train"], parts["val"], tmp_path, cache=shared / "cache")
    assert losses(shared / "plain") == pytest.approx(losses(tmp_path), rel=1e-4)
    for key in ("model", "weights"):
        one, two = weights(tmp_path / "last.pt", key), weights(shared / "plain/last.pt", key)
        for name in one:
            torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-5)
    validated = [read_file(run / "last.pt")["metrics"]["val_loss"] for run in (tmp_path, shared / "plain")]
    assert validated[1] == pytest.approx(validated[0], rel=1e-4)


@pytest.mark.parametrize(("rows", "size"), [(8, 2), (7, 2), (1, 2), (2, 3), (10, 4)])
def test_weighted_shares_average_to_the_batch(rows: int, size: int) -> None:
    values = np.arange(10.0) ** 2
    batch = np.arange(rows)
    shares = [World(rank, size).share(batch) for rank in range(size)]
    assert np.mean([weight * values[mine].mean() for mine, weight in shares]) == pytest.approx(values[batch].mean())
    assert sorted(row for mine, weight in shares if weight for row in mine) == list(batch)


@pytest.mark.parametrize("name", ["mobile-segmenter", "xception", "efficientnet-b0"])
def test_synchronised_batchnorm_keeps_the_network(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(load_recipe(name)).eval()
    names, image = list(model.state_dict()), torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        before = model(image)
        changed = convert_sync_batchnorm(model)
        assert torch.equal(changed(image), before)
    assert list(changed.state_dict()) == names
    assert any(isinstance(module, torch.nn.SyncBatchNorm) for module in changed.modules())
