"""Training and its cache among faults: what is written last decides, and what cannot be written is told."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainer.data.cache import cache_pictures
from trainer.data.ham10000 import Record
from trainer.data.splits import standard_split
from trainer.errors import CheckpointError, DataError
from trainer.recipe import Recipe
from trainer.training import checkpoint, loop


def test_an_end_between_the_files_of_the_last_epoch_leaves_no_file_behind_the_others(
    toy_recipe: Callable[..., Recipe],
    drawn_records: list[Record],
    toy_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe, parts = toy_recipe("mobile-classifier", size=32, epochs=1), standard_split(drawn_records)

    def run() -> None:
        loop.train(recipe, parts["train"], parts["val"], tmp_path, cache=toy_cache)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):

        def end(*arguments: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr(loop, "_write_history", end)
        run()
    run()
    with (tmp_path / "history.csv").open(newline="") as stream:
        assert [row["epoch"] for row in csv.DictReader(stream)] == ["1.0"]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), RuntimeError("file write failed")])
def test_a_checkpoint_that_cannot_be_written_is_told_and_the_older_one_stays(
    failure: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.pt"
    checkpoint.save_atomic({"format": 1}, path)
    before = path.read_bytes()

    def full(content: object, draft: Path) -> None:
        Path(draft).write_bytes(b"half")
        raise failure

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match="Cannot write"):
        checkpoint.save_atomic({"format": 2}, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("written", [True, False])
def test_a_permission_lost_before_the_draft_is_removed_hides_nothing(
    written: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, save = tmp_path / "last.pt", torch.save

    def refuse(*arguments: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    def half(content: object, draft: Path) -> None:
        Path(draft).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", save if written else half)
    monkeypatch.setattr(Path, "unlink", refuse)
    if written:
        checkpoint.save_atomic({"format": 1}, path)
        assert checkpoint.read_file(path) == {"format": 1}
    else:
        with pytest.raises(CheckpointError, match="No space left"):
            checkpoint.save_atomic({"format": 1}, path)


def test_a_cache_that_somebody_deletes_meanwhile_is_made_again(
    drawn_records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = cache_pictures(drawn_records[:3], 16, tmp_path / "kept")
    load, deleted = np.load, []

    def after_deletion(path: Path, **options: Any) -> Any:
        if not deleted:
            deleted.append(path)
            shutil.rmtree(tmp_path / "shared")
        return load(path, **options)

    monkeypatch.setattr(np, "load", after_deletion)
    found = cache_pictures(drawn_records[:3], 16, tmp_path / "shared")
    assert deleted and (found.images == wanted.images).all()


def test_a_cache_that_stood_in_the_way_and_vanished_is_made_again(
    drawn_records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = cache_pictures(drawn_records[:3], 16, tmp_path / "kept")
    rename, met = Path.rename, []

    def into_another(draft: Path, home: Path) -> Path:
        if met:
            return rename(draft, home)
        met.append(home)
        home.mkdir()
        (home / "images.npy").touch()
        try:
            return rename(draft, home)
        finally:
            shutil.rmtree(home)

    monkeypatch.setattr(Path, "rename", into_another)
    found = cache_pictures(drawn_records[:3], 16, tmp_path / "shared")
    assert met and (found.images == wanted.images).all()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no way to take space beforehand")
def test_a_disk_too_small_for_a_cache_is_an_error_and_no_bus_error(
    drawn_records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match="No space left on device"):
        cache_pictures(drawn_records[:3], 16, tmp_path)
    assert not list(tmp_path.iterdir())
