"""Curves in TensorBoard's format, in the run's folder: `tensorboard --logdir runs`."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

FOLDER = "tensorboard"

_BESIDE = ("epoch", "size", "learning_rate", "seconds", "cpu_seconds", "train_loss")


class EventLog:
    """Scalars against the number of the step, from 1: `train/loss` of every step, the others at the end of each epoch.

    Written by the thread that trains: PyTorch's `SummaryWriter` has one of its own, which prints a traceback where the
    disk is full.

    Args:
        run: the run's folder; event files lie in `tensorboard/` in it.
        step: steps done so far. A continued run goes on from there: what an earlier process wrote beyond is void (a
            step of TensorBoard's own format says so), and what it wrote before stays.
    """

    def __init__(self, run: Path, step: int) -> None:
        self.run = run
        self.step = step
        self._writer: RecordWriter | None = None

    def add_epoch(self, row: dict[str, float], losses: Sequence[float]) -> None:
        """Writes one epoch.

        Args:
            row: its row of the history. Validation metrics become `val/...`, the rest `train/...`.
            losses: loss of each of its steps.

        Raises:
            OSError: the file cannot be written.
        """
        writer = self._open()
        for loss in losses:
            self.step += 1
            self._add(writer, "train/loss", loss)
        for name, value in row.items():
            if name != "train_loss":
                tag = f"train/{name}" if name in _BESIDE else f"val/{name.removeprefix('val_')}"
                self._add(writer, tag, value)
        writer.flush()

    def close(self) -> None:
        """Ends the event file, if there is one."""
        if self._writer is not None:
            self._writer.close()

    def _open(self) -> RecordWriter:
        if self._writer is None:
            folder = self.run / FOLDER
            folder.mkdir(parents=True, exist_ok=True)
            number = len(list(folder.iterdir()))
            name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{number}"
            self._writer = RecordWriter((folder / name).open("wb"))
            self._write(self._writer, file_version="brain.Event:2")
            self._write(self._writer, step=self.step + 1, session_log=SessionLog(status=SessionLog.START))
        return self._writer

    def _add(self, writer: RecordWriter, tag: str, value: float) -> None:
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        self._write(writer, step=self.step, summary=summary)

    def _write(self, writer: RecordWriter, **fields: Any) -> None:
        writer.write(Event(wall_time=time.time(), **fields).SerializeToString())
