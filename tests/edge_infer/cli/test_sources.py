"""Expanding what the command line was given, and naming output files."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_infer.cli.sources import Source, expand, output_names
from edge_infer.files import OutputError, make_writable_folder, write_atomically


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def test_folder_is_searched_in_order_without_hidden_files(tmp_path: Path) -> None:
    touch(tmp_path, "b.JPG", "a.png", "c/d.webp", "c/e.txt", ".hidden.png", ".git/x.png", "f.Tiff")
    expansion = expand([str(tmp_path)])
    assert [source.relative for source in expansion.sources] == [
        PurePath(name) for name in ("a.png", "b.JPG", "c/d.webp", "f.Tiff")
    ]
    assert expansion.skipped == 1


def test_a_file_found_twice_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "in/a.png")
    monkeypatch.chdir(tmp_path)
    expansion = expand(["in/a.png", "in", "./in/*.png", str(tmp_path / "in")])
    assert [source.name for source in expansion.sources] == ["in/a.png"]


def test_named_file_is_tried_whatever_its_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "a.dcm")
    (source,) = expand([str(tmp_path / "a.dcm")]).sources
    assert source.error is None


def test_pattern_keeps_the_path_below_its_fixed_part(tmp_path: Path) -> None:
    touch(tmp_path, "p/x/a.png", "p/y/a.png", "p/y/z/a.png")
    assert [s.relative for s in expand([str(tmp_path / "p/*/a.png")]).sources] == [
        PurePath("x/a.png"),
        PurePath("y/a.png"),
    ]
    assert [s.relative for s in expand([str(tmp_path / "p/y*")]).sources] == [
        PurePath("y/a.png"),
        PurePath("y/z/a.png"),
    ]
    assert len(expand([str(tmp_path / "p/**")]).sources) == 3


def test_wide_patterns_leave_other_files_out_and_narrow_ones_do_not(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.txt", "c.dcm")
    wide, narrow = expand([str(tmp_path / "*")]), expand([str(tmp_path / "*.dcm")])
    assert ([source.relative.name for source in wide.sources], wide.skipped) == (["a.png", "c.dcm"], 1)
    assert ([source.relative.name for source in narrow.sources], narrow.skipped) == (["c.dcm"], 0)


def test_pattern_cannot_lead_out_of_the_output_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.png", "p/q/.keep")
    monkeypatch.chdir(tmp_path / "p")
    (source,) = expand(["*/../../a.png"]).sources
    assert ".." not in source.relative.parts


def test_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    touch(tmp_path, "a[1].png")
    (source,) = expand([str(tmp_path / "a[1].png")]).sources
    assert source.error is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_folder_is_an_error_and_not_a_gap(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "locked/b.png")
    (tmp_path / "locked").chmod(0)
    try:
        sources = expand([str(tmp_path)]).sources
    finally:
        (tmp_path / "locked").chmod(0o700)
    assert [source.error.code if source.error else None for source in sources] == [None, "image-access"]


def test_unreadable_folder_by_any_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.png", "locked/b.png")
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    sources = expand([str(tmp_path)]).sources
    assert [source.error.code if source.error else None for source in sources] == [None, "image-access"]


names = st.lists(
    st.tuples(st.sampled_from(["a", "A", "b", "a-2", "c/a", "c/A-2"]), st.sampled_from([".jpg", ".png", ""])),
    max_size=12,
)


@given(names)
def test_output_names_never_collide(parts: list[tuple[str, str]]) -> None:
    sources = [Source(f"{i}", Path(f"{i}"), PurePath(stem + suffix)) for i, (stem, suffix) in enumerate(parts)]
    named = output_names(sources)
    assert len(named) == len(sources)
    assert len({str(name).casefold() for name in named.values()}) == len(sources)
    for source in sources:
        assert named[source.name].parent == source.relative.parent


def test_atomic_write_replaces_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "deep" / "x.bin"
    write_atomically(target, b"one")
    write_atomically(target, b"two")
    assert target.read_bytes() == b"two"

    def fail(self: Path, other: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError, match="No space left"):
        write_atomically(target, b"three")
    assert target.read_bytes() == b"two"
    assert [path.name for path in target.parent.iterdir()] == ["x.bin"]


def test_output_folder_must_be_a_folder(tmp_path: Path) -> None:
    make_writable_folder(tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder").is_dir()
    touch(tmp_path, "file")
    with pytest.raises(OutputError, match="Cannot write"):
        make_writable_folder(tmp_path / "file")
