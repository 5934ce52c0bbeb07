"""The sample service in Node: the vectors over HTTP, its limits, and that it goes on after bad input."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from benchmarks.ports.node_service import ask, missing, serving
from edge_infer.bundle.store import DEFAULT_BUNDLE
from edge_infer.conformance.run import compare
from edge_infer.conformance.store import FileBytes, Vector, read_folder
from tests.conftest import REPOSITORY
from tests.ports.conftest import unproven

LIMITS = ("--max-bytes", "3000000", "--body-seconds", "1")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    absent = missing()
    if absent is not None:
        unproven("js", absent)
    with serving(REPOSITORY / "exported" / DEFAULT_BUNDLE, *LIMITS) as found:
        yield found


def files() -> list[Vector]:
    """Vectors that a service of the bundle's own prevalence can be asked: whole diagnoses, and files to be refused."""
    vectors = read_folder(REPOSITORY / "exported/conformance").vectors
    return [
        vector
        for vector in vectors
        if isinstance(vector.given.get("file"), FileBytes)
        and not {"prevalence", "max_pixels"} & set(vector.given)
        and (vector.step == "diagnose" or (vector.step == "decode" and "error" in vector.expect))
    ]


@pytest.mark.parametrize("vector", files(), ids=lambda vector: vector.name)
def test_it_passes_the_vectors(address: str, vector: Vector) -> None:
    status, answer = ask(address, vector.given["file"].data)
    if "error" in answer:
        assert status == 422 and answer["error"]["message"] and answer["error"]["remedy"]
        answer = {"error": answer["error"]["code"]}
    else:
        answer["familiarity"] = answer["quality"].get("familiarity")
    assert compare(vector, answer).failures == ()


def test_a_large_body_is_refused_and_the_next_picture_works(address: str, example_folder: Path) -> None:
    status, answer = ask(address, bytes(3_000_001))
    assert (status, answer["error"]["code"]) == (413, "image-too-large")
    status, answer = ask(address, (example_folder / "nevus-like.jpg").read_bytes())
    assert (status, answer["status"]) == (200, "ok")


def test_a_slow_body_is_refused(address: str) -> None:
    place = urlsplit(address)
    with socket.create_connection((str(place.hostname), place.port or 0), timeout=60) as line:
        line.sendall(b"POST /diagnose HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\nabc")
        response = http.client.HTTPResponse(line)
        response.begin()
        assert response.status == 408 and json.load(response)["error"]["code"] == "body-timeout"


def test_there_is_nothing_else(address: str) -> None:
    status, answer = ask(address.replace("/diagnose", "/"), b"x")
    assert (status, answer["error"]["code"]) == (404, "not-found")
