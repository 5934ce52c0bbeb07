"""Tools that ports need and a bare checkout lacks: absent, their tests skip and say why."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

REQUIRE = "EDGE_INFER_REQUIRE_PORTS"


def is_required(port: str) -> bool:
    """Whether the port's tools must be there: the variable is 1 for every port, or names some, such as `js,kotlin`."""
    said = os.environ.get(REQUIRE, "")
    return said == "1" or port in said.split(",")


def unproven(port: str, reason: str) -> NoReturn:
    """Skips, or fails where the port's tools must be there."""
    if is_required(port):
        pytest.fail(f"{reason} ({REQUIRE} asks for {port})")
    pytest.skip(reason)
