"""This process and its terminal: notes on stderr, a progress bar, colours, encodings, threads."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import typer

from edge_infer.cli.guard import aside
from edge_infer.cli.options import Format
from edge_infer.files import OutputError


def limit_opencv(threads: int | None) -> None:
    """Gives OpenCV as many threads as each network: this process is the command's own, so the limit is its to set."""
    import cv2

    from edge_infer.engines.threads import available_threads

    cv2.setNumThreads(threads or available_threads())


def note(text: str) -> None:
    aside(f"note: {text}")


def read_stdin() -> bytes:
    if sys.stdin.isatty():
        raise typer.BadParameter("standard input is a terminal; pipe a picture into it.", param_hint="IMG '-'")
    return sys.stdin.buffer.read()


def prepare_stdout(format: Format) -> None:
    """File names may hold bytes that are no text: data carries them through, cards escape them.

    Raises:
        OutputError: the process was started without standard output, as by `>&-`.
    """
    if sys.stdout is None:
        raise OutputError("Standard output is closed.", "Send it to a file, a pipe, or the null device.")
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        reconfigure(errors="surrogateescape" if utf8 and format == Format.CSV else "backslashreplace")


@contextlib.contextmanager
def progress(count: int, streams: bool) -> Iterator[Callable[[], None]]:
    """A bar on stderr for several pictures, unless results scroll by on the same terminal."""
    if count < 2 or not sys.stderr.isatty() or (streams and sys.stdout.isatty()):
        yield lambda: None
        return
    with typer.progressbar(length=count, label="pictures", file=sys.stderr, show_pos=True) as bar:
        yield lambda: bar.update(1)


def style() -> Callable[[str, str], str]:
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return lambda text, _: text
    looks: dict[str, dict[str, Any]] = {
        "title": {"bold": True},
        "alarm": {"fg": typer.colors.RED, "bold": True},
        "calm": {"fg": typer.colors.GREEN, "bold": True},
        "unsure": {"fg": typer.colors.YELLOW},
        "quiet": {"dim": True},
    }
    return lambda text, tone: typer.style(text, **looks[tone])
