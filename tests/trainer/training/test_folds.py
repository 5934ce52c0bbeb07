"""Cross-fitting: every known lesion is answered once, by a network that never saw it, and no test lesion is in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_infer.rules import InputSpec, MaskRule
from trainer.data.ham10000 import DX, Record
from trainer.data.splits import cross_fit, standard_split
from trainer.errors import CheckpointError, DataError, RecipeError
from trainer.recipe import Recipe, load_recipe, recipe_from_dict
from trainer.scoring.networks import Networks
from trainer.scoring.out_of_fold import predict_out_of_fold
from trainer.scoring.predict import Rules
from trainer.training.checkpoint import Checkpoint, build_model, load_checkpoint
from trainer.training.folds import BEST, fold_folder, load_folds
from trainer.training.loop import train
from trainer.training.runs import training_hours

FOLDS = 2


@pytest.fixture
def recipe(toy_recipe: Callable[..., Recipe]) -> Recipe:
    return dataclasses.replace(toy_recipe("mobile-classifier", size=32, epochs=1), folds=FOLDS)


def fake_run(folder: Path, recipe: Recipe, held_out: Sequence[str], epoch: int = 1) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    weights = dict(_toy_model(recipe).state_dict())
    content = {"format": 1, "recipe": recipe.to_dict(), "epoch": epoch, "metrics": {}, "weights": weights}
    torch.save(content | {"held_out": list(held_out)}, folder / BEST)


def _toy_model(recipe: Recipe) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_model(recipe)


def fake_folds(run: Path, recipe: Recipe, records: list[Record]) -> None:
    fake_run(run, recipe, [])
    for fold in range(1, FOLDS + 1):
        held = [record.image_id for record in cross_fit(records, FOLDS, fold)["val"]]
        fake_run(fold_folder(run, fold), recipe, held)


def test_folds_part_the_known_lesions_and_leave_the_test_split_alone(drawn_records: list[Record]) -> None:
    parts = standard_split(drawn_records)
    known = {record.lesion_id for record in parts["train"] + parts["val"]}
    held: list[str] = []
    for fold in range(1, FOLDS + 1):
        chosen = cross_fit(drawn_records, FOLDS, fold)
        train_lesions, val_lesions = ({r.lesion_id for r in chosen[name]} for name in ("train", "val"))
        assert not train_lesions & val_lesions and train_lesions | val_lesions == known
        held += sorted(val_lesions)
    assert sorted(held) == sorted(known), "each lesion is left out once"
    shipped = cross_fit(drawn_records, FOLDS, None)
    assert {record.lesion_id for record in shipped["train"]} == known and not shipped["val"]


@pytest.mark.parametrize("fold", [0, FOLDS + 1])
def test_an_unknown_fold_is_an_error(drawn_records: list[Record], fold: int) -> None:
    with pytest.raises(DataError, match="no fold"):
        cross_fit(drawn_records, FOLDS, fold)


@pytest.mark.parametrize("change", [{"folds": 1}, {"folds": -2}])
def test_a_recipe_with_impossible_folds_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(RecipeError, match="folds"):
        recipe_from_dict(load_recipe("mobile-classifier").to_dict() | change)


def test_a_network_without_validation_keeps_its_last_epoch(
    drawn_records: list[Record], recipe: Recipe, tmp_path: Path, toy_cache: Path
) -> None:
    longer = dataclasses.replace(recipe, optim=dataclasses.replace(recipe.optim, epochs=2))
    parts = cross_fit(drawn_records, FOLDS, None)
    outcome = train(longer, parts["train"], parts["val"], tmp_path, cache=toy_cache)
    assert outcome.best_epoch == 2 and load_checkpoint(tmp_path / BEST).epoch == 2
    assert (tmp_path / "curves.png").is_file() and "auc_melanoma" not in outcome.best_metrics


def test_a_fold_keeps_its_last_epoch_and_names_what_it_left_out(
    drawn_records: list[Record], recipe: Recipe, tmp_path: Path, toy_cache: Path
) -> None:
    worse_later = dataclasses.replace(recipe, optim=dataclasses.replace(recipe.optim, epochs=3, learning_rate=0.3))
    parts = cross_fit(drawn_records, FOLDS, 1)
    train(worse_later, parts["train"], parts["val"], tmp_path, cache=toy_cache)
    kept = load_checkpoint(tmp_path / BEST)
    assert kept.epoch == 3
    assert set(kept.held_out) == {record.image_id for record in parts["val"]}


def test_each_picture_is_answered_by_the_network_that_left_it_out(
    drawn_records: list[Record], recipe: Recipe, tmp_path: Path
) -> None:
    fake_folds(tmp_path, recipe, drawn_records)
    folds = load_folds(tmp_path, load_checkpoint(tmp_path / BEST), drawn_records)

    class Constant(torch.nn.Module):
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = torch.zeros(len(images), len(DX))
            logits[:, self.number] = 20.0
            return logits

    marked = [Checkpoint(Constant(i), *fold[1:]) for i, fold in enumerate(folds)]
    spec = InputSpec("i", 32, 32)
    roi = recipe.data.roi
    assert roi is not None
    rules = Rules(spec, spec, DX, MaskRule(0.5, 0.0, 1.0), roi)
    networks = Networks(lambda batch: np.ones(batch.shape[:3], np.float32), lambda batch: np.zeros((len(batch), 7)))
    found = list(predict_out_of_fold(marked, drawn_records, rules, networks))
    parts = standard_split(drawn_records)
    assert sorted(p.image_id for p in found) == sorted(r.image_id for r in parts["train"] + parts["val"])
    for p in found:
        (answered_by,) = (i for i, fold in enumerate(folds) if p.image_id in fold.held_out)
        assert p.probabilities[DX[answered_by]] > 0.99


def test_fewer_folds_calibrate_when_asked(drawn_records: list[Record], recipe: Recipe, tmp_path: Path) -> None:
    fake_folds(tmp_path, recipe, drawn_records)
    (fold_folder(tmp_path, 2) / BEST).unlink()
    shipped = load_checkpoint(tmp_path / BEST)
    assert len(load_folds(tmp_path, shipped, drawn_records, 1)) == 1
    for count in (0, FOLDS + 1):
        with pytest.raises(RecipeError, match="folds"):
            load_folds(tmp_path, shipped, drawn_records, count)


def _leaks_test_lesion(run: Path, recipe: Recipe, records: list[Record]) -> None:
    fake_run(fold_folder(run, 1), recipe, [standard_split(records)["test"][0].image_id])


def _shares_a_lesion(run: Path, recipe: Recipe, records: list[Record]) -> None:
    fake_run(fold_folder(run, 2), recipe, [record.image_id for record in cross_fit(records, FOLDS, 1)["val"]])


def _of_another_recipe(run: Path, recipe: Recipe, records: list[Record]) -> None:
    fake_run(fold_folder(run, 2), dataclasses.replace(recipe, seed=9), [])


def _unfinished(run: Path, recipe: Recipe, records: list[Record]) -> None:
    fake_run(fold_folder(run, 2), recipe, [], epoch=3)


def _missing(run: Path, recipe: Recipe, records: list[Record]) -> None:
    (fold_folder(run, 2) / BEST).unlink()


@pytest.mark.parametrize("spoil", [_leaks_test_lesion, _shares_a_lesion, _of_another_recipe, _unfinished, _missing])
def test_folds_that_cannot_calibrate_are_refused(
    drawn_records: list[Record],
    recipe: Recipe,
    tmp_path: Path,
    spoil: Callable[[Path, Recipe, list[Record]], None],
) -> None:
    fake_folds(tmp_path, recipe, drawn_records)
    spoil(tmp_path, recipe, drawn_records)
    with pytest.raises(CheckpointError):
        load_folds(tmp_path, load_checkpoint(tmp_path / BEST), drawn_records)


def test_hours_count_folds_and_what_a_run_starts_from(tmp_path: Path) -> None:
    recipe = dataclasses.replace(load_recipe("mobile-classifier"), folds=4, members=1)
    second = load_recipe("mobile-segmenter-skin")
    for folder in ("a", "a/fold-1", "a/fold-2", "a/fold-3", "a/fold-4", "mobile-segmenter", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "history.csv").write_text("epoch,seconds\n1,1800\n2,1800\n", encoding="utf-8")
    assert training_hours(tmp_path / "a", recipe) == 5
    assert training_hours(tmp_path / "a", recipe, 2) == 3
    assert training_hours(tmp_path / "b", second) == 2
    (tmp_path / "mobile-segmenter/history.csv").unlink()
    assert training_hours(tmp_path / "b", second) is None
