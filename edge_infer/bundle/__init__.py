"""Bundles: the manifest, its strict parsing, finding and verifying one, and its golden examples."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_infer.bundle.manifest import Manifest
    from edge_infer.bundle.store import Bundle, available_bundles, find_bundle, load_bundle

__all__ = ["Bundle", "Manifest", "available_bundles", "find_bundle", "load_bundle"]

_HOME = {
    "Bundle": "edge_infer.bundle.store",
    "Manifest": "edge_infer.bundle.manifest",
    "available_bundles": "edge_infer.bundle.store",
    "find_bundle": "edge_infer.bundle.store",
    "load_bundle": "edge_infer.bundle.store",
}


def __getattr__(name: str) -> Any:
    """Loads the public names on first use, so that one part of the room can be imported without the others."""
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'edge_infer.bundle' has no attribute '{name}'")
