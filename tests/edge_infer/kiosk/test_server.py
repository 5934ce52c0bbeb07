"""The server: static files, this machine only, and a clean stop."""

from __future__ import annotations

import http.client
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from typer.testing import CliRunner

from edge_infer.bundle.store import load_bundle
from edge_infer.cli.app import app
from edge_infer.cli.guard import EXIT_BROKEN, EXIT_USAGE
from edge_infer.kiosk.server import KioskServer, PortError
from edge_infer.kiosk.site import Settings, make_site
from tests.conftest import REPOSITORY


@pytest.fixture
def server(fake_app: Path, toy_bundle: Path) -> Iterator[KioskServer]:
    kiosk = KioskServer(make_site(fake_app, load_bundle(toy_bundle), Settings()), 0)
    thread = Thread(target=kiosk.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield kiosk
    kiosk.shutdown()
    thread.join()
    kiosk.server_close()


def ask(server: KioskServer, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def raw(server: KioskServer, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
        connection.sendall(request)
        received = b""
        while part := connection.recv(65536):
            received += part
    return received


def test_files_come_with_their_type_and_the_applications_headers(server: KioskServer, toy_bundle: Path) -> None:
    for path, media, start in (
        ("/", "text/html; charset=utf-8", b"<!doctype"),
        ("/index.html?release=1", "text/html; charset=utf-8", b"<!doctype"),
        ("/assets/main.js", "text/javascript; charset=utf-8", b"// main"),
        ("/runtime.wasm", "application/wasm", b"\0asm"),
        ("/release.json", "application/json; charset=utf-8", b"{"),
        ("/bundle/segmenter.onnx", "application/octet-stream", (toy_bundle / "segmenter.onnx").read_bytes()),
    ):
        response, body = ask(server, path)
        assert response.status == 200 and body.startswith(start), path
        assert response.headers["Content-Type"] == media
        assert response.headers["X-Own"] == "yes" and response.headers["Content-Security-Policy"]
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.headers["Server"] == "edge-infer"


def test_head_and_unchanged_files_have_no_body(server: KioskServer) -> None:
    response, body = ask(server, "/", "HEAD")
    assert response.status == 200 and body == b"" and int(response.headers["Content-Length"]) > 0
    again, body = ask(server, "/", **{"If-None-Match": response.headers["ETag"]})
    assert again.status == 304 and body == b""


@pytest.mark.parametrize(
    "path",
    [
        "/../app/index.html",
        "/assets/../index.html",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc/passwd",
        "//etc/passwd",
        "/etc/passwd",
        "/assets",
        "/assets/",
        "/assets\\main.js",
        "/index.html%00.js",
        "/bundle/golden.npz",
        "/C:/Windows/win.ini",
    ],
)
def test_no_path_leads_out_of_the_site(server: KioskServer, path: str) -> None:
    received = raw(server, f"GET {path} HTTP/1.1\r\nHost: localhost:{server.server_port}\r\n\r\n".encode())
    assert received.startswith(b"HTTP/1.1 404 ")
    assert b"Content-Security-Policy" in received


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_files_can_only_be_read(server: KioskServer, method: str) -> None:
    response, _ = ask(server, "/", method)
    assert response.status == 405 and response.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "192.168.1.2", ""])
def test_another_host_is_refused(server: KioskServer, host: str) -> None:
    response, body = ask(server, "/", Host=host)
    assert response.status == 421 and b"this machine only" in body


def test_nonsense_is_refused_and_the_next_request_works(server: KioskServer) -> None:
    assert b" 400 " in raw(server, b"\x16\x03\x01\x02\x00\x01 nonsense here now\r\n\r\n").splitlines()[0]
    assert ask(server, "/")[0].status == 200


def test_who_is_silent_holds_nobody_up(server: KioskServer) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port)):
        assert ask(server, "/")[0].status == 200


def test_files_that_change_on_disk_do_not_change_what_is_served(server: KioskServer, fake_app: Path) -> None:
    before = ask(server, "/")[1]
    (fake_app / "index.html").write_text("changed")
    assert ask(server, "/")[1] == before


def test_a_connection_that_is_kept_open_gets_nothing_after_the_stop(fake_app: Path, toy_bundle: Path) -> None:
    kiosk = KioskServer(make_site(fake_app, load_bundle(toy_bundle), Settings()), 0)
    thread = Thread(target=kiosk.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    connection = http.client.HTTPConnection("127.0.0.1", kiosk.server_port, timeout=10)
    connection.request("GET", "/")
    connection.getresponse().read()
    kiosk.shutdown()
    thread.join()
    kiosk.server_close()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        connection.request("GET", "/")
        connection.getresponse()


def test_it_listens_on_this_machine_alone(server: KioskServer) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_a_typed_error(server: KioskServer, fake_app: Path, toy_bundle: Path) -> None:
    site = make_site(fake_app, load_bundle(toy_bundle), Settings())
    with pytest.raises(PortError, match=str(server.server_port)):
        KioskServer(site, server.server_port)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_command_stops_cleanly(fake_app: Path, toy_bundle: Path, stop: signal.Signals) -> None:
    code = (
        "import sys; from pathlib import Path; from edge_infer.kiosk import app\n"
        f"app._PACKAGED = Path({str(fake_app)!r})\n"
        f"sys.argv = ['edge-infer', 'kiosk', '--port', '0', '--bundle', {str(toy_bundle)!r}]\n"
        "from edge_infer.cli.app import command; command()"
    )
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    match = re.fullmatch(r"kiosk +http://localhost:(\d+)/\n", lines[0])
    assert match and "not for the internet" in lines[2]
    connection = http.client.HTTPConnection("127.0.0.1", int(match[1]), timeout=10)
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    process.send_signal(stop)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "stopped\n", "")


def test_the_command_says_how_to_build_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_PACKAGED", "_CHECKOUT"):
        monkeypatch.setattr(f"edge_infer.kiosk.app.{name}", tmp_path / "gone/dist")
    result = CliRunner().invoke(app, ["kiosk"])
    assert result.exit_code == EXIT_BROKEN
    assert "error [kiosk-not-built]" in result.stderr and "EDGE_INFER_KIOSK=1" in result.stderr
    assert CliRunner().invoke(app, ["kiosk", "--idle-seconds", "1"]).exit_code == EXIT_USAGE


def test_the_site_can_be_written_for_another_server(
    fake_app: Path, toy_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_infer.kiosk.app._PACKAGED", fake_app)
    arguments = ["kiosk", "--bundle", str(toy_bundle), "--export", str(tmp_path / "new/site")]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    site = make_site(fake_app, load_bundle(toy_bundle), Settings())
    for path, data in site.files.items():
        assert (tmp_path / "new/site" / path).read_bytes() == data
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == EXIT_USAGE and "is not empty" in result.stderr
