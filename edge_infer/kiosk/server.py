"""A server for the machine it runs on: static files from memory, no state, no other address. Not for the internet."""

from __future__ import annotations

import hashlib
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from edge_infer.errors import EdgeInferError
from edge_infer.kiosk.media import content_type
from edge_infer.kiosk.site import Site

ADDRESS = "127.0.0.1"
PORT = 8490
_PAGE = "index.html"
_SECONDS = 30


class PortError(EdgeInferError):
    """The port cannot be used."""

    code: ClassVar[str] = "port-unavailable"


class KioskServer(ThreadingHTTPServer):
    """Answers GET and HEAD with the files of a `Site`, and everything else with an error.

    A path is looked up among the site's names and never on disk, so that no path can lead out of the site. Requests
    that name another host are refused: a page elsewhere cannot reach the kiosk by a name of its own.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, site: Site, port: int = PORT) -> None:
        """Takes the port; `port` 0 takes a free one.

        Raises:
            PortError: the port is taken or forbidden.
        """
        self.files = dict(site.files)
        self.headers = dict(site.headers)
        self._open: set[socket.socket] = set()
        self.etags = {path: f'"{hashlib.sha256(data).hexdigest()}"' for path, data in self.files.items()}
        try:
            super().__init__((ADDRESS, port), _Handler)
        except (OSError, OverflowError) as error:
            raise PortError(
                f"Port {port} of {ADDRESS} cannot be used: {getattr(error, 'strerror', None) or error}.",
                "Stop what uses it, or choose another with --port.",
            ) from error
        self.hosts = {f"{name}:{self.server_port}" for name in (ADDRESS, "localhost")}

    @property
    def url(self) -> str:
        """Where the kiosk is. `localhost` and not the number: browsers install applications from names."""
        return f"http://localhost:{self.server_port}/"

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection, in a thread of its own, remembered while it is open."""
        self._open.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._open.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle of an answer is no error of the server."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        """Lets go of the port and of connections that a browser keeps open: nothing is answered after the stop."""
        super().server_close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def run(self) -> None:
        """Serves until Ctrl-C or SIGTERM, lets go of the port and returns."""
        with self, _stopped_by_signals(self):
            self.serve_forever(poll_interval=0.2)


class _Handler(BaseHTTPRequestHandler):
    server: KioskServer
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"
    timeout = _SECONDS

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        if self.headers.get("Host") not in self.server.hosts:
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST, "This server answers for this machine only.")
            return
        path = unquote(urlsplit(self.path).path).removeprefix("/") or _PAGE
        data = self.server.files.get(path)
        if data is None:
            self._refuse(HTTPStatus.NOT_FOUND, "There is no such file.", body=body)
            return
        etag = self.server.etags[path]
        if self.headers.get("If-None-Match") == etag:
            self.send_response(HTTPStatus.NOT_MODIFIED)
            self._send_headers(ETag=etag)
            return
        self.send_response(HTTPStatus.OK)
        self._send_headers(**{"Content-Type": content_type(path), "Content-Length": str(len(data)), "ETag": etag})
        if body:
            self.wfile.write(data)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """An error in plain text, with the same headers: what the base class refuses by itself comes here too."""
        status = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)
        self._refuse(status, explain or message or status.phrase)

    def _refuse(self, status: HTTPStatus, text: str, *, body: bool = True) -> None:
        data = f"{text}\n".encode()
        self.close_connection = True
        self.send_response(status)
        more = {"Allow": "GET, HEAD"} if status == HTTPStatus.METHOD_NOT_ALLOWED else {}
        self._send_headers(
            **more, **{"Content-Type": content_type("txt"), "Content-Length": str(len(data)), "Connection": "close"}
        )
        if body:
            self.wfile.write(data)

    def _send_headers(self, **more: str) -> None:
        # The browser asks each time, and is told in a few bytes that nothing changed.
        for name, value in {**self.server.headers, "Cache-Control": "no-cache", **more}.items():
            self.send_header(name, value)
        self.end_headers()

    def version_string(self) -> str:
        """What calls itself the server; no versions for strangers."""
        return "edge-infer"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is written down about whoever uses the kiosk."""


@contextmanager
def _stopped_by_signals(server: KioskServer) -> Iterator[None]:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        # `shutdown` waits for the loop that this handler interrupts.
        threading.Thread(target=server.shutdown).start()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
