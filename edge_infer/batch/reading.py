"""The bytes of a planned picture: a path where it is a file, otherwise read from a tar shard or a URL."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from edge_infer.batch.entries import Entry
from edge_infer.batch.listing import is_url
from edge_infer.errors import EdgeInferError, ImageAccessError, ImageError, ImageNotFoundError, ImageTooLargeError
from edge_infer.extras import need

T = TypeVar("T")

ATTEMPTS = 4
"""How often a store is asked before its partition is given up for this run; the waits double from one second."""


class StoreError(EdgeInferError):
    """A store of pictures failed in a way that may pass: the partition is left for the next run, no row is made up."""

    code = "store"


def read_entry(entry: Entry, max_pixels: int) -> Path | bytes:
    """What a `Diagnoser` takes for this picture.

    Raises:
        ImageError: the picture is absent, may not be read, or is far larger than `max_pixels` could need; it stays so.
        StoreError: the store failed repeatedly in another way.
    """
    if entry.offset is None and not is_url(entry.location):
        return Path(entry.location)
    if entry.size is not None and entry.size > 8 * max_pixels + 2**26:
        raise ImageTooLargeError(f"'{entry.source}' has {entry.size / 1e6:.0f} MB.", "Raise --max-pixels.")
    try:
        return _patiently(lambda: _bytes(entry), entry.source)
    except FileNotFoundError as error:
        raise ImageNotFoundError(f"There is no '{entry.source}'.", "Check the list, or plan again.") from error
    except PermissionError as error:
        raise ImageAccessError(f"'{entry.source}' may not be read.", "Check your rights to it.") from error


def _bytes(entry: Entry) -> bytes:
    if is_url(entry.location):
        system, path = need("fsspec", "batch").core.url_to_fs(entry.location)
        return bytes(system.cat_file(path))
    with Path(entry.location).open("rb") as stream:
        stream.seek(entry.offset or 0)
        data = stream.read(entry.size)
    if entry.size is not None and len(data) < entry.size:
        raise ImageAccessError(f"'{entry.location}' ends before '{entry.source}' does.", "Restore the archive.")
    return data


def _patiently(read: Callable[[], T], name: str) -> T:
    for attempt in range(ATTEMPTS):
        try:
            return read()
        except (FileNotFoundError, PermissionError, ImageError):
            raise
        except Exception as error:  # drivers of stores raise their own kinds
            if attempt == ATTEMPTS - 1:
                raise StoreError(
                    f"'{name}' could not be read in {ATTEMPTS} attempts: {error}.",
                    "Run again when the store answers: only what is missing is done.",
                ) from error
            time.sleep(2.0**attempt)
    raise AssertionError
