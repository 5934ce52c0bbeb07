"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from pathlib import Path
from typing import ClassVar, TextIO

from edge_infer.errors import EdgeInferError

PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".heic", ".heif", ".bmp", ".dib", ".tif", ".tiff"}
)
"""Files with other suffixes are left out when a folder is searched; a file that is named itself is always tried."""
PRIVATE = 0o600
"""Results tell of patients: they are for whoever asked for them."""


class OutputError(EdgeInferError):
    """A result cannot be written where it was asked for."""

    code: ClassVar[str] = "output"


def write_atomically(path: Path, data: bytes, *, mode: int | None = None, durable: bool = False) -> None:
    """Writes a file beside its destination and then moves it there; missing folders are made.

    A reader sees the old file or the whole new one. Where a symbolic link has the name, the
    link is replaced, and what it points to stays.

    Args:
        path: the destination.
        data: all of it.
        mode: permissions; None: what the process's umask leaves of 0666.
        durable: waits until the disk has it, so that this holds after a loss of power too.

    Raises:
        OutputError: the folder or the file cannot be written. Nothing is left behind.
    """
    temporary = path.with_name(f".{path.name[:100]}.{os.urandom(6).hex()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "xb", opener=partial(os.open, mode=0o666 if mode is None else mode)) as stream:
                stream.write(data)
                if durable:
                    stream.flush()
                    os.fsync(stream.fileno())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise cannot_write(path, error) from error


def write_below(folder: Path, name: str, data: bytes) -> Path:
    """Writes a private file into a folder of results, and nowhere else.

    Args:
        folder: exists.
        name: path below it; missing folders are made.
        data: all of the file.

    Returns:
        The file's path.

    Raises:
        OutputError: a symbolic link or `..` leads out of the folder, or it cannot be written.
    """
    path = folder / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        inside = path.parent.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:
        raise cannot_write(path, error) from error
    if not inside:
        raise OutputError(f"'{path}' leads out of '{folder}'.", "Remove the link, or choose another folder.")
    write_atomically(path, data, mode=PRIVATE)
    return path


def make_writable_folder(folder: Path) -> None:
    """Makes a folder for results and checks that files can be made in it.

    Raises:
        OutputError: it cannot be made, is no folder, or is read-only.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"The folder '{folder}' is read-only.", "Choose a folder that you may write to.")


def write_stream(stream: TextIO, text: str, *, flush: bool = True) -> None:
    """Writes to an open stream, such as standard output.

    Raises:
        BrokenPipeError: whoever read it has gone.
        OutputError: it cannot be written for another reason, such as a full disk.
    """
    try:
        stream.write(text)
        if flush:
            stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise cannot_write(getattr(stream, "name", "the results"), error) from error


def cannot_write(target: object, error: Exception) -> OutputError:
    """The typed error for an OSError of a file or stream."""
    return OutputError(
        f"Cannot write '{target}': {getattr(error, 'strerror', None) or error}.",
        "Choose another place, or check permissions and free space.",
    )
