"""The table of goals says what was reached, and nothing where there is no figure."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edge_infer.rules import Metric
from trainer.cli.bundle import RESULTS
from trainer.errors import DataError
from trainer.papers.against_goals import PAPER, leaking_rows, overview, papers_table
from trainer.papers.measures import HALF
from trainer.papers.rows import Row, read_rows
from trainer.report.goals import GOALS, goals_table
from trainer.report.summary import Summary

COMPARISONS = RESULTS / "compare"


def summary(**parts: object) -> Summary:
    empty = Summary("test", 1, 1, 1, 1, {}, {}, {}, {}, {}, {}, {}, {}, {}, ())
    return replace(empty, **parts)  # type: ignore[arg-type]


def line(text: str, start: str) -> list[str]:
    [found] = [row for row in text.splitlines() if row.startswith(f"| {start}")]
    return [cell.strip() for cell in found.strip("|").split("|")]


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.9349, "**missed**"), (0.935, "reached"), (0.9449, "reached"), (0.945, "moonshot")]
)
def test_more_is_better(value: float, verdict: str) -> None:
    table = goals_table(summary(segmentation={"dice": Metric(value, 0.9, 0.99)}))
    assert line(table, "Dice per picture")[-2:] == [f"{value:.3f} (0.900 to 0.990)", verdict]
    assert line(table, "melanoma AUC")[-2:] == ["-", "-"]


@pytest.mark.parametrize(("value", "verdict"), [(0.031, "**missed**"), (0.03, "reached"), (0.02, "moonshot")])
def test_less_is_better_for_errors(value: float, verdict: str) -> None:
    table = goals_table(summary(melanoma={"calibration_error": Metric(value)}))
    assert line(table, "calibration error")[-1] == verdict


def test_a_binary_bundle_has_no_figure_over_seven_diagnoses() -> None:
    classes = {"class_accuracy": Metric(0.99), "class_balanced_accuracy": Metric(0.99)}
    assert line(goals_table(summary(classes=classes)), "accuracy, seven")[-1] == "-"
    assert line(goals_table(summary(classes=classes, diagnoses=7)), "accuracy, seven")[-1] == "moonshot"


def test_every_goal_asks_for_more_of_a_moonshot() -> None:
    for goal in GOALS:
        assert (goal.moonshot < goal.must) == goal.low, goal.words


def test_the_lucky_seed_is_no_floor() -> None:
    text = goals_table(summary(melanoma={"auc": Metric(0.93)}))
    assert line(text, "melanoma AUC")[1] == "floor 0.90 to 0.92 (true box)"
    assert "lucky seed" in text.split("| melanoma AUC")[1] and "0.942" not in text.partition("\n\n")[0]


@pytest.fixture
def row() -> Row:
    rows = read_rows(COMPARISONS / "classifiers")
    [found] = [row for row in rows if (row.name, row.view) == ("resnet50-binary", "predicted")]
    return found


def test_the_papers_protocol_is_shown_only_with_its_leak(row: Row) -> None:
    sound = replace(row, roi_from="bundle a")
    assert papers_table("a", [sound]) == "", "a sound split is not the papers'"
    leaking = replace(sound, leaks=True, shared=0.6, shared_melanoma=0.67)
    assert papers_table("a", [replace(leaking, view="truth")]) == "", "crops are predicted in use"
    assert papers_table("b", [leaking]) == "", "these are another bundle's crops"
    text = papers_table("a", [leaking])
    assert "leaks" in text and "67%" in text and "low budget" in text
    assert row.figures.classification
    measured = row.figures.classification.decisions[HALF]["sensitivity"].value
    verdict = "matched" if measured >= PAPER["sensitivity"] else "**missed**"
    assert line(text, "sensitivity")[1:] == ["0.7467", line(text, "sensitivity")[2], verdict]


def test_rows_on_leaking_splits_are_found_where_compare_leaves_them() -> None:
    assert {row.split for row in leaking_rows("reference")} == {"image-80-20"}
    assert leaking_rows("mobile") == []


def test_bundles_side_by_side(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no results"):
        overview(tmp_path)
    several = json.loads((RESULTS / "reference" / "evaluation.json").read_text())
    plain = {"test": several["summaries"]["ham10000"]}  # of a bundle over one source
    for name, found in (("mobile", several), ("b", plain)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "evaluation.json").write_text(json.dumps(found))
    plain["test"]["segmentation"]["dice"]["value"] += 0.01
    plain["test"]["melanoma"]["auc"]["value"] -= 0.02
    (tmp_path / "b" / "evaluation.json").write_text(json.dumps(plain))
    text = overview(tmp_path)
    assert "| Dice per picture, after clean-up | b | 0.0100 | reached |" in text
    assert "| melanoma AUC, predicted ROI | b | ahead by 0.0200 | moonshot |" in text
    shutil.rmtree(tmp_path / "b")
    assert "best other" not in overview(tmp_path), "one bundle alone has nothing to be compared with"
    (tmp_path / "mobile" / "evaluation.json").write_text("{}")
    with pytest.raises(DataError, match="holds no figures"):
        overview(tmp_path)


def test_the_stored_page_follows_from_the_stored_results() -> None:
    assert (RESULTS / "README.md").read_text(encoding="utf-8") == overview(RESULTS)
