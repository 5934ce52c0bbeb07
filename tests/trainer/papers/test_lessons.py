"""Sentences about the comparisons take their verb from the interval of a paired difference."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_infer.rules import Metric
from trainer.cli.compare import RESULTS
from trainer.errors import DataError
from trainer.papers.lessons import _by, _compared, _verb, lessons
from trainer.papers.measures import differences, mean_difference
from trainer.papers.rows import Row, read_rows, write_row
from trainer.scoring.predictions import Prediction, read_predictions, write_predictions

NAMES = ("mobilenet-v2-seven", "mobilenet-v2-seven-scratch", "mobilenet-v3-large")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three stored rows of one comparison, with their predictions."""
    home = tmp_path / "classifiers"
    home.mkdir()
    for name in NAMES:
        for path in (RESULTS / "classifiers").glob(f"{name}-*"):
            if path.name.startswith(f"{name}-truth") or path.name.startswith(f"{name}-predicted"):
                shutil.copy(path, home)
    return tmp_path


def stored(folder: Path, name: str) -> list[Prediction]:
    return read_predictions(folder / "classifiers" / f"{name}-truth-roi.parquet")


def rows(folder: Path) -> dict[str, Row]:
    return {row.name: row for row in read_rows(folder / "classifiers") if row.view == "truth"}


def test_the_verb_follows_from_the_interval() -> None:
    assert _verb(Metric(0.1, 0.05, 0.2)) == "raises" and _verb(Metric(-0.1, -0.2, -0.01)) == "lowers"
    assert _verb(Metric(0.1, -0.01, 0.2)) == _verb(Metric(0.1)) == _verb(None) == "does not surely change"
    assert _compared(Metric(0.0, -0.01, 0.01)) == "cannot be told from"
    assert _by(Metric(0.1, -0.01, 0.2)) == "+0.100, -0.010 to +0.200" and _by(None) == "not known"


def test_one_pair_is_the_difference_and_several_are_their_mean(folder: Path) -> None:
    first, second, third = (stored(folder, name) for name in NAMES)
    one = mean_difference([(first, second)], "auc", "mel")
    assert one == differences(first, second, "mel")["auc"]
    both = mean_difference([(first, second), (third, second)], "auc", "mel")
    other = mean_difference([(third, second)], "auc", "mel")
    assert one and both and other and both.value == pytest.approx((one.value + other.value) / 2, abs=2e-6)
    assert mean_difference([], "auc", "mel") is None
    with pytest.raises(DataError, match="the same pictures"):
        mean_difference([(first, second), (first, second[1:])], "auc", "mel")
    with pytest.raises(DataError, match="holds no masks"):
        mean_difference([(first, second)], "dice", "")


def test_only_answered_pictures_are_compared(folder: Path) -> None:
    first, second, _ = (stored(folder, name) for name in NAMES)
    silent = [replace(p, probabilities={}) if number % 3 == 0 else p for number, p in enumerate(second)]
    kept = [number for number in range(len(first)) if number % 3]
    found = mean_difference([(first, silent)], "auc", "mel")
    expected = differences([first[n] for n in kept], [second[n] for n in kept], "mel")["auc"]
    assert found is not None and found.value == expected.value


def test_sentences_hold_the_figures_of_the_rows_and_say_what_is_missing(folder: Path) -> None:
    text = lessons(folder)
    known = rows(folder)
    difference = differences(stored(folder, NAMES[0]), stored(folder, NAMES[1]), "mel")["auc"]
    assert difference.low is not None and difference.low > 0
    assert f"raises AUC of melanoma, of {NAMES[0]}: {difference.value:+.3f}" in text
    own = np.mean([row.figures.classification.ranking["auc"].value for row in known.values()])  # type: ignore[union-attr]
    assert f"AUC of melanoma is {own:.3f} (" in text and "the intervals do not meet" in text
    assert "Not answered yet" in text and "What the crop is worth" in text.rpartition("Not answered yet")[2]


def test_a_sentence_turns_with_its_rows(folder: Path) -> None:
    home = folder / "classifiers"
    known = rows(folder)
    for name, row in zip(NAMES[:2], (known[NAMES[1]], known[NAMES[0]]), strict=True):
        write_predictions(home / f"{name}-swapped.parquet", read_predictions(home / row.predictions))
    for name in NAMES[:2]:
        write_row(replace(known[name], predictions=f"{name}-swapped.parquet"), home)
        (home / f"{name}-truth-roi.json").unlink()
    assert f"lowers AUC of melanoma, of {NAMES[0]}" in lessons(folder)


def test_rows_of_a_trial_teach_nothing(folder: Path) -> None:
    home = folder / "classifiers"
    for row in read_rows(home):
        write_row(replace(row, pace=""), home)
    assert lessons(folder).count("**") == 0
