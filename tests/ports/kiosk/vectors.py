"""Conformance vectors in a real browser: `python -m tests.ports.kiosk.vectors [BUNDLE [VECTORS [REPORT.json]]]`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from edge_infer.bundle.store import DEFAULT_BUNDLE
from edge_infer.kiosk.site import Site
from tests.conftest import REPOSITORY
from tests.ports.kiosk.conftest import KIOSK, served, start_browser

_REPLAY = """
  const done = arguments[0];
  window.replay().then((report) => done({ report }), (error) => done({ error: String(error) }));
"""
_SECONDS = 900


def replay_in_browser(bundle: Path, vectors: Path) -> dict[str, Any]:
    """The report of all vectors of a folder, from this machine's Chromium.

    Raises:
        AssertionError: the page could not replay them.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = ["node", "conformance/build.mjs", folder]
        subprocess.run(command, cwd=KIOSK, check=True, capture_output=True)
        files = _files(Path(folder)) | _files(bundle, "bundle/") | _files(vectors, "vectors/")
    with served(Site(files)) as server, start_browser() as browser:
        browser.set_script_timeout(_SECONDS)
        browser.get(server.url)
        found = browser.execute_async_script(_REPLAY)
    assert "report" in found, found
    report: dict[str, Any] = found["report"]
    return report


def _files(folder: Path, prefix: str = "") -> dict[str, bytes]:
    return {
        prefix + path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def main() -> None:
    """Prints what failed, and writes the report."""
    exported = REPOSITORY / "exported"
    given = [*map(Path, sys.argv[1:]), *(exported / DEFAULT_BUNDLE, exported / "conformance")[len(sys.argv) - 1 :]]
    report = replay_in_browser(given[0], given[1])
    failed = [vector for vector in report["vectors"] if vector["status"] != "passed"]
    for vector in failed:
        print(f"FAILED {vector['name']}: {vector['detail']}")
    print(f"{len(report['vectors']) - len(failed)} passed, {len(failed)} failed")
    if len(given) > 2:
        given[2].write_text(json.dumps(report, indent=1), encoding="utf-8")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
