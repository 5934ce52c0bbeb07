"""A bundle's folder is replaced at once: a process that dies anywhere leaves the old one or the new one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.bundle import swapping
from trainer.bundle.errors import ExportError
from trainer.bundle.swapping import bring_back, exchange, replacement

pytestmark = pytest.mark.skipif(os.name == "nt", reason="kills a forked process")


def folder(path: Path, text: str) -> Path:
    path.mkdir(parents=True)
    (path / "bundle.json").write_text(text)
    return path


def in_a_process_that_dies_after_its_first_rename(job: Callable[[], None]) -> int:
    rename = Path.rename

    def dies(path: Path, target: Path) -> None:
        rename(path, target)
        os._exit(9)

    child = os.fork()
    if child == 0:
        try:
            Path.rename = dies  # type: ignore[method-assign,assignment]
            job()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def replace_by(out: Path, text: str) -> None:
    with replacement(out) as draft:
        (draft / "bundle.json").write_text(text)


def test_the_name_is_never_without_a_bundle(tmp_path: Path) -> None:
    if not exchange(folder(tmp_path / "a", "a"), folder(tmp_path / "b", "b")):
        pytest.skip("this file system cannot exchange two folders")
    assert (tmp_path / "a/bundle.json").read_text() == "b"
    out = folder(tmp_path / "out", "old")
    in_a_process_that_dies_after_its_first_rename(lambda: replace_by(out, "new"))
    assert (out / "bundle.json").read_text() in ("old", "new")


def test_where_two_renames_are_needed_the_next_one_mends_a_kill_between_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swapping, "exchange", lambda one, other: False)
    out = folder(tmp_path / "out", "old")
    assert in_a_process_that_dies_after_its_first_rename(lambda: replace_by(out, "new")) == 9
    assert not out.exists()
    bring_back(out)
    assert (out / "bundle.json").read_text() == "old"
    replace_by(out, "new")
    assert (out / "bundle.json").read_text() == "new"


def test_a_full_disk_is_a_typed_error_and_leaves_the_old_folder_alone(tmp_path: Path) -> None:
    out = folder(tmp_path / "out", "old")
    with pytest.raises(ExportError, match="No space left"), replacement(out) as draft:
        (draft / "bundle.json").write_text("ne")
        raise OSError(28, "No space left on device")
    assert (out / "bundle.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
