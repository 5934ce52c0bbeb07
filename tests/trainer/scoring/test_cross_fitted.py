"""Out-of-fold answers: by the network that left a lesion out, each picture once, stored as they are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edge_infer.rules import Metric
from trainer.cli import app as cli
from trainer.data.ham10000 import DX, Record
from trainer.errors import CheckpointError, DataError
from trainer.papers.sources.rows import read_scores, store_scores
from trainer.papers.sources.teachers import to_markdown, training_rows
from trainer.recipe import load_recipe
from trainer.scoring import cross_fitted
from trainer.scoring.alone import Scores
from trainer.scoring.cross_fitted import mean, out_of_fold
from trainer.training.checkpoint import Checkpoint, build_model
from trainer.training.folds import fold_folder


@pytest.fixture
def folds(drawn_records: list[Record], monkeypatch: pytest.MonkeyPatch) -> list[Checkpoint]:
    """Two networks that leave out each other's lesions; the first always says melanoma, the second never."""
    recipe = load_recipe("simple-cnn")
    network = build_model(recipe)
    lesions = sorted({record.lesion_id for record in drawn_records})
    halves = lesions[::2], lesions[1::2]

    def held(own: Sequence[str]) -> tuple[str, ...]:
        return tuple(record.image_id for record in drawn_records if record.lesion_id in own)

    found = [
        Checkpoint(network, recipe, epoch, {}, held(own), frozenset(other))
        for epoch, own, other in ((1, halves[0], halves[1]), (2, halves[1], halves[0]))
    ]

    def says(fold: Checkpoint, records: Sequence[Record], cache: Path) -> Scores:
        rows = np.zeros((len(records), len(DX)))
        rows[:, DX.index("mel") if fold.epoch == 1 else DX.index("nv")] = 1
        return Scores(tuple(records), DX, rows, None)

    monkeypatch.setattr(cross_fitted, "score", says)
    return found


def test_each_picture_is_answered_once_by_the_fold_that_left_it_out(
    folds: list[Checkpoint], drawn_records: list[Record], tmp_path: Path
) -> None:
    scores = out_of_fold(folds, drawn_records)
    assert sorted(record.image_id for record in scores.records) == sorted(r.image_id for r in drawn_records)
    for record, row in zip(scores.records, scores.probabilities, strict=True):
        assert bool(row[DX.index("mel")]) == (record.image_id in folds[0].held_out)
    again = read_scores(store_scores(scores, tmp_path / "teacher"))
    assert np.array_equal(again.probabilities, scores.probabilities)
    assert [r.image_id for r in again.records] == [r.image_id for r in scores.records]


def test_a_lesion_that_was_learnt_or_answered_twice_is_refused(
    folds: list[Checkpoint], drawn_records: list[Record]
) -> None:
    with pytest.raises(CheckpointError, match="Fold 2 answers lesion"):
        out_of_fold([folds[0], folds[1]._replace(held_out=folds[0].held_out)], drawn_records)
    lesion = next(r.lesion_id for r in drawn_records if r.image_id in folds[0].held_out)
    knows = folds[0]._replace(learnt_lesions=frozenset({lesion}))
    with pytest.raises(CheckpointError, match=f"Fold 1 answers lesion {lesion}"):
        out_of_fold([knows, folds[1]], drawn_records)
    with pytest.raises(DataError, match="do not hold"):
        out_of_fold(folds, drawn_records[1:])


def test_the_mean_is_over_the_same_pictures_in_any_order(folds: list[Checkpoint], drawn_records: list[Record]) -> None:
    scores = out_of_fold(folds, drawn_records)
    other = Scores(scores.records[::-1], scores.classes, 1 - scores.probabilities[::-1], None)
    joined = mean([scores, other])
    assert joined.records == scores.records and np.allclose(joined.probabilities, 0.5)
    with pytest.raises(DataError, match="the same pictures"):
        mean([scores, Scores(scores.records[1:], scores.classes, scores.probabilities[1:], None)])


def test_a_run_without_folds_says_what_is_missing(drawn_folder: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli.app, ["out-of-fold", str(tmp_path), "--data", str(drawn_folder)])
    assert isinstance(result.exception, CheckpointError) and "fold-1" in str(result.exception)


def test_the_page_says_what_each_fold_cost(folds: list[Checkpoint], tmp_path: Path) -> None:
    for number, seconds in ((1, (60, 90)), (2, (240,))):
        home = fold_folder(tmp_path, number)
        home.mkdir()
        lines = ["epoch,seconds", *(f"{epoch},{value}" for epoch, value in enumerate(seconds, 1))]
        (home / "history.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = training_rows(tmp_path, folds)
    assert [row[0] for row in rows] == ["simple-cnn, fold 1", "simple-cnn, fold 2"]
    assert [row[-2:] for row in rows] == [["2", "2"], ["1", "4"]]
    assert [int(row[2]) for row in rows] == [len(fold.held_out) for fold in folds]
    page = to_markdown({"simple-cnn": {"ham10000": {"auc": Metric(0.8, 0.7, 0.9)}}}, rows)
    assert "| simple-cnn | ham10000 | 0.800 (0.700 to 0.900) |" in page and "fold 2" in page
