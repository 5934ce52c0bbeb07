"""Outline a skin lesion, crop it, and estimate the probability of melanoma. Research use; not a medical device.

>>> from edge_infer import Diagnoser
>>> with Diagnoser.load() as diagnoser:
...     diagnosis = diagnoser.diagnose("examples/nevus-like.jpg")
>>> diagnosis.status, diagnosis.label
('ok', 'not melanoma')
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from edge_infer.diagnoser import Diagnoser
    from edge_infer.diagnosis import Diagnosis
    from edge_infer.errors import EdgeInferError
    from edge_infer.reasons import Reason

__all__ = ["Diagnoser", "Diagnosis", "EdgeInferError", "Reason", "__version__"]

_HOME = {
    "Diagnoser": "edge_infer.diagnoser",
    "Diagnosis": "edge_infer.diagnosis",
    "EdgeInferError": "edge_infer.errors",
    "Reason": "edge_infer.reasons",
}


def __getattr__(name: str) -> Any:
    """Loads the public names on first use, so that `edge-infer --version` imports neither cv2 nor onnxruntime."""
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'edge_infer' has no attribute '{name}'")
