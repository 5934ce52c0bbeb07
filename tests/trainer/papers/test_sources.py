"""Arms over sources: each changes one thing, none sees the source left out, and the table follows from its files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.support.many_sources import draw_extra
from trainer.cli.app import app
from trainer.data.sources import read_sources
from trainer.data.splits import named_split
from trainer.errors import DataError, RecipeError
from trainer.papers.sources.arms import BASE, arms
from trainer.papers.sources.rows import read_arms, read_scores
from trainer.papers.sources.run import SourcesJob, compare_sources
from trainer.papers.sources.table import difference, to_markdown
from trainer.recipe import DataConfig, ModelConfig, Normalization, Recipe, SourceConfig, load_recipe, save_recipe
from trainer.scoring.alone import figures
from trainer.training.checkpoint import load_checkpoint

MakeRecipe = Callable[..., Recipe]


@pytest.fixture(scope="module")
def extra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_extra(tmp_path_factory.mktemp("extra"))


@pytest.fixture
def recipe(toy_recipe: MakeRecipe) -> Recipe:
    small = toy_recipe("mobile-classifier", size=32, epochs=1)
    sources = {"ham10000": SourceConfig(), "clinic": SourceConfig(), "archive": SourceConfig()}
    data = DataConfig(size=32, target="dx", sources=sources)
    return dataclasses.replace(small, model=ModelConfig("simple_cnn", {"width": 4, "hidden": 8}), data=data)


@pytest.mark.parametrize("name", ["sources-classifier", "sources-segmenter"])
def test_arms_differ_in_one_thing(name: str) -> None:
    base, *others = arms(load_recipe(name))
    assert base.name == BASE and base.recipe.starts_from is None and base.recipe.optim.keep == "last"
    plain = dataclasses.replace(base.recipe, name="")
    for arm in others:
        changed = {
            field.name
            for field in dataclasses.fields(Recipe)
            if getattr(arm.recipe, field.name) != getattr(plain, field.name)
        } - {"name"}
        assert len(changed) == 1, (arm.name, changed)
    assert len({arm.name for arm in others}) == len(others) >= 4
    crops = {arm.name for arm in others if arm.name.startswith("outside-")}
    assert crops == ({"outside-pad", "outside-cap", "outside-reflect"} if name == "sources-classifier" else set())
    assert all("msk-uda" not in arm.recipe.data.sources for arm in arms(load_recipe(name), "msk-uda"))


def test_a_folder_of_weights_brings_other_networks_each_from_its_own_file(tmp_path: Path) -> None:
    chosen = load_recipe("sources-classifier-short")
    job = SourcesJob(chosen, [], tmp_path, tmp_path, weights=tmp_path)
    for name in ("densenet121_imagenet.pth", "tf_efficientnet_lite0.pth"):
        (tmp_path / name).touch()
    assert sorted(job.networks) == ["densenet121", "efficientnet_lite0"]
    known = {arm.name: arm.recipe for arm in arms(chosen, networks=job.networks)}
    added = known.keys() - {arm.name for arm in arms(chosen)}
    assert added == {"network-densenet121"}
    other = known["network-densenet121"]
    assert other.normalization == Normalization() != chosen.normalization
    assert dataclasses.replace(other, model=chosen.model, normalization=chosen.normalization, name="") == (
        dataclasses.replace(known[BASE], name="")
    )
    assert job.weights_of(other) == tmp_path / "densenet121_imagenet.pth"
    assert job.weights_of(known[BASE]) == tmp_path / "tf_efficientnet_lite0.pth"
    one = dataclasses.replace(job, weights=tmp_path / "tf_efficientnet_lite0.pth")
    assert one.networks == [] and one.weights_of(known[BASE]) == one.weights
    with pytest.raises(DataError, match="no ImageNet weights of 'simple_cnn'"):
        job.weights_of(dataclasses.replace(chosen, model=ModelConfig("simple_cnn")))


def test_a_recipe_without_sources_has_no_arms() -> None:
    with pytest.raises(RecipeError, match="names no sources"):
        arms(load_recipe("mobile-classifier"))


def test_command_makes_a_table_that_follows_from_its_files(
    recipe: Recipe, drawn_folder: Path, extra: Path, tmp_path: Path
) -> None:
    save_recipe(recipe, tmp_path / "r.toml")
    options = ["--data", str(drawn_folder), "--data", str(extra), "--cache", str(tmp_path / "cache")]
    options += ["--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs"), "--leave-out", "clinic"]
    options += ["--only", "base", "--only", "only-ham10000"]
    command = ["compare-sources", str(tmp_path / "r.toml"), *options]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "out" / f"{recipe.name}-without-clinic"
    rows = read_arms(folder)
    assert {(row.name, row.seed) for row in rows} == {(n, s) for n in ("base", "only-ham10000") for s in (0, 1)}
    assert (folder / "README.md").read_text() == to_markdown(folder)
    assert "clinic (left out)" in to_markdown(folder)
    records = read_sources([drawn_folder, extra])
    tests = {record.image_id for record in records if record.split == "test"}
    theirs = {record.lesion_id for record in records if record.source == "clinic"}
    halves = named_split([record for record in records if record.source != "clinic"], "development")
    for row in rows:
        scores = read_scores(folder / f"{row.name}-seed{row.seed}.parquet")
        judged = {record.image_id for record in scores.records}
        assert not judged & tests
        assert {record.image_id for record in halves["test"]} <= judged
        again = figures(scores)
        for source, found in row.figures.items():
            for key, metric in found.items():
                assert again[source][key].value == pytest.approx(metric.value, abs=1e-4)
    for run in (tmp_path / "runs").iterdir():
        assert theirs.isdisjoint(load_checkpoint(run / "last.pt").learnt_lesions or theirs)
    assert CliRunner().invoke(app, command).output.count("done before") == 4


def test_a_difference_to_itself_is_nothing(recipe: Recipe, drawn_folder: Path, extra: Path, tmp_path: Path) -> None:
    records = read_sources([drawn_folder, extra])
    job = SourcesJob(recipe, records, tmp_path, tmp_path / "runs", seeds=(0,), only=("base",), cache=tmp_path / "cache")
    compare_sources(job, say=lambda text: None)
    scores = read_scores(tmp_path / recipe.name / "base-seed0.parquet")
    for found in difference(scores, scores).values():
        assert all({metric.value, metric.low or 0, metric.high or 0} == {0} for metric in found.values())
    better = dataclasses.replace(scores, probabilities=np.eye(7)[[max(0, r.label) for r in scores.records]])
    assert difference(better, scores)["ham10000"]["auc"].value > 0


def test_unknown_arms_and_sources_are_named(recipe: Recipe, drawn_folder: Path, extra: Path, tmp_path: Path) -> None:
    job = SourcesJob(recipe, read_sources([drawn_folder, extra]), tmp_path, tmp_path / "runs")
    with pytest.raises(DataError, match="no arm 'bass'"):
        compare_sources(dataclasses.replace(job, only=("bass",)))
    with pytest.raises(DataError, match="The data hold"):
        compare_sources(dataclasses.replace(job, left_out="elsewhere"))
