"""Libraries that only some parts need: imported when used, and a typed error with the remedy where they are absent."""

from __future__ import annotations

import importlib
from typing import Any

from edge_infer.errors import ExtraNotInstalledError


def need(module: str, extra: str) -> Any:
    """Imports a module that belongs to an extra of this package.

    Raises:
        ExtraNotInstalledError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ExtraNotInstalledError(
            f"This needs '{module.split('.')[0]}', which is not installed ({error}).",
            f"Install it with: pip install 'edge-infer[{extra}]'",
        ) from error
