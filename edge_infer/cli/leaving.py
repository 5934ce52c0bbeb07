"""The end of a command."""

from __future__ import annotations

import contextlib
import os
import sys

_ends_process = False


def end_process_with_command() -> None:
    """From now on, `leave` ends this process: it is a command's own, and nobody is left to run in it."""
    global _ends_process
    _ends_process = True


def leave(code: int) -> None:
    """Ends this process at once with this exit code, where it ends with its command; does nothing elsewhere.

    To free networks and modules one by one, as the interpreter does, takes longer than a picture. Everything that was
    written must be closed by now; no exit handler runs.

    Raises:
        OSError: standard output cannot take what is left.
    """
    if not _ends_process:
        return
    if sys.stdout is not None:
        sys.stdout.flush()
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
    os._exit(code)
