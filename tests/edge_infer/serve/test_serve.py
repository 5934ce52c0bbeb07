"""The service: answers as the library gives them, every limit with its own status, and an end that loses nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from typer.testing import CliRunner

from edge_infer import Diagnoser
from edge_infer.cli.app import app
from edge_infer.diagnosis import Diagnosis
from edge_infer.errors import InputError
from edge_infer.serve.application import create_application, record
from edge_infer.serve.openapi import diagnosis_schema
from edge_infer.serve.settings import Settings, check_access, is_loopback
from tests.conftest import REPOSITORY

TOKEN = "0123456789abcdef"


@pytest.fixture(scope="module")
def diagnoser(toy_bundle: Path) -> Iterator[Diagnoser]:
    """With a small limit of pixels."""
    with Diagnoser.load(toy_bundle, threads=1, max_pixels=10**6) as loaded:
        yield loaded


class Held:
    """A Diagnoser whose diagnoses wait for a signal."""

    def __init__(self, diagnoser: Diagnoser) -> None:
        self._diagnoser = diagnoser
        self.go = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._diagnoser, name)

    def diagnose(self, image: Any) -> Diagnosis:
        assert self.go.wait(30)
        return self._diagnoser.diagnose(image)


def ask(diagnoser: Any, settings: Settings, use: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        transport = httpx.ASGITransport(create_application(diagnoser, settings))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await use(client)

    return asyncio.run(run())


def post(diagnoser: Any, body: bytes, settings: Settings = Settings(), **headers: str) -> httpx.Response:  # noqa: B008
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer: httpx.Response = ask(
        diagnoser, settings, lambda client: client.post("/v1/diagnose", content=body, headers=named)
    )
    return answer


def png(width: int, height: int) -> bytes:
    """The head of a PNG of this size."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))


def test_the_answer_is_the_librarys(diagnoser: Diagnoser, nevus_file: Path) -> None:
    picture = nevus_file.read_bytes()
    answer = post(diagnoser, picture, content_type="image/png")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    found, expected = answer.json(), record(diagnoser.diagnose(picture))
    assert found.pop("timings_ms").keys() == expected.pop("timings_ms").keys()
    assert found == expected


def test_a_refusal_is_an_answer(diagnoser: Diagnoser, example_folder: Path) -> None:
    answer = post(diagnoser, (example_folder / "blurred.jpg").read_bytes())
    assert (answer.status_code, answer.json()["status"], answer.json()["melanoma_probability"]) == (
        200,
        "indeterminate",
        None,
    )


def test_answers_fit_the_document(diagnoser: Diagnoser, nevus_file: Path, example_folder: Path) -> None:
    schema = diagnosis_schema(diagnoser.manifest) | {"additionalProperties": False}
    for picture in (nevus_file, example_folder / "blurred.jpg", example_folder / "no-lesion.jpg"):
        jsonschema.validate(record(diagnoser.diagnose(picture)), schema)
    described = ask(diagnoser, Settings(token=TOKEN), lambda client: client.get("/openapi.json")).json()
    assert described["paths"]["/v1/diagnose"]["post"]["security"] == [{"bearer": []}]
    page = ask(diagnoser, Settings(), lambda client: client.get("/")).text
    assert "POST /v1/diagnose" in page and "src=" not in page


