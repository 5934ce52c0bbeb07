"""Tools that ports need and a bare checkout lacks: absent, their tests skip and say why."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

REQUIRE = "EDGE_INFER_REQUIRE_PORTS"


def unproven(reason: str) -> NoReturn:
    """Skips, or fails where EDGE_INFER_REQUIRE_PORTS=1 says that the tools must be there."""
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(f"{reason} ({REQUIRE} is set)")
    pytest.skip(reason)
