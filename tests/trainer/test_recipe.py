"""Recipes: what ships is valid, and a slip is reported by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.errors import RecipeError
from trainer.models import entry
from trainer.recipe import RECIPE_FOLDER, load_recipe, recipe_from_dict, recipe_names, save_recipe
from trainer.training.checkpoint import build_model


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipe_is_valid_and_named_like_its_file(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert entry(recipe.model.name).task == recipe.task
    assert recipe_from_dict(recipe.to_dict()) == recipe


@pytest.mark.parametrize("name", ["mobile-segmenter", "mobile-classifier"])
def test_shipped_recipe_builds_its_network(name: str) -> None:
    assert sum(value.numel() for value in build_model(load_recipe(name)).parameters()) > 1e6


@pytest.mark.parametrize(
    ("wrong", "right", "hint"),
    [
        (
            "learning_rat = 1e-3",
            "learning_rate = 1e-3",
            "optim.learning_rat: unknown key; did you mean 'learning_rate'",
        ),
        ('name = "bce-dise"', 'name = "bce-dice"', "did you mean 'bce-dice'"),
        ("epochs = 1.5", "epochs = 10", "optim.epochs: expected int"),
        ("epochs = 0", "epochs = 10", "optim.epochs is 0"),
        ('target = "dx"', 'target = "mask"', "does not go with data.target 'dx'"),
        ("[[", "[optim]", "TOML"),
    ],
)
def test_slip_in_a_recipe_is_named(tmp_path: Path, wrong: str, right: str, hint: str) -> None:
    text = (RECIPE_FOLDER / "mobile-segmenter.toml").read_text(encoding="utf-8")
    assert right in text
    path = tmp_path / "slip.toml"
    path.write_text(text.replace(right, wrong), encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert hint in str(caught.value)
    assert "slip.toml" in str(caught.value)


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="Did you mean 'mobile-classifier'"):
        load_recipe("mobil-classifier")


def test_crop_narrower_than_the_serving_rule_is_refused() -> None:
    values = load_recipe("mobile-classifier").to_dict()
    values["data"]["cache_margin"] = 0.1
    with pytest.raises(RecipeError, match="cache_margin is below"):
        recipe_from_dict(values)


@pytest.mark.parametrize("name", ["mobile-classifier", "clnet-keratosis"])
def test_a_saved_recipe_is_the_same_recipe(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    save_recipe(recipe, tmp_path / "copy.toml")
    assert load_recipe(tmp_path / "copy.toml") == recipe
