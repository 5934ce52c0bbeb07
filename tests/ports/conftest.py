"""Tools that ports need and a bare checkout lacks: absent, their tests skip and say why."""

from __future__ import annotations

from tests.support.required import is_required, unproven

__all__ = ["is_required", "unproven"]
