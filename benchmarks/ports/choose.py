"""Which pictures a comparison takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


def chosen(folders: Sequence[Path], count: int) -> list[Path]:
    """At most `count` pictures of files and folders, in order of their names and evenly spread."""
    found = sorted(
        path
        for folder in folders
        for path in (folder.iterdir() if folder.is_dir() else (folder,))
        if path.suffix.lower() in SUFFIXES
    )
    if len(found) <= count:
        return found
    return [found[number * len(found) // count] for number in range(count)]