@pytest.mark.parametrize(
    ("body", "headers", "code", "error"),
    [
        (b"", {}, 422, "image-decode"),
        (b"no picture at all", {}, 422, "image-decode"),
        (b"x" * 2001, {}, 413, "image-too-large"),
        (png(2000, 2000), {}, 413, "image-too-large"),
        (b"{}", {"content_type": "application/json"}, 415, "unsupported-media-type"),
        (b"x", {"content_type": "multipart/form-data; boundary=x"}, 415, "unsupported-media-type"),
    ],
)
def test_what_is_no_picture_gets_a_typed_error(
    diagnoser: Diagnoser, body: bytes, headers: dict[str, str], code: int, error: str
) -> None:
    answer = post(diagnoser, body, Settings(max_bytes=2000), **headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (code, error)
    assert answer.json()["error"]["remedy"]


def test_a_body_without_a_length_is_counted_as_it_comes(diagnoser: Diagnoser) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10**6:
            sent += 100
            yield bytes(100)

    async def use(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post("/v1/diagnose", content=endless())

    assert ask(diagnoser, Settings(max_bytes=1000), use).status_code == 413
    assert sent < 5000


def test_a_body_that_does_not_come_is_given_up(diagnoser: Diagnoser) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(5)
        yield b"x"

    async def use(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post("/v1/diagnose", content=slow())

    assert ask(diagnoser, Settings(body_seconds=0.1), use).status_code == 408


@pytest.mark.parametrize("given", [None, "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"])
def test_a_token_is_asked_for(diagnoser: Diagnoser, nevus_file: Path, given: str | None) -> None:
    headers = {} if given is None else {"authorization": given}
    settings = Settings(token=TOKEN)
    answer = post(diagnoser, nevus_file.read_bytes(), settings, **headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert post(diagnoser, nevus_file.read_bytes(), settings, authorization=f"Bearer {TOKEN}").status_code == 200
    for path, code in (("/metrics", 401), ("/health", 200)):
        assert ask(diagnoser, settings, lambda client, path=path: client.get(path)).status_code == code


def test_the_one_too_many_gets_429_and_the_others_their_answers(diagnoser: Diagnoser, nevus_file: Path) -> None:
    held = Held(diagnoser)
    picture = nevus_file.read_bytes()

    async def use(client: httpx.AsyncClient) -> tuple[list[int], httpx.Response, str]:
        first = [asyncio.create_task(client.post("/v1/diagnose", content=picture)) for _ in range(3)]
        while (await client.get("/health")).json()["held"] < 3:
            await asyncio.sleep(0.01)
        refused = await client.post("/v1/diagnose", content=picture)
        held.go.set()
        codes = [(await task).status_code for task in first]
        assert (await client.get("/health")).json()["held"] == 0
        return codes, refused, (await client.get("/metrics")).text

    codes, refused, metrics = ask(held, Settings(workers=1, queue=2), use)
    assert codes == [200, 200, 200]
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert 'edge_infer_requests_total{code="200"} 3.0' in metrics
    assert 'edge_infer_requests_total{code="429"} 1.0' in metrics
    assert 'edge_infer_diagnoses_total{status="ok"} 3.0' in metrics


def test_who_waits_too_long_gets_503_and_frees_the_place(diagnoser: Diagnoser, nevus_file: Path) -> None:
    held = Held(diagnoser)
    picture = nevus_file.read_bytes()

    async def use(client: httpx.AsyncClient) -> tuple[int, int, int]:
        first = asyncio.create_task(client.post("/v1/diagnose", content=picture))
        while (await client.get("/health")).json()["held"] < 1:
            await asyncio.sleep(0.01)
        waited = await client.post("/v1/diagnose", content=picture)
        held.go.set()
        codes = (await first).status_code, waited.status_code
        return *codes, (await client.post("/v1/diagnose", content=picture)).status_code

    assert ask(held, Settings(workers=1, queue=2, wait_seconds=0.2), use) == (200, 503, 200)


def test_others_on_the_network_need_a_token() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8", "0.0.0.0", "example.org")] == [
        *(True, True, True, True),
        *(False, False),
    ]
    with pytest.raises(InputError, match="no token"):
        check_access(Settings(host="0.0.0.0"))
    with pytest.raises(InputError, match="at least 16"):
        check_access(Settings(token="short"))
    check_access(Settings(host="0.0.0.0", token=TOKEN))
    done = CliRunner().invoke(app, ["serve", "--host", "0.0.0.0"], env={"EDGE_INFER_TOKEN": ""})
    assert done.exit_code == 2, done.output


def test_a_stop_answers_what_is_under_way_and_leaves_no_picture(
    toy_bundle: Path, nevus_file: Path, tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "edge_infer.cli", "serve", "--port", str(port), "--bundle", str(toy_bundle)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path), "HOME": str(tmp_path)}
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        base = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while True:
            try:
                assert httpx.get(f"{base}/health").json()["status"] == "ok"
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.1)
        picture = nevus_file.read_bytes()

        def slowly() -> Iterator[bytes]:
            yield picture[:100]
            process.send_signal(signal.SIGTERM)
            time.sleep(1)
            yield picture[100:]

        answer = httpx.post(f"{base}/v1/diagnose", content=slowly(), timeout=60)
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")
        assert process.wait(30) == 0
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{base}/health")
    finally:
        process.kill()
        errors = process.communicate()[1]
    assert errors.count("\n") <= 2, errors
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size and path.name != ".ses"]
    assert not [path for path in kept if ".onnxruntime" not in path.parts], "ONNX Runtime's own files are not ours"
