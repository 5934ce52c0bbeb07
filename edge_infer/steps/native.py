"""What native decoders print: kept off stderr, and told in the result where it matters.

libjpeg and libpng print warnings straight to the process's standard error, past Python and past OpenCV's log level.
After `keep_off_stderr` they go to an anonymous file instead. That changes file descriptor 2 of the whole process while
a picture is decoded, and pictures are then decoded one after the other, so a library must not do it unasked: our
commands do, for they own their process. An application that embeds `edge_infer.Diagnoser` may ask for the same.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO, TypeVar

T = TypeVar("T")

_DAMAGE = re.compile(
    r"Corrupt JPEG data|Premature end of JPEG|Inconsistent progression sequence|Invalid SOS parameters"
    r"|libpng (?:warning|error): IDAT"
)
"""The messages (libjpeg's `jerror.h`, libpng's `pngrutil.c`) that mean that the coded picture itself is damaged."""
_NATIVE = re.compile(
    r"Corrupt JPEG|Premature end|Inconsistent progression|Invalid |Unknown |Warning: |Application transferred"
    r"|libpng (?:warning|error)|\[ ?(?:WARN|ERROR|INFO|FATAL):|OpenCV|>|where$|Unsupported |\s*$"
)
_TIFF = re.compile(r"\[ ?(?:WARN|ERROR):.* TIFF_(?:Warning|Error) ")
"""libtiff's messages may go on in a second line, which no word tells from other people's."""
_LONGEST = 1 << 16
_lock = threading.Lock()
_printed: BinaryIO | None = None


def keep_off_stderr() -> None:
    """From now on, what decoders print in this process does not reach standard error. Calling it twice is harmless."""
    global _printed
    with _lock:
        if _printed is None:
            _printed = _anonymous()
            if _printed is not None and hasattr(os, "register_at_fork"):
                os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_part)


def decoding(decode: Callable[[], T]) -> tuple[T, str | None]:
    """Calls a native decoder.

    Args:
        decode: what to call; its exceptions pass through.

    Returns:
        Its result, and the decoder's own words where they mean that the picture is damaged; always None before
        `keep_off_stderr`.
    """
    if _printed is None:
        return decode(), None
    with _lock:
        try:
            stderr = os.dup(2)
        except OSError:  # closed: nothing can reach it
            return decode(), None
        try:
            _flush()
            os.dup2(_printed.fileno(), 2)
            try:
                result = decode()
            finally:
                _flush()
                os.dup2(stderr, 2)
                said = _take(_printed)
                _pass_on(said)
        finally:
            os.close(stderr)
    damage = next((line.strip() for line in said.splitlines() if _DAMAGE.search(line)), None)
    return result, damage


def _part() -> None:
    """A forked child gets a file of its own: the inherited one has one position and one content for both processes."""
    global _printed
    try:
        if _printed is not None:
            _printed.close()
            _printed = _anonymous()
    finally:
        _lock.release()


def _anonymous() -> BinaryIO | None:
    """A file without a name, in memory where the system can; None where there is no place for one."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("decoder"), "w+b", buffering=0)
    import tempfile

    try:
        return tempfile.TemporaryFile(buffering=0)
    except OSError:
        return None


def _flush() -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()


def _take(printed: BinaryIO) -> str:
    size = os.fstat(printed.fileno()).st_size
    if not size:
        return ""
    os.lseek(printed.fileno(), 0, os.SEEK_SET)
    said = os.read(printed.fileno(), min(size, _LONGEST)).decode("utf-8", "replace")
    if size > _LONGEST:
        said = said[: said.rfind("\n") + 1]
    os.lseek(printed.fileno(), 0, os.SEEK_SET)
    os.ftruncate(printed.fileno(), 0)
    return said


def _pass_on(said: str) -> None:
    """Lines that no decoder wrote came from another thread: they go where they were meant to go."""
    lines = said.splitlines()
    foreign = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if not (_NATIVE.match(line) or _TIFF.match(before))
    ]
    if foreign:
        with contextlib.suppress(OSError):
            os.write(2, ("\n".join(foreign) + "\n").encode("utf-8", "replace"))
