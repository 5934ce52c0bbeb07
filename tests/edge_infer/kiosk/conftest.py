"""An application of a few bytes in place of the built one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def fake_app(tmp_path: Path) -> Path:
    """A folder that looks like a built application."""
    folder = tmp_path / "app"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>kiosk</title>")
    (folder / "sw.js").write_text("// worker")
    (folder / "assets/main.js").write_text("// main")
    (folder / "runtime.wasm").write_bytes(b"\0asm")
    (folder / "headers.json").write_text(json.dumps({"Content-Security-Policy": "default-src 'none'", "X-Own": "yes"}))
    return folder
