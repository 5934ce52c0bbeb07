"""Exit codes, and typed errors as messages."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

from edge_infer.errors import EdgeInferError, ImageError, InputError
from edge_infer.files import OutputError, cannot_write

P = ParamSpec("P")
R = TypeVar("R")

EXIT_OK, EXIT_IMAGE, EXIT_USAGE, EXIT_BROKEN, EXIT_INTERRUPTED, EXIT_PIPE = 0, 1, 2, 3, 130, 141

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

EXIT_CODES = """\b
Exit codes:
  0    every picture has an answer (indeterminate is an answer)
  1    at least one picture could not be used; the others have their answers
  2    wrong usage, or results cannot be written
  3    the bundle or the inference engine is missing, broken or unavailable
  130  interrupted (Ctrl-C);  141  whoever read the output has closed it
"""


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Turns typed errors, Ctrl-C, and a standard output that is closed or full into a message and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            result = command(*args, **kwargs)
            _flush_stdout()
            return result
        except EdgeInferError as error:
            _finish_stdout()
            complain(error)
            raise typer.Exit(exit_code(error)) from error
        except KeyboardInterrupt as error:
            typer.echo("interrupted", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from error
        except BrokenPipeError as error:
            _discard_stdout()
            raise typer.Exit(EXIT_PIPE) from error
        except OSError as error:
            if error.errno not in _FULL:
                raise
            _finish_stdout()
            complain(cannot_write(error.filename or "the results", error))
            raise typer.Exit(EXIT_USAGE) from error

    return run


def _flush_stdout() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _finish_stdout() -> None:
    try:
        _flush_stdout()
    except OSError:
        _discard_stdout()


def _discard_stdout() -> None:
    """What is still buffered must go somewhere, or the interpreter complains when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def aside(text: str) -> None:
    """A line on stderr, for people. Where stderr is closed or full it is lost: no answer may be lost with it."""
    with contextlib.suppress(OSError):
        typer.echo(text, err=True)


def complain(error: EdgeInferError) -> None:
    """Prints a typed error and its remedy on stderr."""
    aside(f"error [{error.code}]: {error.message}")
    if error.remedy:
        aside(f"fix: {error.remedy}")


def exit_code(error: EdgeInferError) -> int:
    """The exit code that stands for an error."""
    if isinstance(error, ImageError):
        return EXIT_IMAGE
    return EXIT_USAGE if isinstance(error, OutputError | InputError) else EXIT_BROKEN
