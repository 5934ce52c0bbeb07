"""The JavaScript core in a real browser, with its decoder and ONNX Runtime Web, passes the conformance vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_infer.bundle.store import DEFAULT_BUNDLE
from tests.conftest import REPOSITORY
from tests.ports.kiosk.vectors import replay_in_browser


def test_every_vector_passes(kiosk_app: Path, open_browser: Callable[..., Any]) -> None:
    report = replay_in_browser(REPOSITORY / "exported" / DEFAULT_BUNDLE, REPOSITORY / "exported/conformance")
    failed = {vector["name"]: vector["detail"] for vector in report["vectors"] if vector["status"] != "passed"}
    assert not failed
