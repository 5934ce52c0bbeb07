"""What a plan was given - folders, patterns, lists, tar shards, URLs - as a stream of pictures."""

from __future__ import annotations

import csv
import glob
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edge_infer.batch.entries import Entry
from edge_infer.dicom.recognise import named_like_picture
from edge_infer.errors import InputError
from edge_infer.extras import need

COLUMNS = ("source", "path", "image", "file", "filename", "url")
"""Columns that a list may name its pictures by, in order of preference."""
_LISTS = frozenset({".csv", ".parquet", ".txt"})
_PACKED_TAR = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_URL = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def is_url(text: str) -> bool:
    """Whether a location is a URL for `fsspec`, and no path."""
    return _URL.match(text) is not None


def list_entries(inputs: Sequence[str], column: str | None = None) -> Iterator[Entry]:
    """Every picture that the inputs name, in no particular order, lazily.

    Args:
        inputs: folders (searched with their subfolders, hidden ones left out), quoted patterns, pictures, uncompressed
            tar shards, lists (`.csv` or `.parquet` with a column of paths, `.txt` with one a line; paths are relative
            to the list), and URLs of folders, patterns or files that `fsspec` opens.
        column: of a list; None takes the first of `COLUMNS` that it has.

    Raises:
        InputError: an input does not exist, is a compressed archive, or a list has no such column.
        ExtraNotInstalledError: a URL or a Parquet list, and the libraries for it are absent.
    """
    for given in inputs:
        if is_url(given):
            yield from _remote(given)
        elif Path(given).is_dir():
            yield from _folder(Path(given).resolve())
        elif os.path.lexists(given):
            yield from _file(Path(given), column)
        elif glob.has_magic(given):
            yield from _pattern(given, column)
        else:
            raise InputError(f"There is no '{given}'.", "Check the path; patterns need quotes.")


def _folder(root: Path) -> Iterator[Entry]:
    waiting = [os.fspath(root)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif named_like_picture(entry.name):
                        yield Entry(entry.path, entry.path, None, _size(entry.path))
        except OSError as error:
            raise InputError(
                f"The folder '{error.filename}' cannot be read: {error.strerror}.", "Check its permissions."
            ) from error


def _pattern(given: str, column: str | None) -> Iterator[Entry]:
    found = False
    for match in glob.iglob(given, recursive=True):  # noqa: PTH207 - Path.glob takes no absolute pattern
        path = Path(match)
        if path.is_dir():
            continue
        if not Path(given).suffix and not named_like_picture(path.name):
            continue
        found = True
        yield from _file(path, column)
    if not found:
        raise InputError(f"Nothing matches '{given}'.", "Check the pattern.")


def _file(path: Path, column: str | None) -> Iterator[Entry]:
    name = path.name.lower()
    if name.endswith(_PACKED_TAR):
        raise InputError(
            f"'{path}' is compressed, so that no picture in it can be read alone.",
            "Pack it as plain .tar (pictures are compressed already), or unpack it.",
        )
    if name.endswith(".tar"):
        yield from _shard(path.resolve())
    elif path.suffix.lower() in _LISTS:
        yield from _list(path, column)
    else:
        absolute = os.path.abspath(path)  # noqa: PTH100 - keeps symlinks
        yield Entry(absolute, absolute, None, _size(absolute))


def _shard(path: Path) -> Iterator[Entry]:
    try:
        with tarfile.open(path, "r:") as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # tarfile keeps every header otherwise
                if member.isreg() and named_like_picture(member.name):
                    yield Entry(f"{path}::{member.name}", str(path), member.offset_data, member.size)
    except (tarfile.TarError, OSError) as error:
        raise InputError(
            f"'{path}' cannot be read as a tar archive: {error}.", "Restore it from its source."
        ) from error


def _list(path: Path, column: str | None) -> Iterator[Entry]:
    base = path.resolve().parent
    try:
        for name in _names(path, column):
            if is_url(name):
                yield Entry(name, name)
            else:
                absolute = os.path.abspath(base / name)  # noqa: PTH100 - keeps symlinks
                yield Entry(absolute, absolute, None, _size(absolute))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The list '{path}' cannot be read: {error}.", "Save it as UTF-8 text.") from error


def _names(path: Path, column: str | None) -> Iterator[str]:
    if path.suffix.lower() == ".parquet":
        parquet = need("pyarrow.parquet", "batch")
        try:
            file = parquet.ParquetFile(path)
            chosen = _column(path, file.schema_arrow.names, column)
            for rows in file.iter_batches(batch_size=10_000, columns=[chosen]):
                yield from (str(name) for name in rows.column(0).to_pylist() if name)
        except need("pyarrow", "batch").ArrowException as error:
            raise InputError(f"The list '{path}' is no Parquet file: {error}.", "Write it again.") from error
        return
    with path.open(encoding="utf-8-sig", newline="") as stream:
        if path.suffix.lower() == ".txt":
            yield from (line for line in map(str.strip, stream) if line and not line.startswith("#"))
            return
        reader = csv.DictReader(stream)
        chosen = _column(path, reader.fieldnames or (), column)
        yield from (row[chosen] for row in reader if row[chosen])


def _column(path: Path, names: Sequence[str], wanted: str | None) -> str:
    for candidate in COLUMNS if wanted is None else (wanted,):
        if candidate in names:
            return candidate
    raise InputError(
        f"The list '{path}' has no column {' or '.join(COLUMNS) if wanted is None else wanted}.",
        f"Name one with --column; it has: {', '.join(names) or 'none'}.",
    )


def _remote(url: str) -> Iterator[Entry]:
    fsspec = need("fsspec", "batch")
    try:
        system, path = fsspec.core.url_to_fs(url)
        if glob.has_magic(url):
            found = iter(system.glob(path, detail=True).values())
        elif system.isdir(path):
            found = (info for _, _, files in system.walk(path, detail=True) for info in files.values())
        elif system.exists(path):
            found = iter([system.info(path)])
        else:
            raise InputError(f"There is no '{url}'.", "Check the address and your rights to it.")
        for info in found:
            yield from _remote_entry(system, info)
    except (OSError, ValueError, ImportError) as error:
        raise InputError(
            f"'{url}' cannot be listed: {error}.", "Check the address, and fsspec's driver for it."
        ) from error


def _remote_entry(system: Any, info: dict[str, Any]) -> Iterator[Entry]:
    if info["type"] == "file" and named_like_picture(info["name"]):
        location = system.unstrip_protocol(info["name"])
        yield Entry(location, location, None, info.get("size"))


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - a million times
    except OSError:
        return None
