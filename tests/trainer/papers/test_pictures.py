"""Costs and pictures of the comparisons follow from the stored rows, and a change in a row is noticed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from edge_infer.engines.onnx import OnnxEngine
from trainer.cli import app as cli
from trainer.cli.compare import RESULTS
from trainer.errors import DataError
from trainer.models.complexity import measure_module
from trainer.papers import costs as measured
from trainer.papers.costs import COSTS, cost_of, key_of, measure_costs, read_costs, recipe_of, write_costs
from trainer.papers.figures import draw, unmeasured
from trainer.papers.published import PUBLISHED, published_table
from trainer.papers.rows import Row, read_rows, write_row
from trainer.recipe import ModelConfig, Recipe, load_recipe
from trainer.scoring.plots import figure_data
from trainer.training.checkpoint import build_model


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Two networks of the stored comparison, one row each."""
    found = {row.name: row for row in read_rows(RESULTS / "classifiers") if row.pace and row.view == "truth"}
    return [found[name] for name in ("mobilenet-v2-seven", "mobilenet-v3-large")]


@pytest.fixture
def folder(tmp_path: Path, rows: list[Row]) -> Path:
    for row in rows:
        write_row(row, tmp_path / "classifiers")
        for path in (RESULTS / "classifiers").glob(f"{Path(row.predictions).stem}*.parquet"):
            shutil.copy(path, tmp_path / "classifiers")
    return tmp_path


def test_what_ships_follows_from_the_rows() -> None:
    result = CliRunner().invoke(cli.app, ["results", "--check"])
    assert result.exit_code == 0, result.output


def test_costs_are_those_of_each_network_and_drawn_against(
    folder: Path, rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "ROUNDS", 2)
    assert unmeasured(folder) == [row.name for row in rows]
    assert [path.name for path in draw(folder, folder / "without")] == [
        "classification-elsewhere.png",
        "classification-published.png",
    ]
    costs = measure_costs(folder, lambda text: None)
    write_costs(costs, folder)
    assert read_costs(folder) == costs and unmeasured(folder) == []
    for row in rows:
        recipe, cost = recipe_of(row), cost_of(row, costs)
        assert recipe is not None and cost is not None
        whole = measure_module(build_model(recipe), recipe.data.size)
        assert (cost.parameters, cost.gflops) == (whole.parameters, round(whole.gflops, 3))
        assert 0 < cost.low <= cost.milliseconds <= cost.high
    drawn = draw(folder, folder / "with")
    spots = figure_data(drawn[0])["spots"]
    assert drawn[0].name == "classification-cost.png" and set(spots) == {row.name for row in rows}
    kind, at, value = spots["mobilenet-v2-seven"]
    auc = rows[0].figures.classification.ranking["auc"]  # type: ignore[union-attr]
    assert kind == "ImageNet weights" and value == [round(x, 4) for x in (auc.value, auc.low, auc.high)]  # type: ignore[arg-type]
    assert at[1] == pytest.approx(2.2328, abs=1e-4) and spots["mobilenet-v3-large"][0] == "random weights"


def test_a_joint_network_is_timed_with_both_outputs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[str, ...]] = []
    run = OnnxEngine.run_named

    def noted(self: OnnxEngine, batch: NDArray[np.uint8], names: Sequence[str]) -> tuple[NDArray[np.float32], ...]:
        asked.append(tuple(names))
        return run(self, batch, names)

    monkeypatch.setattr(OnnxEngine, "run_named", noted)
    recipe = load_recipe("clnet-melanoma")
    small = replace(recipe, data=replace(recipe.data, size=32))
    network = build_model(small)
    timed = measured._engine(small, measure_module(network, 32), tmp_path / "joint.onnx")
    assert timed.milliseconds() > 0 and asked == [("probability_map", "probabilities")]


def test_equal_networks_are_one_and_different_ones_are_not() -> None:
    recipe = load_recipe("densenet121")
    same = replace(recipe, name="other", seed=3)
    others = (
        replace(recipe, model=ModelConfig("resnet50")),
        replace(recipe, data=replace(recipe.data, size=96)),
        replace(recipe, data=replace(recipe.data, target="melanoma")),
    )
    assert key_of(same) == key_of(recipe) and len({key_of(one) for one in (recipe, *others)}) == 4
    fused = load_recipe("metadata-fusion")
    assert key_of(fused).startswith("mobilenet_v2, 7 classes")


def test_a_changed_row_and_a_spoilt_file_are_noticed(folder: Path, rows: list[Row], tmp_path: Path) -> None:
    shutil.copy(RESULTS / COSTS, folder / COSTS)
    page = str(tmp_path / "RESULTS.md")
    run = CliRunner()
    assert run.invoke(cli.app, ["results", str(folder), "--out", page]).exit_code == 0
    assert run.invoke(cli.app, ["results", str(folder), "--out", page, "--check"]).exit_code == 0
    path = folder / "classifiers" / f"{Path(rows[0].predictions).stem}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["figures"]["classification"]["ranking"]["auc"]["value"] = 0.99
    path.write_text(json.dumps(content), encoding="utf-8")
    result = run.invoke(cli.app, ["results", str(folder), "--out", page, "--check"])
    assert result.exit_code != 0 and "shows other numbers" in str(result.exception)
    (folder / COSTS).write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="holds no costs"):
        draw(folder, tmp_path / "never")


def test_a_row_without_a_recipe_has_no_cost(rows: list[Row]) -> None:
    assert recipe_of(replace(rows[0], recipe=None)) is None
    with pytest.raises(DataError, match="holds no recipe"):
        recipe_of(replace(rows[0], recipe={"name": 1}))
    assert isinstance(recipe_of(rows[0]), Recipe)


def test_published_figures_say_where_they_were_read() -> None:
    assert all(0 < one.value < 1 and one.source and one.data for one in PUBLISHED)
    assert {one.stage for one in PUBLISHED} == {"segmentation", "classification"}
    assert all(one.source in published_table() for one in PUBLISHED)
