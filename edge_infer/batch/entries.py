"""One picture of an archive, and any number of them in order without holding them in memory."""

from __future__ import annotations

import heapq
import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import IO, NamedTuple

_CHUNK = 20_000
_OPEN_FILES = 200


class Entry(NamedTuple):
    """One picture.

    Attributes:
        source: how results name it; no two pictures of a plan share it.
        location: absolute path or URL of the file that holds it.
        offset: where it starts in that file, in bytes, where the file is a tar archive.
        size: in bytes, where it is known.
    """

    source: str
    location: str
    offset: int | None = None
    size: int | None = None


def to_line(entry: Entry) -> str:
    """An entry as one line of ASCII JSON, with its newline; undecodable bytes of file names survive."""
    return json.dumps(entry) + "\n"


def from_line(line: str) -> Entry:
    """The inverse of `to_line`."""
    return Entry(*json.loads(line))


def in_order(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries sorted by source, each source once: an external merge sort with memory that does not grow.

    Where a source is listed twice, the entry that came first is kept.
    """
    with tempfile.TemporaryDirectory(prefix="edge-infer-") as folder, ExitStack() as stack:
        runs: list[IO[str]] = []
        stream = iter(entries)
        number = 0
        while chunk := list(islice(stream, _CHUNK)):
            chunk.sort(key=attrgetter("source"))
            if len(runs) == _OPEN_FILES:
                runs = [_written(_merged(runs), Path(folder) / f"{number}", stack)]
                number += 1
            runs.append(_written(chunk, Path(folder) / f"{number}", stack))
            number += 1
            del chunk
        previous = None
        for entry in _merged(runs):
            if entry.source != previous:
                yield entry
            previous = entry.source


def _written(entries: Iterable[Entry], path: Path, stack: ExitStack) -> IO[str]:
    stream = stack.enter_context(path.open("w+", encoding="ascii"))
    stream.writelines(map(to_line, entries))
    stream.seek(0)
    return stream


def _merged(runs: list[IO[str]]) -> Iterator[Entry]:
    return heapq.merge(*(map(from_line, run) for run in runs), key=attrgetter("source"))
