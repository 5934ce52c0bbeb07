"""Bundle recipes: strict, and checked against the recipes of their stages."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from edge_infer.bundle.store import load_bundle
from tests.conftest import REPOSITORY
from trainer.bundle.recipe import (
    BUNDLE_FOLDER,
    bundle_recipe_from_dict,
    bundle_recipe_names,
    load_bundle_recipe,
    weight_file,
)
from trainer.errors import RecipeError, TrainerError

CROSS_FITTED = {
    "sources": ["HAM10000"],
    "training_only": [],
    "folds": 4,
    "roi": {"background": "keep", "margin": 0.25},
    "stages": {
        "segmenter": {"recipe": "mobile-segmenter", "init_weights": "mobilenet_v2_imagenet.pth"},
        "classifier": {"recipe": "mobile-classifier", "init_weights": "mobilenet_v2_imagenet.pth"},
    },
}
"""A bundle of one source whose classifier has folds."""


def plain(name: str = "mobile", **changes: Any) -> dict[str, Any]:
    return tomllib.loads((BUNDLE_FOLDER / f"{name}.toml").read_text(encoding="utf-8")) | changes


@pytest.mark.parametrize("name", bundle_recipe_names())
def test_a_shipped_recipe_says_what_its_bundle_says(name: str) -> None:
    recipe = load_bundle_recipe(name)
    home = REPOSITORY / "exported" / recipe.name
    if not home.is_dir() or (manifest := load_bundle(home).manifest).version != recipe.version:
        pytest.skip(f"{recipe.name} {recipe.version} does not ship")
    provenance = manifest.provenance
    assert recipe.name == manifest.name
    assert (recipe.description, recipe.intended_use) == (manifest.description, manifest.intended_use)
    assert (recipe.data, recipe.citation) == (provenance.data, provenance.citation)
    assert (recipe.license, recipe.license_note) == (provenance.license, provenance.license_note)
    assert recipe.roi == manifest.roi
    assert {recipe.store} == {stage["weights_stored_as"] for stage in provenance.recipes.values()}
    assert {stage: source.load().name for stage, source in recipe.stages} == {
        stage: known["name"] for stage, known in provenance.recipes.items()
    }
    made = {*manifest.segmenter.variants, *manifest.variants_left_out}
    assert set(recipe.variants) == made
    if provenance.bundle_recipe:  # empty in bundles that are older than bundle recipes, and still load
        assert provenance.bundle_recipe == json.loads(json.dumps(recipe.to_dict()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stor": "int8"}, "did you mean 'store'"),
        ({"store": "float61"}, "did you mean 'float16'"),
        ({"views": "four"}, "views: expected int"),
        ({"views": 3}, "views is 3"),
        ({"sources": []}, "sources is empty"),
        ({"folds": 9}, "has no folds"),
        (CROSS_FITTED | {"folds": 9}, "9 folds"),
        (CROSS_FITTED | {"folds": 0}, "0 folds"),
        ({"prior": 1.0}, "prior is 1.0"),
        ({"calibration": "plat"}, "did you mean 'platt'"),
        ({"sources": ["ham10000", "bcn", "isic2020"]}, "learns from msk-uda"),
        ({"variants": ["int9"]}, "int9"),
        ({"training_only": "isic2020"}, "training_only: expected a list"),
        ({"training_only": ["isic2019"]}, "training_only names isic2019, which sources does not"),
        ({"training_only": ["ham10000", "msk-uda", "bcn", "isic2020"]}, "training_only names every source"),
        (CROSS_FITTED | {"training_only": ["ham10000"]}, "is calibrated on what its folds leave out"),
        ({"roi": {"background": "zero", "margin": 0.25}}, "learns from"),
        ({"roi": {"background": "keep", "margn": 0.25}}, "roi.margn: unknown key"),
        ({"stages": {"segmenter": {"recipe": "mobile-segmenter"}}}, "stages.classifier: missing"),
        ({"stages": {k: {"recipe": "mobile-classifier"} for k in ("segmenter", "classifier")}}, "is for classif"),
        ({"stages": {k: {"recipe": "mobile-clasifier"} for k in ("segmenter", "classifier")}}, "mobile-classifier"),
    ],
)
def test_a_mistake_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainerError) as raised:
        bundle_recipe_from_dict(plain(**changes), "mine.toml")
    assert message in f"{raised.value} {raised.value.remedy}"


def test_an_unknown_bundle_recipe_names_the_nearest() -> None:
    with pytest.raises(RecipeError) as raised:
        load_bundle_recipe("mobil")
    assert "Did you mean 'mobile'" in raised.value.remedy


def test_weights_come_from_a_folder_or_from_the_one_file(tmp_path: Path) -> None:
    mobile, reference = bundle_recipe_from_dict(plain(**CROSS_FITTED)), load_bundle_recipe("reference")
    file = tmp_path / "mobilenet_v2_imagenet.pth"
    with pytest.raises(RecipeError, match=r"starts from mobilenet_v2_imagenet\.pth"):
        weight_file(mobile, "classifier", None)
    with pytest.raises(RecipeError, match="does not hold"):
        weight_file(mobile, "classifier", tmp_path)
    file.touch()
    assert weight_file(mobile, "segmenter", tmp_path) == weight_file(mobile, "classifier", file) == file
    assert weight_file(reference, "segmenter", None) is None
    two = bundle_recipe_from_dict(
        plain(stages=plain()["stages"] | {"segmenter": {"recipe": "mobile-segmenter", "init_weights": "other.pth"}})
    )
    with pytest.raises(RecipeError, match="is no folder with"):
        weight_file(two, "segmenter", file)


def test_a_recipe_of_ones_own_names_its_stages_by_path_and_the_bundle_by_file_name(tmp_path: Path) -> None:
    text = (BUNDLE_FOLDER.parent / "mobile-segmenter.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    stages = plain()["stages"] | {"segmenter": {"recipe": "mine.toml"}}
    recipe = bundle_recipe_from_dict(plain(stages=stages), folder=tmp_path)
    assert recipe.stages.segmenter.load().name == "mobile-segmenter"
    assert recipe.to_dict()["stages"]["segmenter"]["recipe"] == "mine.toml"
    assert str(tmp_path) not in str(recipe.to_dict())
