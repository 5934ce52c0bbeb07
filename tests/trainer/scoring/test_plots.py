"""Figures carry the numbers that they show, and the same numbers give the same file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_curve

from edge_infer.rules import Metric
from trainer.errors import DataError
from trainer.scoring import plots
from trainer.scoring.metrics import lesion_weights
from trainer.scoring.plots import (
    Answers,
    Dot,
    Dots,
    ForestRow,
    Line,
    Mark,
    Spot,
    coverage_plot,
    dot_plot,
    figure_data,
    forest_plot,
    reliability_plot,
    roc_curve_plot,
    spot_plot,
)

RNG = np.random.default_rng(0)
POSITIVE = RNG.random(120) < 0.3
SCORE = np.clip(0.3 * POSITIVE + 0.6 * RNG.random(120), 0, 1).round(2)
WEIGHTS = lesion_weights([str(i // 2) for i in range(120)], 50)


def answers(name: str = "all", *, intervals: bool = True) -> Answers:
    return Answers(name, SCORE, POSITIVE, WEIGHTS if intervals else None)


def draw_all(folder: Path) -> list[Path]:
    metric = Metric(0.8, 0.7, 0.9)
    paths = [folder / f"{name}.png" for name in ("roc", "reliability", "coverage", "forest")]
    roc_curve_plot(paths[0], [answers(), answers("other", intervals=False)], [Mark("point", metric, Metric(0.6))])
    reliability_plot(paths[1], [answers("before", intervals=False), answers("after")])
    coverage_plot(paths[2], {"sensitivity": [Line("point", [0, 0.1], [metric, Metric(0.9)])]})
    rows = [ForestRow("sex", "male", "n = 3", {"AUC": metric}), ForestRow("age", "30-49", "n = 1", {"AUC": None})]
    forest_plot(paths[3], rows, {"AUC": metric}, "Subgroups")
    return paths


def test_the_same_numbers_give_the_same_bytes_without_a_date(tmp_path: Path) -> None:
    for first, second in zip(draw_all(tmp_path / "a"), draw_all(tmp_path / "b"), strict=True):
        assert first.read_bytes() == second.read_bytes()
        with Image.open(first) as image:
            assert set(image.text) == {"Data"}  # type: ignore[attr-defined]
            assert min(image.size) > 100


def test_the_roc_curve_is_scikit_learns(tmp_path: Path) -> None:
    roc_curve_plot(tmp_path / "roc.png", [answers()])
    curve = figure_data(tmp_path / "roc.png")["curves"]["all"]
    alarms, hits, _ = roc_curve(POSITIVE, SCORE, drop_intermediate=False)
    expected = [hits[alarms <= x + 1e-9].max() for x in np.linspace(0, 1, len(curve["sensitivity"]))]
    assert curve["sensitivity"] == pytest.approx(expected, abs=1e-4)
    assert all(low <= high for low, high in zip(curve["low"], curve["high"], strict=True))


def test_figures_hold_what_they_show(tmp_path: Path) -> None:
    roc, reliability, coverage, forest = map(figure_data, draw_all(tmp_path))
    assert roc["points"] == {"point": [0.4, 0.8]}
    assert list(reliability) == ["before", "after"] and sum(reliability["after"]["pictures"]) == 120
    assert coverage["sensitivity"]["point"]["y"] == [[0.8, 0.7, 0.9], [0.9, None, None]]
    assert forest == {"AUC": {"sex: male": [0.8, 0.7, 0.9]}}
    with pytest.raises(DataError):
        figure_data(tmp_path / "missing.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "other.png")
    with pytest.raises(DataError):
        figure_data(tmp_path / "other.png")


def test_the_front_of_a_figure_against_its_cost_holds_what_nothing_cheaper_equals(tmp_path: Path) -> None:
    spots = [
        Spot("a", "one", (1.0,), Metric(0.8, 0.7, 0.9)),
        Spot("b", "two", (2.0,), Metric(0.7)),
        Spot("c", "one", (3.0,), Metric(0.9)),
    ]
    spot_plot(tmp_path / "spots.png", spots, ("GFLOP",), "AUC", "title")
    data = figure_data(tmp_path / "spots.png")
    assert list(data["spots"]) == ["c", "a", "b"] and data["spots"]["a"] == ["one", [1.0], [0.8, 0.7, 0.9]]
    assert plots._front([(spot.costs[0], spot.value.value) for spot in spots]) == ([1.0, 3.0], [0.8, 0.9])


def test_numbers_cover_neither_each_other_nor_a_point() -> None:
    draws = np.random.default_rng(0)
    points = np.repeat(draws.uniform(60, 240, (8, 2)), 3, axis=0) + draws.normal(0, 2, (24, 2))
    places = plots.fan_out(points, np.array([0.0, 0.0, 300.0, 300.0]))
    wide, high = plots._LABEL
    for number, place in enumerate(places):
        others = np.abs(np.delete(places, number, axis=0) - place)
        assert ((others[:, 0] >= wide) | (others[:, 1] >= high)).all()
        away = np.abs(points - place)
        assert ((away[:, 0] >= wide / 2 + plots._SPOT / 2) | (away[:, 1] >= high / 2 + plots._SPOT / 2)).all()
        assert (place > 0).all() and (place < 300).all()
    assert np.hypot(*(places - points).T).max() < 60
    edge = plots.fan_out(np.array([[298.0, 150.0]]), np.array([0.0, 0.0, 300.0, 300.0]))
    assert edge[0, 0] < 298 and plots.fan_out(np.zeros((0, 2)), np.array([0.0, 0.0, 1.0, 1.0])).shape == (0, 2)


def test_twins_are_joined_and_references_are_kept(tmp_path: Path) -> None:
    spots = [Spot("a", "one", (1.0,), Metric(0.8)), Spot("b", "two", (1.0,), Metric(0.7), twin="a")]
    drawn = []
    for number, chosen in enumerate((spots, [replace(spot, twin="") for spot in spots])):
        spot_plot(tmp_path / f"{number}.png", chosen, ("GFLOP",), "AUC", "title")
        drawn.append(np.asarray(Image.open(tmp_path / f"{number}.png").convert("RGB")))
    assert drawn[0].shape == drawn[1].shape and (drawn[0] != drawn[1]).any()
    dot_plot(tmp_path / "dots.png", [Dots("here", [Dot("a", Metric(0.8))])], "Dice", "title", {"always": 0.25})
    data = figure_data(tmp_path / "dots.png")
    assert data["references"] == {"always": 0.25} and data["title"] == "title"


def test_a_name_of_two_origins_stands_on_one_line(tmp_path: Path) -> None:
    groups = [
        Dots("here", [Dot("a", Metric(0.8, 0.7, 0.9))]),
        Dots("there", [Dot("a", Metric(0.6)), Dot("b", Metric(0.7))]),
    ]
    dot_plot(tmp_path / "dots.png", groups, "Dice", "title")
    assert figure_data(tmp_path / "dots.png")["origins"] == {
        "here": {"a": [0.8, 0.7, 0.9]},
        "there": {"a": [0.6, None, None], "b": [0.7, None, None]},
    }
