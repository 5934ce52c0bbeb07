"""Curves in TensorBoard's format, in the run's folder: `tensorboard --logdir runs`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"

_BESIDE = ("epoch", "size", "learning_rate", "seconds", "train_loss")


class EventLog:
    """Scalars against the number of the step, from 1: `train/loss` of every step, the others at the end of each epoch.

    Args:
        run: the run's folder; event files lie in `tensorboard/` in it.
        step: steps done so far. A continued run goes on from there: what an earlier process wrote beyond is void (a
            step of TensorBoard's own format says so), and what it wrote before stays.
    """

    def __init__(self, run: Path, step: int) -> None:
        self.run = run
        self.step = step
        self._writer: SummaryWriter | None = None

    def add_epoch(self, row: dict[str, float], losses: Sequence[float]) -> None:
        """Writes one epoch.

        Args:
            row: its row of the history. Validation metrics become `val/...`, the rest `train/...`.
            losses: loss of each of its steps.
        """
        if self._writer is None:
            self._writer = SummaryWriter(str(self.run / FOLDER), purge_step=self.step + 1)
        for loss in losses:
            self.step += 1
            self._writer.add_scalar("train/loss", loss, self.step)
        for name, value in row.items():
            if name != "train_loss":
                tag = f"train/{name}" if name in _BESIDE else f"val/{name.removeprefix('val_')}"
                self._writer.add_scalar(tag, value, self.step)
        self._writer.flush()

    def close(self) -> None:
        """Ends the event file, if there is one."""
        if self._writer is not None:
            self._writer.close()
