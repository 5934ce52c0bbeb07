"""Search: it draws from the space, survives failures and interruptions, and writes a recipe that trains."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from typer.testing import CliRunner

from trainer.cli import app as cli
from trainer.data.ham10000 import Record
from trainer.data.splits import standard_split
from trainer.errors import RecipeError, SearchError
from trainer.recipe import AugmentConfig, ModelConfig, Recipe, load_recipe, save_recipe
from trainer.search import search as module
from trainer.search.search import Found, search, trial_folder
from trainer.search.space import SPACE_FOLDER, apply, load_space
from trainer.training.checkpoint import read_file
from trainer.training.loop import Outcome, train

SPACE = """
[optim]
learning_rate = { low = 1e-4, high = 1e-1, log = true }
batch_size = { choices = [4, 8] }
[augment]
rotation = { low = 0, high = 30 }
hairs = { low = 0, high = 3 }
"""


@pytest.fixture
def recipe() -> Recipe:
    found = load_recipe("simple-cnn")
    data = dataclasses.replace(found.data, size=32, cache_size=None, cache_margin=None)
    optim = dataclasses.replace(found.optim, epochs=2, batch_size=8, warmup=0.0, precision="float32", patience=0)
    model = ModelConfig("simple_cnn", {"width": 4, "hidden": 8})
    return dataclasses.replace(found, model=model, data=data, optim=optim, augment=AugmentConfig())


def space_file(folder: Path, text: str) -> Path:
    path = folder / "space.toml"
    path.write_text(text, encoding="utf-8")
    return path


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "trials.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


class Pretended:
    """Stands in for training: the metric is the better the nearer the learning rate is to 1e-2."""

    def __init__(self) -> None:
        self.trained: list[tuple[int, float]] = []
        self.fail: Callable[[Recipe], bool] = lambda _: False

    def __call__(self, recipe: Recipe, *_: Any, after_epoch: Callable[[dict[str, float]], bool], **__: Any) -> Outcome:
        if self.fail(recipe):
            raise RuntimeError("out of memory")
        value = 1 - abs(math.log10(recipe.optim.learning_rate) + 2) / 4
        for epoch in range(1, recipe.optim.epochs + 1):
            row = {"epoch": float(epoch), "auc_melanoma": value * epoch / recipe.optim.epochs}
            if after_epoch(row):
                break
        self.trained.append((epoch, value))
        return Outcome(epoch, row, epoch)


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Pretended:
    stand_in = Pretended()
    monkeypatch.setattr(module, "train", stand_in)
    monkeypatch.setattr(module, "plot_trials", lambda *_: None)
    return stand_in


def run(recipe: Recipe, out: Path, trials: int, text: str = SPACE, **options: Any) -> Found:
    out.parent.mkdir(exist_ok=True)
    space = load_space(space_file(out.parent, text), recipe)
    some: Any = [None]  # the pretended training looks at no picture
    return search(recipe, space, some, some, out, trials=trials, say=lambda _: None, **options)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_best_of_all_trials_becomes_a_recipe(
    sampler: Any, recipe: Recipe, pretended: Pretended, tmp_path: Path
) -> None:
    found = run(recipe, tmp_path / "search", 6, sampler=sampler, prune=False)
    table = rows(tmp_path / "search")
    assert [int(row["trial"]) for row in table] == list(range(6))
    values = [float(row["auc_melanoma"]) for row in table]
    assert found.value == max(values) and values[found.best] == max(values)
    for row in table:
        assert 1e-4 <= float(row["optim.learning_rate"]) <= 1e-1 and row["optim.batch_size"] in ("4", "8")
        assert 0 <= float(row["augment.rotation"]) <= 30 and row["augment.hairs"] in ("0", "1", "2", "3")
    assert len({row["optim.learning_rate"] for row in table}) == 6
    best = load_recipe(tmp_path / "search/best.toml")
    assert best.optim.learning_rate == float(table[found.best]["optim.learning_rate"])
    assert dataclasses.replace(best, name="", summary="") == dataclasses.replace(
        apply(recipe, found.params), name="", summary=""
    )
    assert f"Best: trial {found.best}" in (tmp_path / "search/SEARCH.md").read_text()


def test_a_continued_search_is_the_search_that_never_stopped(
    recipe: Recipe, pretended: Pretended, tmp_path: Path
) -> None:
    straight = run(recipe, tmp_path / "a/search", 4)
    run(recipe, tmp_path / "b/search", 2)
    assert run(recipe, tmp_path / "b/search", 4) == straight
    drawn = [[(row["optim.learning_rate"], row["state"]) for row in rows(tmp_path / f"{name}/search")] for name in "ab"]
    assert drawn[0] == drawn[1]
    calls = len(pretended.trained)
    assert run(recipe, tmp_path / "b/search", 4) == straight and len(pretended.trained) == calls
    with pytest.raises(SearchError, match="other recipe"):
        run(dataclasses.replace(recipe, seed=9), tmp_path / "b/search", 4)
    with pytest.raises(SearchError, match="other space"):
        run(recipe, tmp_path / "b/search", 4, SPACE.replace("1e-1", "1e-2"))


def test_trials_below_the_median_end_early(recipe: Recipe, pretended: Pretended, tmp_path: Path) -> None:
    longer = dataclasses.replace(recipe, optim=dataclasses.replace(recipe.optim, epochs=8))
    found = run(longer, tmp_path / "search", 9, sampler="random")
    states = [row["state"] for row in rows(tmp_path / "search")]
    assert "ended early" not in states[:5] and "ended early" in states
    for (epochs, value), state in zip(pretended.trained, states, strict=True):
        assert (epochs < 8) == (state == "ended early")
        assert value < found.value or state == "done"


def test_a_failed_trial_is_recorded_and_the_search_goes_on(
    recipe: Recipe, pretended: Pretended, tmp_path: Path
) -> None:
    pretended.fail = lambda chosen: chosen.optim.batch_size == 4
    run(recipe, tmp_path / "search", 4, sampler="random")
    for row in rows(tmp_path / "search"):
        failed = row["optim.batch_size"] == "4"
        assert row["error"] == ("RuntimeError: out of memory" if failed else "")
        assert (row["state"] == "failed") == failed
    assert "RuntimeError: out of memory" in (tmp_path / "search/SEARCH.md").read_text()
    pretended.fail = lambda _: True
    with pytest.raises(SearchError, match="None of 3 trials came to its end: RuntimeError: out of memory"):
        run(recipe, tmp_path / "hopeless", 3)
    assert not (tmp_path / "hopeless/best.toml").exists() and len(rows(tmp_path / "hopeless")) == 3


def test_two_processes_do_not_take_the_same_trial(recipe: Recipe, pretended: Pretended, tmp_path: Path) -> None:
    def interrupt(_: Recipe) -> bool:
        raise KeyboardInterrupt

    pretended.fail = interrupt
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "search", 3)
    pretended.fail = lambda _: False
    with FileLock(tmp_path / "search/.trial-0000.lock"):  # another process works on the first
        run(recipe, tmp_path / "search", 3)
        assert [row["trial"] for row in rows(tmp_path / "search")] == ["1", "2"]
    assert run(recipe, tmp_path / "search", 3).trials == 3


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (
            "[optim]\nlearning_rat = { low = 1e-4, high = 1e-3 }",
            "optim.learning_rat: unknown key; did you mean 'learning_rate'",
        ),
        ("[optm]\nepochs = { low = 1, high = 3 }", "optm: unknown key; did you mean 'optim'"),
        (
            "[optim]\nlearning_rate = { low = 1e-4, hihg = 1e-3 }",
            "optim.learning_rate.hihg: unknown key; did you mean 'high'",
        ),
        ("[optim]\nlearning_rate = 1e-3", "optim.learning_rate: expected a range"),
        ("[optim]\nlearning_rate = { lo = 1e-4, hi = 1e-3 }", "optim.learning_rate.lo: expected a range"),
        ("[optim]\nlearning_rate = { low = 1e-3 }", "expected either low and high, or choices"),
        ("[optim]\nlearning_rate = { low = 1e-3, high = 1e-4 }", "low is not below high"),
        ("[optim]\nweight_decay = { low = 0, high = 1, log = true }", "log needs a range above zero"),
        ("[optim]\nbatch_size = { low = 1.5, high = 4 }", "optim.batch_size: expected int"),
        ('[loss]\nname = { choices = ["focal", "bce-dice"] }', "does not go with loss.name 'bce-dice'"),
        ("[seed]\nx = { low = 1, high = 3 }", "has no table 'seed'"),
        ("[[", "space.toml"),
        ("", "names no key"),
    ],
)
def test_slip_in_a_space_is_named(recipe: Recipe, tmp_path: Path, text: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_space(space_file(tmp_path, text), recipe)
    assert hint in str(caught.value)


def test_ends_are_taken_as_the_recipe_takes_them(recipe: Recipe, tmp_path: Path) -> None:
    space = load_space(space_file(tmp_path, SPACE), recipe)
    assert [type(space[key].high) for key in ("augment.rotation", "augment.hairs")] == [float, int]
    with pytest.raises(RecipeError, match=r"Did you mean .*segmentation\.toml"):
        load_space(tmp_path / "segmentatio.toml", recipe)


@pytest.mark.parametrize("name", ["simple-cnn", "unet", "clnet-melanoma"])
def test_shipped_spaces_fit_their_recipes(name: str) -> None:
    found = load_recipe(name)
    assert "optim.learning_rate" in load_space(SPACE_FOLDER / f"{found.task}.toml", found)


def test_an_interrupted_trial_goes_on_and_the_best_recipe_trains(
    recipe: Recipe,
    drawn_records: list[Record],
    drawn_folder: Path,
    toy_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = standard_split(drawn_records)
    space = load_space(space_file(tmp_path, SPACE), recipe)
    options: dict[str, Any] = {"trials": 2, "cache": toy_cache, "say": lambda _: None, "prune": False}

    def stopped(*args: Any, **kwargs: Any) -> Outcome:
        train(*args, **kwargs, stop_after=1)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "train", stopped)
    with pytest.raises(KeyboardInterrupt):
        search(recipe, space, parts["train"], parts["val"], tmp_path / "search", **options)
    ends: dict[Path, dict[str, Any]] = {}

    def watched(*args: Any, **kwargs: Any) -> Outcome:
        outcome = train(*args, **kwargs)
        ends[args[3]] = read_file(args[3] / "last.pt")
        return outcome

    monkeypatch.setattr(module, "train", watched)
    found = search(recipe, space, parts["train"], parts["val"], tmp_path / "search", **options)
    monkeypatch.undo()
    assert found.trials == 2
    assert (tmp_path / "search/trials.png").read_bytes().startswith(b"\x89PNG")
    assert not list((tmp_path / "search").rglob("last.pt"))

    first = rows(tmp_path / "search")[0]
    params = {
        "optim.learning_rate": float(first["optim.learning_rate"]),
        "optim.batch_size": int(first["optim.batch_size"]),
    }
    params |= {"augment.rotation": float(first["augment.rotation"]), "augment.hairs": int(first["augment.hairs"])}
    train(apply(recipe, params), parts["train"], parts["val"], tmp_path / "straight", cache=toy_cache)
    straight = read_file(tmp_path / "straight/last.pt")
    went_on = ends[trial_folder(tmp_path / "search", 0)]
    assert all(torch.equal(straight["model"][name], went_on["model"][name]) for name in straight["model"])

    save_recipe(recipe, tmp_path / "base.toml")
    arguments = [
        "train",
        str(tmp_path / "search/best.toml"),
        "--data",
        str(drawn_folder),
        "--out",
        str(tmp_path / "run"),
    ]
    done = CliRunner().invoke(cli.app, [*arguments, "--epochs", "1", "--cache", str(toy_cache)])
    assert done.exit_code == 0, done.output
    arguments = ["search", str(tmp_path / "base.toml"), "--data", str(drawn_folder), "--out", str(tmp_path / "search")]
    arguments += ["--space", str(tmp_path / "space.toml"), "--trials", "2", "--cache", str(toy_cache)]
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 0, done.output
    assert f"trial {found.best} of 2" in done.output
