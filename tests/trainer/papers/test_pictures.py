"""Costs and pictures of the comparisons follow from the stored rows, and a change in a row is noticed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from edge_infer.engines.onnx import OnnxEngine
from tests.support.comparison_rows import SEVEN, make_row
from trainer.cli import app as cli
from trainer.cli.compare import RESULTS
from trainer.errors import DataError
from trainer.models.complexity import measure_module
from trainer.papers import costs as measured
from trainer.papers import figures
from trainer.papers.costs import (
    COSTS,
    Cost,
    Costs,
    cost_of,
    key_of,
    measure_costs,
    read_costs,
    recipe_of,
    write_costs,
)
from trainer.papers.figures import CONSTANT, draw, unmeasured
from trainer.papers.measures import accuracy_of
from trainer.papers.published import PUBLISHED, published_table
from trainer.papers.results import lessons_page, to_markdown
from trainer.papers.rows import Row, read_rows, write_row
from trainer.recipe import ModelConfig, Recipe, load_recipe
from trainer.scoring.plots import Spot, figure_data, spot_plot
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


def test_keratosis_is_not_drawn_as_melanoma(tmp_path: Path) -> None:
    make_row(tmp_path, "a", 1, away=1)
    make_row(tmp_path, "clnet-keratosis", 2, table="branches", view="picture", positive="bkl", masks=True, away=1)
    shown = {path.name: figure_data(path) for path in draw(tmp_path, tmp_path / "figures")}
    assert shown["classification-elsewhere.png"]["measure"] == "AUC of melanoma"
    for dots in shown["classification-elsewhere.png"]["origins"].values():
        assert set(dots) == {"a"}
    assert set(shown["segmentation-elsewhere.png"]["origins"]["HAM10000"]) == {"clnet-keratosis"}


def test_titles_say_the_time_and_twins_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [make_row(tmp_path, name, 1) for name in ("a", "a-scratch")]
    made.append(make_row(tmp_path, "b-scratch", 1, pace="hour"))
    recipe = recipe_of(made[0])
    assert recipe is not None
    write_costs(Costs("a machine", "1", {key_of(recipe): Cost(10**6, 1.5, 9, 8, 10)}), tmp_path)
    joined: list[Spot] = []

    def noted(path: Path, spots: list[Spot], *rest: Any) -> None:
        joined.extend(spots)
        spot_plot(path, spots, *rest)

    monkeypatch.setattr(figures, "spot_plot", noted)
    drawn = {path.name: figure_data(path) for path in draw(tmp_path, tmp_path / "figures")}
    assert {spot.name: spot.twin for spot in joined} == {"a": "", "a-scratch": "a", "b-scratch": "b"}
    assert {data["title"].partition("\n")[2] for data in drawn.values()} == {
        "schedules fitted to 60 or 20 minutes of one core",
        "schedules fitted to 60 or 20 minutes of one core; a machine",
    }


def test_published_figures_stand_beside_the_constant_answer(tmp_path: Path) -> None:
    make_row(tmp_path, "a", 2, labels=SEVEN)
    constant = make_row(tmp_path, CONSTANT, 0, labels=SEVEN, view="whole", system="S10", pace="")
    write_row(replace(constant, compute=None, recipe=None), tmp_path / "classifiers")
    make_row(tmp_path, CONSTANT, 0, labels=SEVEN, view="whole", system="S10", pace="", table="metadata", count=80)
    published = tmp_path / "figures" / "classification-published.png"
    assert published in draw(tmp_path, tmp_path / "figures")
    accuracy = accuracy_of(constant.figures)
    [(words, value)] = figure_data(published)["references"].items()
    assert accuracy and value == round(accuracy.value, 4) and "always the commonest diagnosis" in words
    assert "rows of here: schedules fitted to 20 minutes of one core" in figure_data(published)["title"]
    write_row(replace(constant, figures=replace(constant.figures, images=3)), tmp_path / "classifiers")
    draw(tmp_path, tmp_path / "figures")
    assert figure_data(published)["references"] == {}, "of other pictures"


def test_the_cost_of_metadata_is_told_to_be_of_the_picture(tmp_path: Path) -> None:
    make_row(tmp_path, "a", 1)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures/classification-cost.png").touch()
    for text in (lessons_page(tmp_path), to_markdown(tmp_path)):
        assert "The cost of `metadata-fusion` leaves out its part for age, sex and site." in text


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
