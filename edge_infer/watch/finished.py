"""Which files of a watched folder are whole pictures that nobody writes to any more."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from edge_infer.dicom.recognise import named_like_picture


class Seen(NamedTuple):
    """One state of one file; another state of the same file is another picture.

    Attributes:
        name: path below the folder, with `/`.
        size: bytes.
        modified: nanoseconds since the epoch, as the file system says.
    """

    name: str
    size: int
    modified: int


class Finished:
    """Tells finished files from those that are still being written.

    A file counts as finished once its size and time of change have stayed the same for `settle` seconds of this
    process's own clock: jumps of the wall clock, and times that a camera or a share made up, do not matter. Programs
    that write under another name (`.part`, a leading dot) and then rename are picked up as soon.
    """

    def __init__(self, folder: Path, settle: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Looks at `folder`; see the class."""
        self._folder, self._settle, self._clock = folder, settle, clock
        self._since: dict[str, tuple[Seen, float]] = {}

    def __call__(self) -> tuple[list[Seen], int]:
        """The finished files, by name, and how many others are not finished yet.

        Raises:
            OSError: the folder itself cannot be listed.
        """
        now, current = self._clock(), {seen.name: seen for seen in _walk(self._folder, "")}
        self._since = {
            name: self._since[name] if name in self._since and self._since[name][0] == seen else (seen, now)
            for name, seen in current.items()
        }
        settled = [seen for seen, since in self._since.values() if seen.size and now - since >= self._settle]
        return sorted(settled), len(current) - len(settled)


def _walk(folder: Path, below: str) -> Iterator[Seen]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    yield from _walk(folder / entry.name, f"{below}{entry.name}/")
                elif stat.S_ISREG(found.st_mode) and named_like_picture(entry.name):
                    yield Seen(f"{below}{entry.name}", found.st_size, found.st_mtime_ns)
            except OSError:
                continue  # gone meanwhile, or a subfolder that may not be read: the next look tells
