"""The end of a command."""

from __future__ import annotations

import os
import sys

import typer

_ends_process = False


def end_process_with_command() -> None:
    """From now on, `leave` ends this process: it is a command's own, and nobody is left to run in it."""
    global _ends_process
    _ends_process = True


def leave(code: int) -> None:
    """Ends the command, and at once where the process ends with it.

    To free networks and modules one by one, as the interpreter does, takes longer than a picture. Everything that was
    written must be closed by now; no exit handler runs.

    Raises:
        typer.Exit: the process goes on, and the code is not 0.
        OSError: standard output cannot take what is left.
    """
    if _ends_process:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(code)
    if code:
        raise typer.Exit(code)
