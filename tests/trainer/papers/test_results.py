"""RESULTS.md: marks that say how a row was trained, the papers' threshold, what was asked, and rows without a plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.comparison_rows import make_row
from trainer.papers.asked import ASKED, asked_table
from trainer.papers.marks import mark_of, marks_note, marks_of
from trainer.papers.measures import HALF, auc_of
from trainer.papers.results import _unique, to_markdown, unknown_rows
from trainer.papers.rows import Row, read_rows, write_row


def row(folder: Path, name: str, value: float | None = None, **changes: Any) -> Row:
    """A row whose AUC or Dice is set to `value`, 0.01 above and below it its interval."""
    asked: dict[str, Any] = {"recipe": "resnet50-binary"} | changes
    made = make_row(folder, name, 1.5, **asked)
    if value is None:
        return made
    if made.figures.classification:
        classes = made.figures.classification
        ranking = classes.ranking | {"auc": replace(classes.ranking["auc"], value=value, low=value - 0.01)}
        return replace(made, figures=replace(made.figures, classification=replace(classes, ranking=ranking)))
    assert made.figures.clean
    dice = {"dice": replace(made.figures.clean.per_picture["dice"], value=value)}
    clean = replace(made.figures.clean, per_picture=made.figures.clean.per_picture | dice)
    return replace(made, figures=replace(made.figures, clean=clean))


MASKS: dict[str, Any] = {"table": "segmenters", "view": "picture", "positive": "", "masks": True, "recipe": "unet"}


def lines(text: str) -> dict[str, list[str]]:
    """Cells of a table by its first one."""
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    return {cells[0]: cells[1:] for cells in rows}


def test_what_was_asked_is_reached_missed_tried_or_not_made(tmp_path: Path) -> None:
    assert {cells[-1] for cells in list(lines(asked_table([])).values())[2:]} == {"not made yet"}
    rows = [
        row(tmp_path, "unetplusplus", 0.93, **MASKS),
        row(tmp_path, "reference-segmenter", 0.90, **MASKS),
        row(tmp_path, "unet-mobilenet-v2", 0.934, **MASKS),
        row(tmp_path, "unet-resnet50", 0.99, pace="", **MASKS),
        row(tmp_path, "reference-classifier", 0.95, leaks=True),
        row(tmp_path, "resnet50-binary", 0.91),
        row(tmp_path, "resnet50-binary", 0.97, view="predicted"),
    ]
    found = lines(asked_table(rows))
    nested, light, residual, classifier = (found[f"{ask.what}: at least {ask.least:g}"] for ask in ASKED)
    assert [nested[0], *nested[2:]] == ["unetplusplus", "`medium`", "reached"] and nested[1].startswith("0.930")
    assert light[3] == "**missed**" and light[1].startswith("0.934")
    assert (residual[2], residual[3]) == ("`trial`", "trial only")
    assert classifier[0] == "resnet50-binary (true crop)" and classifier[3] == "reached"
    scratch = replace(rows[5], initialisation="random")
    assert lines(asked_table([scratch]))[f"{ASKED[3].what}: at least 0.9"][3] == "not made yet"


def test_rows_at_chance_are_named_and_another_clinic_is_not_asked(tmp_path: Path) -> None:
    good, bad = row(tmp_path, "a", 0.7, away=0.0), row(tmp_path, "b", 0.505, away=3.0)
    trial = row(tmp_path, "c", 0.5, pace="")
    [asked] = [cells for name, cells in lines(asked_table([good, trial])).items() if name.startswith("no row")]
    assert asked[0] == "the lowest of 1: a (true crop)" and asked[3] == "reached" and asked[1].startswith("0.700")
    text = asked_table([good, bad, trial])
    [asked] = [cells for name, cells in lines(text).items() if name.startswith("no row")]
    assert asked[0] == "b (true crop)" and asked[3] == "**missed**"
    away = auc_of(good.external["msk-uda"])
    assert away and away.low is not None and away.low <= 0.5
    assert "On msk-uda, two clinics (MSK and Utah) where no row learnt, the interval of a (true crop) reaches" in text


def test_marks_say_how_a_row_was_trained(tmp_path: Path) -> None:
    trial = row(tmp_path, "a", pace="", compute={"train_minutes": 3.0})
    medium = row(tmp_path, "b", compute={"train_minutes": 25.0})
    hour = row(tmp_path, "c", pace="hour")
    full = replace(trial, compute=replace(trial.compute, recipe_size=128, recipe_epochs=6) if trial.compute else None)
    assert [mark_of(one) for one in (trial, medium, hour, full)] == ["trial", "medium", "hour", ""]
    assert marks_of(replace(trial, leaks=True)) == "`trial`, **leaks**" and marks_of(full) == "-"
    tried, hourly, half = marks_note([trial, medium, hour, full])
    assert "`trial` (1 training) had no schedule" in tried and "3 minutes of wall time, tested on 160" in tried
    assert "`hour` (1 training) had a schedule fitted to 60 minutes of one core: 90 pictures" in hourly
    assert "25 minutes of wall time" in half and "All of them had fewer pictures" in half
    text = to_markdown(tmp_path)
    assert "low budget" not in text.split("## Budgets")[0] and "| `trial` | 160 |" in text
    assert "| `medium` | 160 |" in text and "## Asked and reached" in text


def test_of_two_comparisons_the_larger_test_is_shown(tmp_path: Path) -> None:
    small = row(tmp_path, "a", table="branches", count=80)
    large = row(tmp_path, "a", table="classifiers")
    assert _unique([small, large]) == _unique([large, small]) == [large]
    assert _unique([large, replace(large, table="roi")]) == [large]


def test_the_papers_threshold_stands_beside_their_figures(tmp_path: Path) -> None:
    made = row(tmp_path, "resnet50-binary")
    row(tmp_path, "simple-cnn", recipe="simple-cnn")
    decided = made.figures.classification.decisions[HALF]  # type: ignore[union-attr]
    text = to_markdown(tmp_path)
    beside = f"leaking); here at 0.5: accuracy {decided['accuracy'].value:.3f}, sensitivity"
    assert beside in text and text.count("here at 0.5") == 1


@pytest.mark.parametrize("table", ["classifiers", "roi"])
def test_rows_that_no_plan_makes_are_listed(tmp_path: Path, table: str) -> None:
    known = {"classifiers": "densenet121", "roi": "resnet50-binary-keep"}[table]
    row(tmp_path, known, table=table)
    assert unknown_rows(tmp_path) == []
    row(tmp_path, "renamed", table=table)
    row(tmp_path, "renamed", table=table, view="predicted")
    row(tmp_path, "random-dx", table=table, system="S10")
    row(tmp_path, "any", table="ablations")
    assert unknown_rows(tmp_path) == [f"{table}/renamed"]
    for one in read_rows(tmp_path / table):
        write_row(replace(one, system="S10"), tmp_path / table)
    assert unknown_rows(tmp_path) == []
