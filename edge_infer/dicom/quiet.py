"""Silence for pydicom, highdicom and their decoders, whose warnings and logs would quote patients' data."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_lock = threading.Lock()
_settings = ExitStack()
_users = 0


@contextmanager
def quietly() -> Iterator[None]:
    """Nothing that pydicom or its decoders have to say reaches standard error.

    Filters of warnings and levels of loggers are the whole process's: the first of several threads sets them, and the
    last one puts back what was there before. Until then other code's warnings are silent too.
    """
    global _users
    with _lock:
        if not _users:
            _settings.enter_context(_silence())
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users = max(0, _users - 1)
            if not _users:
                _settings.close()


@contextmanager
def _silence() -> Iterator[None]:
    import logging
    import warnings

    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom", "openjpeg")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _part() -> None:
    """A forked process has none of its parent's other threads, which would never end their silence here."""
    global _users
    _users = 0
    _settings.close()
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_part)
