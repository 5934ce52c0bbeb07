"""What bounds the service, and who may use it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from edge_infer.errors import InputError

SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class Settings:
    """Limits of the service; every one has an answer of its own where it is reached.

    Attributes:
        host, port: to bind to.
        token: that a request must carry as `Authorization: Bearer ...`; None for everybody, on loopback alone.
        workers: diagnoses at the same time, a thread each.
        queue: further requests that may wait; the next one is answered 429.
        max_bytes: of a picture's file; more is answered 413.
        body_seconds: for a picture to arrive; longer is answered 408.
        wait_seconds: for a worker to become free; longer is answered 503.
        stop_seconds: for requests under way when the service is stopped.
        connections: open at the same time; further ones are answered 503 without a word.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    workers: int = 1
    queue: int = 8
    max_bytes: int = 20_000_000
    body_seconds: float = 30.0
    wait_seconds: float = 10.0
    stop_seconds: float = 30.0
    connections: int = 1000

    @property
    def held(self) -> int:
        """Pictures that are in memory at the same time at most."""
        return self.workers + self.queue


def check_access(settings: Settings) -> None:
    """A service that others can reach needs a token.

    Raises:
        InputError: there is none, or it is too short.
    """
    if settings.token is None and not is_loopback(settings.host):
        raise InputError(
            f"'{settings.host}' can be reached by other machines, and there is no token.",
            "Put a random one into a file and give it with --token-file, or bind to 127.0.0.1.",
        )
    if settings.token is not None and len(settings.token) < SHORTEST_TOKEN:
        raise InputError(
            f"The token has {len(settings.token)} characters; it needs at least {SHORTEST_TOKEN}.",
            "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach this address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
