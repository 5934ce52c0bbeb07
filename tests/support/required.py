"""Tools that some tests need and a bare checkout lacks: absent, these skip and say why, unless they must be proven.

`.ci/run` installs what it can and names it in these variables: 1 stands for everything, or names, such as `js,kotlin`.
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

PORTS = "EDGE_INFER_REQUIRE_PORTS"
ARCHIVE = "EDGE_INFER_REQUIRE_ARCHIVE"


def is_required(part: str, variable: str = PORTS) -> bool:
    """Whether the tools of this part must be there."""
    said = os.environ.get(variable, "")
    return said == "1" or part in said.split(",")


def unproven(part: str, reason: str, variable: str = PORTS) -> NoReturn:
    """Skips, or fails where the part's tools must be there."""
    if is_required(part, variable):
        pytest.fail(f"{reason} ({variable} asks for {part})")
    pytest.skip(reason)
