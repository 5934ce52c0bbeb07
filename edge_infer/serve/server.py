"""Runs the application until it is told to stop, and lets requests under way finish."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from edge_infer.diagnoser import Diagnoser
from edge_infer.extras import need
from edge_infer.serve.application import create_application
from edge_infer.serve.settings import Settings, check_access


def serve(diagnoser: Diagnoser, settings: Settings) -> None:
    """Serves until SIGTERM or Ctrl-C: then no request is taken any more, and those under way are answered.

    Raises:
        InputError: others can reach the address, and there is no token.
        ExtraNotInstalledError: the libraries of the extra [serve] are absent.
        SystemExit: 0 after SIGTERM; 1 where the address cannot be bound.
    """
    check_access(settings)
    uvicorn = need("uvicorn", "serve")
    config = uvicorn.Config(
        create_application(diagnoser, settings),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_level="warning",
        limit_concurrency=settings.connections,
        timeout_graceful_shutdown=max(round(settings.stop_seconds), 1),
        server_header=False,
    )
    signal.signal(signal.SIGTERM, _leave)
    server = uvicorn.Server(config)
    server.run()
    if not server.started:
        sys.exit(1)


def _leave(number: int, frame: FrameType | None) -> None:
    """uvicorn raises the signal again once it has stopped; a service that was asked to stop has not failed."""
    sys.exit(0)
