"""What stored results depend on: they are taken again only while all of it is as it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from edge_infer.files import write_atomically
from edge_infer.schema import dump
from trainer.data.ham10000 import Record
from trainer.errors import CheckpointError, StaleError

Origin = dict[str, str]
"""Digests by what they stand for: networks, data, rules, limit."""


def digest(value: object) -> str:
    """SHA-256 of dataclasses and plain values."""
    text = json.dumps(dump(value), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_files(files: Iterable[Path]) -> str:
    """SHA-256 of files' bytes, in order; their names do not count.

    Raises:
        CheckpointError: one is missing.
    """
    sums = []
    for file in files:
        if not file.is_file():
            raise CheckpointError(f"There is no file {file}.", "Train first, or correct the path.")
        with file.open("rb") as stream:
            sums.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return digest(sums)


def digest_records(records: Iterable[Record]) -> str:
    """SHA-256 of ids, labels, splits and file sizes; no picture is opened, and where they lie does not count."""
    return digest(
        [
            (r.image_id, r.lesion_id, r.dx, r.split, _size(r.image_path), _size(r.mask_path) if r.mask_path else -1)
            for r in sorted(records, key=lambda record: record.image_id)
        ]
    )


def changed(stored: Origin | None, wanted: Origin) -> list[str]:
    """Names of what differs; "nothing stored" where there is nothing."""
    if stored is None:
        return ["nothing stored"]
    return [name for name in wanted if stored.get(name) != wanted[name]]


def require_same(path: Path, stored: Origin, wanted: Origin) -> None:
    """Does nothing if `stored` says all that `wanted` says.

    Raises:
        StaleError: it says something else; the message names what.
    """
    if names := changed(stored, wanted):
        raise StaleError(
            f"'{path}' was made with other {' and '.join(names)}.",
            "Run `python -m trainer bundle`: it makes again what has changed.",
        )


def write_origin(path: Path, origin: Origin) -> None:
    """Writes an origin as JSON, after everything that it vouches for."""
    write_atomically(path, (json.dumps(origin, indent=1) + "\n").encode())


def read_origin(path: Path) -> Origin | None:
    """Reads what `write_origin` wrote; None where there is no such file or it is damaged."""
    try:
        origin = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return origin if isinstance(origin, dict) else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1
