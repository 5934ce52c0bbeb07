"""Typed errors of the export."""

from __future__ import annotations

from trainer.errors import TrainerError


class ExportError(TrainerError):
    """A model could not be exported, or the exported file is not what it must be."""

    code = "export"


class ParityError(ExportError):
    """An artifact differs from the PyTorch model by more than its gate allows."""

    code = "parity"
