"""TensorBoard's own reader finds the run's curves, without gaps and without repeats after a resume."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trainer.data.ham10000 import Record
from trainer.data.splits import standard_split
from trainer.recipe import Recipe
from trainer.training.checkpoint import read_file
from trainer.training.events import FOLDER, EventLog
from trainer.training.loop import train

ROW = {"epoch": 1.0, "size": 32.0, "train_loss": 1.5, "val_loss": 1.0, "dice": 0.5, "seconds": 1.0}


def read(run: Path) -> EventAccumulator:
    found = EventAccumulator(str(run / FOLDER))
    found.Reload()
    return found


def test_a_run_and_its_continuation_read_as_one(
    toy_recipe: Callable[..., Recipe], drawn_records: list[Record], toy_cache: Path, tmp_path: Path
) -> None:
    recipe, parts = toy_recipe("mobile-classifier", size=32, epochs=2), standard_split(drawn_records)
    for stop_after in (1, None):
        train(recipe, parts["train"], parts["val"], tmp_path, cache=toy_cache, stop_after=stop_after)
    steps = -(-len(parts["train"]) // recipe.optim.batch_size)
    found, history = read(tmp_path), read_file(tmp_path / "last.pt")["history"]
    assert [event.step for event in found.Scalars("train/loss")] == list(range(1, 2 * steps + 1))
    for tag, key in (("val/loss", "val_loss"), ("val/auc_melanoma", "auc_melanoma"), ("train/epoch", "epoch")):
        events = found.Scalars(tag)
        assert [event.step for event in events] == [steps, 2 * steps]
        assert [event.value for event in events] == pytest.approx([row[key] for row in history], nan_ok=True)


def test_a_full_disk_is_told_to_the_one_who_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that writes would print a traceback of its own beside the typed error."""
    log, threads = EventLog(tmp_path, 0), threading.active_count()
    log.add_epoch(ROW, [1.0])
    assert threading.active_count() == threads
    log.close()

    def full(path: Path, *arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match="No space"):
        EventLog(tmp_path, 1).add_epoch(ROW, [1.0])


def test_what_an_interrupted_process_wrote_beyond_the_checkpoint_is_void(tmp_path: Path) -> None:
    first = EventLog(tmp_path, 0)
    first.add_epoch(ROW, [1.0, 2.0])
    first.add_epoch(ROW | {"dice": 0.6}, [3.0, 4.0])  # and no checkpoint was written after it
    second = EventLog(tmp_path, 2)
    second.add_epoch(ROW | {"dice": 0.7}, [5.0, 6.0])
    first.close()
    second.close()
    found = read(tmp_path)
    assert [(event.step, event.value) for event in found.Scalars("train/loss")] == [(1, 1), (2, 2), (3, 5), (4, 6)]
    assert [event.value for event in found.Scalars("val/dice")] == pytest.approx([0.5, 0.7])
