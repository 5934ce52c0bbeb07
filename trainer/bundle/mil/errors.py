"""Typed errors of the interpreter."""

from __future__ import annotations

from trainer.bundle.errors import ExportError


class MilError(ExportError):
    """A Core ML package cannot be evaluated by the interpreter."""

    code = "mil"


class UnknownOperationError(MilError):
    """The program uses an operation, or a mode of one, that the interpreter does not know; `operation` names it."""

    code = "mil-unknown-operation"

    def __init__(self, operation: str, detail: str = "") -> None:
        super().__init__(
            f"The MIL interpreter does not know the operation '{operation}'{f' with {detail}' if detail else ''}.",
            "Add it to trainer/bundle/mil/operations.py with a test against PyTorch.",
        )
        self.operation = operation
