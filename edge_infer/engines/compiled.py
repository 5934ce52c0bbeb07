"""Networks that an engine has compiled for this machine, kept in the user's cache folder so that it compiles them once.

An entry is a hint, never a source of truth: one that is missing, of another version, cut short, changed, or somebody
else's is as good as none, and the network is compiled again from the bundle's own file. Many processes may read and
write the same entry: a file appears under its name complete, or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_infer.errors import EdgeInferError
from edge_infer.files import write_atomically

CACHE_VARIABLE = "EDGE_INFER_CACHE"
MOST_ENTRIES = 24
"""Of one engine; the oldest go first."""

_MAGIC = b"edge-infer compiled 1\n"
_SUFFIX = ".compiled"


@dataclass(frozen=True)
class Entry:
    """A compiled network: the engine's bytes, and facts about the network as JSON-ready values."""

    facts: dict[str, Any]
    blob: bytes


def cache_folder() -> Path:
    """Where this package keeps what it can make again: EDGE_INFER_CACHE, or `edge-infer` in the user's cache folder."""
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given)
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "edge-infer"


def entry_path(engine: str, key: dict[str, str]) -> Path:
    """The file of one network.

    Args:
        engine: name of the engine, a folder of its own.
        key: all that decides what was compiled: the network's SHA-256, the engine's version, the processor, options.
    """
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return cache_folder() / engine / f"{digest}{_SUFFIX}"


def read_entry(path: Path) -> Entry | None:
    """An entry that is whole and this user's own, else None."""
    try:
        with path.open("rb") as stream:
            if hasattr(os, "getuid") and os.fstat(stream.fileno()).st_uid != os.getuid():
                return None
            data = stream.read()
    except OSError:
        return None
    if not data.startswith(_MAGIC):
        return None
    start = len(_MAGIC) + 32
    body = memoryview(data)[start:]
    if hashlib.sha256(body).digest() != data[len(_MAGIC) : start]:
        return None
    length = int.from_bytes(body[:4], "little")
    return Entry(json.loads(bytes(body[4 : 4 + length])), bytes(body[4 + length :]))


def write_entry(path: Path, entry: Entry) -> str:
    """Keeps an entry and drops the oldest ones beyond `MOST_ENTRIES`.

    Returns:
        Why it could not be kept, in one sentence; "" where it was. The network works without it.
    """
    facts = json.dumps(entry.facts).encode()
    body = b"".join((len(facts).to_bytes(4, "little"), facts, entry.blob))
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(path, b"".join((_MAGIC, hashlib.sha256(body).digest(), body)))
    except OSError as error:
        return f"Cannot write '{path.parent}': {error.strerror or error}."
    except EdgeInferError as error:
        return error.message
    with contextlib.suppress(OSError):
        _drop_oldest(path.parent)
    return ""


def _drop_oldest(folder: Path) -> None:
    entries = sorted(folder.glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in entries[MOST_ENTRIES:]:
        path.unlink(missing_ok=True)
