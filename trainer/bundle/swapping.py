"""One folder takes the place of another, in one step where the system has one."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from trainer.bundle.errors import ExportError

_AT_FDCWD, _EXCHANGE = -100, 2
"""From Linux's `fcntl.h` and `fs.h`; `RENAME_SWAP` of macOS's `renamex_np` is 2 as well."""


@contextlib.contextmanager
def replacement(out: Path) -> Iterator[Path]:
    """A folder beside `out` to write into, which takes its place at the end; gone where anything went wrong.

    Raises:
        ExportError: it cannot be written; `out` is as it was.
    """
    draft = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        bring_back(out)
        draft = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        yield draft
        swap(draft, out)
    except OSError as error:
        raise ExportError(
            f"Cannot write '{out}': {error.strerror or error}.", "Check permissions and free space, or choose another."
        ) from error
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)


def swap(draft: Path, out: Path) -> None:
    """Puts `draft` in the place of `out`; the old folder is deleted once the new one is there.

    On Linux and macOS both change places at once, so that a process killed anywhere leaves one of them whole under the
    name. Elsewhere, and on file systems that cannot, there are two renames; `bring_back` mends a kill between them.
    """
    draft.chmod(0o755)
    if not out.exists():
        draft.rename(out)
        return
    if exchange(draft, out):
        shutil.rmtree(draft, ignore_errors=True)
        return
    old = out.with_name(f".{out.name}-old-{os.getpid()}")
    out.rename(old)
    try:
        draft.rename(out)
    except BaseException:
        if not out.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def exchange(one: Path, other: Path) -> bool:
    """Lets two paths change places in one step; False where the system or the file system cannot."""
    first, second = os.fsencode(one), os.fsencode(other)
    try:
        library = ctypes.CDLL(None)
        if sys.platform == "darwin":
            return bool(library.renamex_np(first, second, _EXCHANGE) == 0)
        return bool(library.renameat2(_AT_FDCWD, first, _AT_FDCWD, second, _EXCHANGE) == 0)
    except (OSError, AttributeError, TypeError):
        return False


def bring_back(out: Path) -> None:
    """Gives a folder its name again that was moved away by a swap of two renames which was killed between them."""
    if out.exists():
        return
    left = sorted(out.parent.glob(f".{out.name}-old-*"), key=lambda path: path.stat().st_mtime)
    if left:
        left[-1].rename(out)
