"""Listing and planning: every kind of input, order, partitions, and memory that does not grow."""

from __future__ import annotations

import os
import tarfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_infer.batch import entries
from edge_infer.batch.entries import Entry, from_line, in_order, to_line
from edge_infer.batch.listing import list_entries
from edge_infer.batch.plan import PLAN, Options, list_file, read_list, read_plan, write_plan
from edge_infer.errors import InputError
from edge_infer.files import OutputError

OPTIONS = Options("toy", None, "balanced", None, None, 8, 10**8)
BUNDLE = ("toy", "1.0.0", "0" * 64)


def plan_of(run: Path, pictures: list[Entry] | Iterator[Entry], size: int = 4) -> object:
    return write_plan(run, pictures, bundle=BUNDLE, options=OPTIONS, inputs=["x"], partition_size=size)


def sources(*inputs: object, column: str | None = None) -> list[str]:
    return sorted(entry.source for entry in list_entries([str(given) for given in inputs], column))


def test_a_folder_a_pattern_a_list_and_a_url_name_the_same_pictures(archive: Path) -> None:
    folder = sources(archive)
    assert len(folder) == 12
    assert all(Path(source).is_absolute() for source in folder)
    assert sources(f"{archive}/**/*") == folder
    listed = sources(archive / "list.csv", column="path")
    assert sorted({*listed} - {*folder}) == [f"{archive}/gone.png"]
    assert len(listed) == 14  # one of them twice
    assert [source.removeprefix("file://") for source in sources(f"file://{archive}")] == folder
    (archive.parent / "list.txt").write_text("# comment\npictures/a/1.png\n\n")
    assert sources(archive.parent / "list.txt") == [f"{archive}/a/1.png"]


def test_a_parquet_list(archive: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"lesion": [1, 2], "image": ["x/1.png", None]}), tmp_path / "list.parquet")
    assert sources(tmp_path / "list.parquet") == [f"{tmp_path}/x/1.png"]
    with pytest.raises(InputError, match="no column nope"):
        sources(tmp_path / "list.parquet", column="nope")


def test_a_shard_is_read_at_its_offsets(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        shard.add(archive / "a", "a")
    found = list(list_entries([str(tmp_path / "shard.tar")]))
    assert {entry.source.split("::")[1] for entry in found} == {
        f"a/{name}" for name in ("1.png", "3.png", "5.png", "7.png", "blank.png", "broken.jpg")
    }
    data = (tmp_path / "shard.tar").read_bytes()
    for entry in found:
        assert entry.offset is not None and entry.size is not None
        original = (archive / entry.source.split("::")[1]).read_bytes()
        assert data[entry.offset : entry.offset + entry.size] == original


def test_what_cannot_be_listed_says_why(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").touch()
    (tmp_path / "x.csv").write_text("nothing\n1\n")
    for given, match in (
        (tmp_path / "x.tar.gz", "compressed"),
        (tmp_path / "x.csv", "no column source or path"),
        (tmp_path / "absent", "There is no"),
        (tmp_path / "*.png", "Nothing matches"),
        ("nosuch://bucket/x", "cannot be listed"),
    ):
        with pytest.raises(InputError, match=match):
            sources(given)


def test_entries_are_sorted_and_each_source_comes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "_CHUNK", 3)
    monkeypatch.setattr(entries, "_OPEN_FILES", 2)
    names = [f"{number * 7 % 50:03d}" for number in range(50)] + ["007", "049"]
    found = list(in_order(Entry(name, name, None, position) for position, name in enumerate(names)))
    assert [entry.source for entry in found] == sorted({*names})
    assert next(entry.size for entry in found if entry.source == "007") == 1  # the first one is kept


def test_a_file_name_that_is_no_text_survives() -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    assert from_line(to_line(Entry(name, name))) == Entry(name, name, None, None)


def test_a_plan_is_the_same_whatever_the_order(tmp_path: Path) -> None:
    pictures = [Entry(f"{number:02d}", f"/{number}", None, number) for number in range(10)]
    plan_of(tmp_path / "one", pictures)
    plan_of(tmp_path / "two", pictures[::-1])
    plan = read_plan(tmp_path / "one")
    assert [partition.pictures for partition in plan.partitions] == [4, 4, 2]
    assert (plan.pictures, plan.bytes) == (10, 45)
    assert [entry for index in range(3) for entry in read_list(tmp_path / "one", plan, index)] == pictures
    for path in sorted((tmp_path / "one").rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_a_plan_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def breaking() -> Iterator[Entry]:
        yield Entry("a", "a")
        raise InputError("The listing broke.")

    with pytest.raises(InputError, match="broke"):
        plan_of(tmp_path / "run", breaking())
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="No pictures"):
        plan_of(tmp_path / "run", [])
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").touch()
    with pytest.raises(OutputError, match="not empty"):
        plan_of(tmp_path / "full", [Entry("a", "a")])


def test_a_changed_list_or_plan_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    plan_of(run, [Entry("a", "a")])
    list_file(run, 0).write_text(to_line(Entry("b", "b")))
    with pytest.raises(InputError, match="was changed"):
        read_list(run, read_plan(run), 0)
    text = (run / PLAN).read_text()
    for broken, match in ((text.replace('"schema": 1', '"schema": 2'), "schema 2"), (text[:50], "damaged")):
        (run / PLAN).write_text(broken)
        with pytest.raises(InputError, match=match):
            read_plan(run)
    with pytest.raises(InputError, match="Make a plan first"):
        read_plan(tmp_path)


def test_memory_does_not_grow_with_the_entries(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        plan_of(tmp_path / str(count), (Entry(f"/archive/{n:07d}.jpg", "x", None, 9) for n in range(count)), 1000)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    assert peak(90_000) < 1.3 * peak(30_000)
