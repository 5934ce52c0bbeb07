"""The sample service in Node, started here and asked over HTTP."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge_infer.errors import EdgeInferError

PORT = Path(__file__).parents[2] / "ports/js"
SERVICE = PORT / "examples/node-service/service.mjs"


class NodeServiceError(EdgeInferError):
    """The service cannot be started."""

    code = "node-service"


def missing() -> str | None:
    """What must be installed first, in words; None where everything is there."""
    if shutil.which("node") is None:
        return "Node 20 is not installed"
    if not (PORT / "node_modules").is_dir():
        return "run `npm ci` in ports/js first"
    return None


@contextmanager
def serving(bundle: Path, *arguments: str) -> Iterator[str]:
    """The service's address, for as long as it is needed; the JavaScript core is built first.

    Raises:
        NodeServiceError: Node or its packages are absent, or the service does not start.
    """
    absent = missing()
    if absent is not None:
        raise NodeServiceError(f"There is no Node service: {absent}.", "See ports/js/README.md.")
    subprocess.run(["node", "node_modules/typescript/bin/tsc"], cwd=PORT, check=True, capture_output=True)
    command = ["node", str(SERVICE), str(bundle.resolve()), "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout and process.stderr
            address = process.stdout.readline().strip()
            if not address:
                raise NodeServiceError(f"It ended: {process.stderr.read()[-2000:]}", "Check the bundle.")
            yield address
        finally:
            process.terminate()


def ask(address: str, picture: bytes) -> tuple[int, dict[str, Any]]:
    """The status and the JSON that the service answers with."""
    request = urllib.request.Request(address, picture, {"content-type": "application/octet-stream"})
    try:
        with urllib.request.urlopen(request, timeout=300) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
