"""Typed error of the quantisation."""

from __future__ import annotations

from trainer.bundle.errors import ExportError


class QuantizationError(ExportError):
    """The network cannot be quantised within the limit."""

    code = "quantization"
