"""The loop: look, diagnose what is finished and new, write its line, tell how it goes; until somebody asks to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edge_infer.diagnoser import Diagnoser
from edge_infer.diagnosis import Diagnosis
from edge_infer.dicom.intake import as_picture
from edge_infer.errors import ImageError, ImageNotFoundError
from edge_infer.output.records import to_record
from edge_infer.watch.counters import Counters
from edge_infer.watch.finished import Finished, Seen
from edge_infer.watch.ledger import Ledger

HEARTBEAT = 5.0
"""Seconds between two writings of the health file where nothing happens."""


def watch(
    diagnoser: Diagnoser,
    folder: Path,
    ledger: Ledger,
    counters: Counters,
    stop: threading.Event,
    *,
    settle: float,
    wait: Callable[[], object],
    once: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Works a folder off until `stop` is set.

    Args:
        diagnoser: answers.
        folder: is looked at with its subfolders.
        ledger: gets one line for every picture, whether it could be used or not.
        counters: tell others.
        stop: is asked before every picture.
        settle: seconds for which a finished file has not changed.
        wait: waits for the next look, about a second or until something happens in the folder.
        once: returns as soon as nothing is left to do or to wait for.
        clock: seconds, never set back.

    Raises:
        OutputError: a line cannot be written; what has its line keeps it, the rest comes after a restart.
        EngineError: the engine failed.
    """
    finished, beat = Finished(folder, settle, clock), float("-inf")
    while not stop.is_set():
        try:
            settled, counters.waiting = finished()
        except OSError as error:  # a share that went away may come back
            counters.scan_errors += 1
            counters.write(f"cannot list the folder: {error.strerror}")
            wait()
            continue
        new = [seen for seen in settled if seen not in ledger]
        for seen in new:
            if stop.is_set():
                break
            start = clock()
            diagnosis = _diagnose(diagnoser, folder, seen)
            if diagnosis is not None:
                ledger.add(seen, to_record(diagnosis, {}))
                counters.add(diagnosis, clock() - start)
            if clock() - beat >= HEARTBEAT:
                counters.write("watching")
                beat = clock()
        ledger.forget({seen.name for seen in settled})
        if new or clock() - beat >= HEARTBEAT:
            counters.write("watching")
            beat = clock()
        if once and not new and not counters.waiting:
            break
        if not new:
            wait()
    counters.write("stopped")


def _diagnose(diagnoser: Diagnoser, folder: Path, seen: Seen) -> Diagnosis | None:
    """The answer; None where the file has gone meanwhile."""
    path = folder / seen.name
    try:
        return replace(diagnoser.diagnose(as_picture(path)), source=str(path))
    except ImageNotFoundError:
        return None
    except ImageError as error:
        return Diagnosis.failed(str(path), error, *diagnoser.bundle.identity)
