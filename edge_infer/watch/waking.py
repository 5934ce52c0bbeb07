"""When to look again: as soon as the kernel tells of a change (`watchfiles`, extra `[watch]`), or every second."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

POLL = 1.0


def waiter(
    folder: Path, stop: threading.Event, *, poll: float = POLL, events: bool | None = None
) -> Callable[[], object]:
    """What waits for the next look.

    Args:
        folder: that is watched.
        stop: ends the waiting.
        poll: seconds between two looks; events only make them earlier, as shares and some file systems send none.
        events: True asks for them, False does without, None takes them where `watchfiles` is installed.

    Raises:
        ImportError: events were asked for, and `watchfiles` is not installed.
    """

    def polling() -> object:
        return stop.wait(poll)

    if events is False:
        return polling
    try:
        watchfiles: Any = importlib.import_module("watchfiles")
    except ImportError:
        if events:
            raise
        return polling
    changes: Iterator[object] = watchfiles.watch(
        folder,
        watch_filter=None,
        debounce=50,
        step=10,
        rust_timeout=max(1, int(poll * 1000)),
        yield_on_timeout=True,
        stop_event=stop,
        raise_interrupt=True,
        ignore_permission_denied=True,
    )

    def told() -> object:
        try:
            return next(changes)
        except (StopIteration, OSError):  # the folder itself has gone
            return polling()

    return told
