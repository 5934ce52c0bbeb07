"""Teachers as tables: softened as logits would be, one row a picture, and refused where they leak or do not fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax

from trainer.data.ham10000 import DX, Record
from trainer.data.splits import cross_fit, standard_split
from trainer.errors import CheckpointError, DataError, LeakError, RecipeError
from trainer.papers.sources.rows import store_scores
from trainer.recipe import load_recipe
from trainer.scoring.alone import Scores
from trainer.training.checkpoint import read_file
from trainer.training.distill import load_teachers
from trainer.training.loop import train
from trainer.training.stored_answers import StoredAnswers
from trainer.training.tasks import Batch

from .test_distill import small, store, taught


def table(folder: Path, records: list[Record], logits: np.ndarray, name: str = "teacher") -> Path:
    """What `out-of-fold` leaves."""
    return store_scores(Scores(tuple(records), DX, softmax(logits, axis=1), None), folder / name)


def test_a_table_teaches_what_its_networks_would(drawn_records: list[Record], tmp_path: Path) -> None:
    parts = standard_split(drawn_records)
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(2, len(parts["train"]), 7)) * 3
    files = [table(tmp_path, parts["train"][::-1], own[::-1], f"t{i}") for i, own in enumerate(logits)]
    found = load_teachers(taught(small(), *files, temperature=2.5), parts["val"], parts["train"])
    assert found is not None and found.size == 0
    rows = np.array([4, 0, 2])
    hints = found(Batch(torch.rand(3, 3, 32, 32), None, None, None), rows)
    assert hints.masks is None and hints.classes is not None
    expected = softmax(logits[:, rows] / 2.5, axis=2).mean(0)
    np.testing.assert_allclose(hints.classes.numpy(), expected, atol=1e-4)


def test_a_table_and_a_network_teach_together(drawn_records: list[Record], tmp_path: Path) -> None:
    parts = standard_split(drawn_records)
    logits = np.zeros((len(parts["train"]), 7))
    logits[:, 2] = 30
    network = store(tmp_path / "network.pt", small(size=48), parts["train"])
    student = taught(small(), network, table(tmp_path, parts["train"], logits), temperature=1.0)
    found = load_teachers(student, parts["val"], parts["train"])
    alone = load_teachers(taught(small(), network, temperature=1.0), parts["val"], parts["train"])
    assert found is not None and alone is not None and found.size == 48
    batch = Batch(torch.rand(2, 3, 48, 48), None, None, None)
    both, one = found(batch, np.array([0, 1])).classes, alone(batch, np.array([0, 1])).classes
    assert both is not None and one is not None
    torch.testing.assert_close(both, (one + torch.eye(7)[2]) / 2, atol=1e-5, rtol=0)


def test_two_classes_are_one_and_all_others(drawn_records: list[Record], tmp_path: Path) -> None:
    records = drawn_records[:5]
    logits = np.random.default_rng(0).normal(size=(5, 7))
    answers = StoredAnswers.read(table(tmp_path, records, logits)).softened(records, ("other", "mel"), 1.0)
    np.testing.assert_allclose(answers[:, 1], softmax(logits, axis=1)[:, DX.index("mel")], atol=1e-6)
    np.testing.assert_allclose(answers.sum(1), 1, atol=1e-6)


def test_a_table_whose_networks_know_what_measures_the_student_is_refused(
    drawn_records: list[Record], tmp_path: Path
) -> None:
    parts = standard_split(drawn_records)
    known = [*parts["train"], parts["test"][0]]
    file = table(tmp_path, known, np.zeros((len(known), 7)))
    with pytest.raises(LeakError, match=rf"learnt from 1 of the lesions.*first {parts['test'][0].lesion_id}"):
        load_teachers(taught(small(), file), [*parts["val"], *parts["test"]], parts["train"])
    half = cross_fit(drawn_records, 2, 1)
    with pytest.raises(LeakError):
        load_teachers(taught(small(), file), half["val"], half["train"])


def test_what_a_table_lacks_is_named(drawn_records: list[Record], tmp_path: Path) -> None:
    parts = standard_split(drawn_records)
    few = table(tmp_path, parts["train"][1:], np.zeros((len(parts["train"]) - 1, 7)))
    with pytest.raises(DataError, match=f"no answer to 1 training pictures.*{parts['train'][0].image_id}"):
        load_teachers(taught(small(), few), [], parts["train"])
    keratosis = dataclasses.replace(small(), data=dataclasses.replace(small().data, target="keratosis"))
    assert load_teachers(taught(keratosis, few), [], parts["train"][1:]) is not None
    with pytest.raises(DataError, match=r"answers akiec.* asked for other, unknown"):
        StoredAnswers.read(few).softened(parts["train"][1:], ("other", "unknown"), 1.0)
    outlines = taught(small("unet"), few)
    with pytest.raises(RecipeError, match="outlines"):
        load_teachers(outlines, [], parts["train"][1:])


@pytest.mark.parametrize("content", [None, b"", b"PAR1 cut short"])
def test_a_file_that_is_no_table_is_refused(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CheckpointError, match="is no table of a teacher's answers"):
        StoredAnswers.read(file)


def test_a_table_of_something_else_is_refused(drawn_records: list[Record], tmp_path: Path) -> None:
    empty = Scores(tuple(drawn_records[:3]), (), np.zeros((3, 0)), np.ones(3))
    with pytest.raises(CheckpointError, match="no probabilities"):
        StoredAnswers.read(store_scores(empty, tmp_path / "dice"))


def test_a_student_learns_from_a_table(drawn_records: list[Record], toy_cache: Path, tmp_path: Path) -> None:
    parts = standard_split(drawn_records)
    logits = np.zeros((len(parts["train"]), 7))
    logits[:, 3] = 6
    recipe = taught(small(epochs=3, learning_rate=1e-2), table(tmp_path, parts["train"], logits), share=1.0)
    train(recipe, parts["train"], parts["val"], tmp_path / "run", cache=toy_cache)
    losses = [row["train_loss"] for row in read_file(tmp_path / "run/last.pt")["history"]]
    assert losses[-1] < losses[0]


def test_the_recipe_with_stored_teachers_finds_them() -> None:
    recipe = load_recipe("sources-classifier-taught")
    assert recipe.distill is not None
    tables = [StoredAnswers.read(Path(__file__).parents[3] / name) for name in recipe.distill.teachers]
    assert [len(table.places) for table in tables] == [17099, 17099]
