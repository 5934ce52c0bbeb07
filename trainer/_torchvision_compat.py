"""Makes `import torchvision` work beside a torch build that its compiled operators were not built for.

torchvision 0.28 registers shape functions for its detection operators when it is imported, and that fails with
"operator torchvision::nms does not exist" where its binary extension could not be loaded (a torchvision wheel from
another index than torch's). Nothing here detects boxes, so declaring the operators' schemas is enough.
"""

from __future__ import annotations

import importlib
import sys

_MISSING_OPERATOR = "torchvision::nms"
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library: object = None  # torch.library undoes the definitions when this is collected


def ensure_torchvision() -> bool:
    """Imports torchvision; only where exactly the missing operator stops it, declares it and imports again.

    Returns:
        True where the operators had to be declared, False where the import worked by itself.

    Raises:
        ImportError, RuntimeError: torchvision is not installed, or fails for another reason.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if _MISSING_OPERATOR not in str(error):
            raise
    else:
        return False
    import torch

    global _library
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    _library = library
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    importlib.import_module("torchvision")
    return True
