"""Where the built web application is."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from edge_infer.errors import EdgeInferError

BUILD_APP = "npm --prefix ports/kiosk ci && npm --prefix ports/kiosk run build"
"""Builds the application of a checkout."""

BUILD_WHEEL = "EDGE_INFER_KIOSK=1 python -m hatchling build -t wheel"
"""Builds the application, and a wheel with it inside."""

_PACKAGED = Path(__file__).parent / "web"
_CHECKOUT = Path(__file__).parents[2] / "ports/kiosk/dist"
_PAGE = "index.html"


class KioskNotBuiltError(EdgeInferError):
    """This installation holds no built kiosk."""

    code: ClassVar[str] = "kiosk-not-built"


def find_app() -> Path:
    """The folder of the built application: inside the installed package, or `ports/kiosk/dist` of a checkout.

    Raises:
        KioskNotBuiltError: it was not built; the remedy names the command.
    """
    for folder in (_PACKAGED, _CHECKOUT):
        if (folder / _PAGE).is_file():
            return folder
    if (_CHECKOUT.parent / "package.json").is_file():
        raise KioskNotBuiltError(
            "The kiosk of this checkout was not built.",
            f"Run `{BUILD_APP}` in the checkout; it needs Node 20 or newer.",
        )
    raise KioskNotBuiltError(
        "This installation of edge-infer has no kiosk inside.",
        f"Build a wheel that has it, in a checkout with Node 20 or newer: `{BUILD_WHEEL}`.",
    )
