"""A run is continued only on its own pictures: a trial is not taken for the finished run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from trainer.cli.app import app
from trainer.data.ham10000 import Record
from trainer.data.splits import standard_split
from trainer.errors import CheckpointError, RecipeError
from trainer.recipe import ModelConfig, Recipe, recipe_from_dict, save_recipe
from trainer.training.checkpoint import read_file
from trainer.training.loop import train

MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def recipe(toy_recipe: MakeRecipe) -> Recipe:
    small = toy_recipe("mobile-classifier", size=32, epochs=1)
    model = ModelConfig("simple_cnn", {"width": 4, "hidden": 8})
    return dataclasses.replace(small, model=model, folds=2)


def test_a_trial_is_not_the_finished_run(recipe: Recipe, drawn_folder: Path, toy_cache: Path, tmp_path: Path) -> None:
    save_recipe(recipe, tmp_path / "r.toml")
    run = ["train", str(tmp_path / "r.toml"), "--data", str(drawn_folder), "--out", str(tmp_path / "run")]
    run += ["--cache", str(toy_cache)]
    trial = CliRunner().invoke(app, [*run, "--fold", "1", "--limit", "6"])
    assert trial.exit_code == 0, trial.output
    again = CliRunner().invoke(app, [*run, "--fold", "1", "--limit", "6"])
    assert again.exit_code == 0, again.output
    with pytest.raises(CheckpointError, match=r"--limit \(6 then, none now\)"):
        CliRunner().invoke(app, [*run, "--fold", "1"], catch_exceptions=False)
    with pytest.raises(CheckpointError, match=r"--fold \(1 then, 2 now\)"):
        CliRunner().invoke(app, [*run, "--fold", "2", "--limit", "6"], catch_exceptions=False)
    stored = json.loads((tmp_path / "run" / "run.json").read_text())
    assert stored == read_file(tmp_path / "run" / "best.pt")["identity"]
    assert (stored["fold"], stored["limit"]) == (1, 6) and stored["learns_from"].startswith("6 pictures")
    fresh = CliRunner().invoke(app, [*run, "--fold", "2", "--fresh"])
    assert fresh.exit_code == 0, fresh.output


def test_other_pictures_are_another_run(
    recipe: Recipe, drawn_records: list[Record], toy_cache: Path, tmp_path: Path
) -> None:
    parts = standard_split(drawn_records)
    train(recipe, parts["train"], parts["val"], tmp_path, cache=toy_cache)
    with pytest.raises(CheckpointError, match="the pictures it learns from"):
        train(recipe, parts["train"][1:], parts["val"], tmp_path, cache=toy_cache)
    with pytest.raises(CheckpointError, match="the pictures that validate it"):
        train(recipe, parts["train"], parts["val"][1:], tmp_path, cache=toy_cache)


def test_an_older_run_says_at_least_what_validated_it(
    recipe: Recipe, drawn_records: list[Record], toy_cache: Path, tmp_path: Path
) -> None:
    parts = standard_split(drawn_records)
    train(recipe, parts["train"], parts["val"], tmp_path, cache=toy_cache)
    older = read_file(tmp_path / "last.pt")
    del older["identity"]
    torch.save(older, tmp_path / "last.pt")
    train(recipe, parts["train"], parts["val"], tmp_path, cache=toy_cache)
    with pytest.raises(CheckpointError, match="the pictures that validate it"):
        train(recipe, parts["train"], parts["val"][1:], tmp_path, cache=toy_cache)


def test_folds_do_not_start_from_weights_that_saw_every_fold(recipe: Recipe) -> None:
    with pytest.raises(RecipeError, match="folds and starts_from"):
        recipe_from_dict(recipe.to_dict() | {"starts_from": "mobile-segmenter"})
