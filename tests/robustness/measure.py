"""One thing that was tried: its figures, and how a child process is run at a bounded share of one processor."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SIZES = ("seconds", "minutes", "hours")


@dataclass
class Measure:
    """What one trial gave.

    Attributes:
        title: of its row.
        tried: how many cases.
        lost: how many were crashes, hangs, losses or lies; each stands in `losses` in words.
        figures: further figures by name, for people.
        seconds: wall time.
    """

    title: str
    tried: int = 0
    lost: int = 0
    figures: dict[str, str] = field(default_factory=dict)
    losses: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def lose(self, what: str) -> None:
        """Counts a loss; the first twenty are kept in words."""
        self.lost += 1
        if len(self.losses) < 20:
            self.losses.append(what)


@dataclass(frozen=True)
class Wish:
    """What a person may ask of a trial.

    Attributes:
        pictures: a folder of pictures to use.
        count: of cases.
        bundle: to use in place of the trial's own.
        keep: writes the trial's tables and plots into the repository.
    """

    pictures: Path | None = None
    count: int | None = None
    bundle: Path | None = None
    keep: bool = False


NO_WISH = Wish()
Trial = Callable[[str, Wish], Measure]


@contextlib.contextmanager
def throttled(process: subprocess.Popen[str], share: float) -> Iterator[None]:
    """Stops and continues a child, so that it has at most this share of a processor on average."""
    over = threading.Event()
    slice_seconds = 0.2

    def beat() -> None:
        while not over.is_set() and process.poll() is None:
            time.sleep(slice_seconds * share)
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGSTOP)
                over.wait(slice_seconds * (1 - share))
                process.send_signal(signal.SIGCONT)

    thread = threading.Thread(target=beat, daemon=True)
    if share < 1:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if share < 1:
            thread.join()


def environment() -> dict[str, str]:
    """That of a child: this checkout first, one thread."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}


def share_of_a_core() -> float:
    """`ROBUSTNESS_SHARE`: how much of one processor the long trials may take; 1 where it is not set."""
    return float(os.environ.get("ROBUSTNESS_SHARE", "1"))
