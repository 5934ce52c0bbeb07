"""The results of a watched folder on disk: lines that are whole, and a memory of what was done, through any kill.

Each line is written with one call and forced to the disk before the next picture begins. It carries the state of the
file that it answers (`watch`), so that the memory can be rebuilt from the lines: a kill between both repeats nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edge_infer.files import PRIVATE, OutputError, write_atomically
from edge_infer.watch.finished import Seen


class Ledger:
    """The output file, its predecessors, and the memory beside it (`<output>.seen`)."""

    def __init__(self, output: Path, rotate_bytes: int, keep: int) -> None:
        """Opens them and mends what a kill left: half a line at the end is cut off.

        Args:
            output: NDJSON, one line a picture.
            rotate_bytes: an output that has reached this size is renamed, and a new one begun.
            keep: how many renamed outputs stay; the oldest are deleted. 0 keeps all.

        Raises:
            OutputError: they cannot be written, or another process writes them.
        """
        self._output, self._limit, self._keep = output, rotate_bytes, keep
        self._memory = output.with_name(f"{output.name}.seen")
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _open(output.with_name(f"{output.name}.lock"), os.O_RDWR)
            _claim(self._lock, output)
            self._descriptor = _open(output, os.O_RDWR | os.O_APPEND)
            _mend(self._descriptor)
            self._done = set(_remembered(self._memory))
            for file in [*self._older()[-1:], output]:
                self._done |= set(_answered(file))
        except OSError as error:
            raise _cannot(output, error) from error
        self._remember_all()

    def __contains__(self, seen: Seen) -> bool:
        """Whether this state of this file has its line."""
        return seen in self._done

    def __len__(self) -> int:
        """How many have."""
        return len(self._done)

    def add(self, seen: Seen, record: Mapping[str, Any]) -> None:
        """Writes one line.

        Raises:
            OutputError: it cannot be written; then no part of it is there.
        """
        state = {"file": seen.name, "size": seen.size, "modified_ns": seen.modified}
        line = json.dumps({**record, "watch": state}, allow_nan=False).encode("ascii") + b"\n"
        try:
            self._reopen_if_moved()
            before = os.fstat(self._descriptor).st_size
            if before >= self._limit:
                self._rotate()
                before = 0
            _write(self._descriptor, line, before)
            self._done.add(seen)
            _write(self._memory_descriptor, _memory_line(seen), os.fstat(self._memory_descriptor).st_size)
        except OSError as error:
            raise _cannot(self._output, error) from error

    def forget(self, present: set[str]) -> None:
        """Drops from memory what is no longer in the folder, so that it stays small over years."""
        kept = {seen for seen in self._done if seen.name in present}
        if len(kept) < len(self._done) // 2:
            self._done = kept
            os.close(self._memory_descriptor)
            self._remember_all()

    def close(self) -> None:
        """Closes the files; the lock goes with them."""
        for descriptor in (self._descriptor, self._memory_descriptor, self._lock):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _remember_all(self) -> None:
        write_atomically(self._memory, b"".join(map(_memory_line, sorted(self._done))), mode=PRIVATE, durable=True)
        self._memory_descriptor = _open(self._memory, os.O_RDWR | os.O_APPEND)

    def _older(self) -> list[Path]:
        return sorted(self._output.parent.glob(f"{_escaped(self._output.stem)}.[0-9]*{_escaped(self._output.suffix)}"))

    def _rotate(self) -> None:
        stamp, number = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), 0
        older = self._older()
        # The wall clock may have been set back: a new name still sorts after the old ones.
        newest = older[-1].stem.removeprefix(f"{self._output.stem}.") if older else ""
        while True:
            name = max(f"{stamp}-{number:04}", newest[:17] + f"{number:04}" if newest[:16] >= stamp else "")
            target = self._output.with_name(f"{self._output.stem}.{name}{self._output.suffix}")
            if not target.exists() and target.name > (older[-1].name if older else ""):
                break
            number += 1
        self._output.rename(target)
        os.close(self._descriptor)
        self._descriptor = _open(self._output, os.O_RDWR | os.O_APPEND)
        for file in [*older, target][: -self._keep] if self._keep else []:
            file.unlink(missing_ok=True)

    def _reopen_if_moved(self) -> None:
        """Where somebody else rotated or removed the file, lines go to a new one of its name."""
        try:
            there, ours = self._output.stat(), os.fstat(self._descriptor)
            if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
                return
        except FileNotFoundError:
            pass
        os.close(self._descriptor)
        self._descriptor = _open(self._output, os.O_RDWR | os.O_APPEND)
        _mend(self._descriptor)


def _open(path: Path, flags: int) -> int:
    # Never through a link that somebody laid there.
    return os.open(path, flags | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0), PRIVATE)


def _claim(descriptor: int, output: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise OutputError(f"Another process writes '{output}'.", "Stop it, or give another output.") from error


def _write(descriptor: int, line: bytes, before: int) -> None:
    try:
        written = os.write(descriptor, line)
        if written != len(line):
            raise OSError(28, "No space left on device")
        os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, before)
        raise


def _mend(descriptor: int) -> None:
    """Cuts off what follows the last whole line."""
    end = position = os.fstat(descriptor).st_size
    while position:
        start = max(0, position - 2**16)
        os.lseek(descriptor, start, os.SEEK_SET)
        newline = os.read(descriptor, position - start).rfind(b"\n")
        if newline >= 0:
            if start + newline + 1 < end:
                os.ftruncate(descriptor, start + newline + 1)
            return
        position = start
    os.ftruncate(descriptor, 0)


def _memory_line(seen: Seen) -> bytes:
    return json.dumps(list(seen)).encode("ascii") + b"\n"


def _remembered(memory: Path) -> Iterator[Seen]:
    for line in _lines(memory):
        with contextlib.suppress(ValueError, TypeError):
            yield Seen(*json.loads(line))


def _answered(output: Path) -> Iterator[Seen]:
    for line in _lines(output):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            state = json.loads(line)["watch"]
            yield Seen(state["file"], state["size"], state["modified_ns"])


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as stream:
            yield from stream
    except FileNotFoundError:
        return


def _escaped(text: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)


def _cannot(target: Path, error: OSError) -> OutputError:
    return OutputError(
        f"Cannot write '{target}': {error.strerror or error}.",
        "Choose another place, or check permissions and free space.",
    )
