"""Each configuration in a process of its own, so that libraries' thread pools and memory do not meet.

The parent tells one worker at a time what to do, the others wait on their pipes without using the processor.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from edge_infer.benchmark.results import Check
from edge_infer.benchmark.runners import Runner, Sample, Segment
from edge_infer.errors import EdgeInferError

_START_SECONDS = 900.0


class PeerError(EdgeInferError):
    """A peer could not be started, or failed while it ran."""

    code = "peer"


@dataclass(frozen=True)
class PeerConfig:
    """One peer with one number of threads.

    Attributes:
        peer: name in `peers.PEERS`.
        threads: of its networks.
        bundle: folder with its bundle.
        segmenter, classifier: architectures in the trainer's registry, for the PyTorch peers.
        pictures: encoded.
    """

    peer: str
    threads: int
    bundle: Path
    segmenter: str
    classifier: str
    pictures: tuple[bytes, ...]

    @property
    def name(self) -> str:
        """Unique within a run."""
        return f"{self.peer}/{self.threads}"


@dataclass(frozen=True)
class Started:
    """What a worker says once it is ready. `checks` is empty where there is nothing to compare with."""

    provider: str
    statuses: dict[str, int]
    checks: tuple[Check, ...]


Start = Callable[[PeerConfig], tuple[Runner, Started]]
"""Loads a peer, warms it up and checks it."""


class RemoteRunner:
    """A runner in another process; see `edge_infer.benchmark.runners.Runner`."""

    def __init__(self, config: PeerConfig, start: Start) -> None:
        """Starts the process and waits until it has loaded, warmed up and checked its networks.

        Args:
            config: the peer.
            start: called in the process; a function of a module, so that it can be sent there.

        Raises:
            PeerError: it could not.
        """
        context = multiprocessing.get_context("spawn")
        self.name = config.name
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, config, start), daemon=True)
        # Read by the libraries when they are imported, so it must be there before the child starts.
        saved = {key: os.environ.get(key) for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        os.environ.update(dict.fromkeys(saved, str(config.threads)))
        try:
            self._process.start()
        finally:
            for key, value in saved.items():
                if value is None:
                    del os.environ[key]
                else:
                    os.environ[key] = value
        theirs.close()
        try:
            self.started: Started = self._receive(_START_SECONDS)
        except PeerError:
            self.close()
            raise

    def query(self, first: int, size: int) -> Sample:
        """See `Runner.query`."""
        return self._ask("query", first, size)  # type: ignore[no-any-return]

    def segment(self, seconds: float, batch_size: int, workers: int) -> Segment:
        """See `Runner.segment`."""
        return self._ask("segment", seconds, batch_size, workers)  # type: ignore[no-any-return]

    def statuses(self) -> dict[str, int]:
        """See `Runner.statuses`."""
        return self.started.statuses

    def close(self) -> None:
        """Ends the process."""
        self._connection.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()

    def _ask(self, method: str, *arguments: Any) -> Any:
        try:
            self._connection.send((method, arguments))
        except OSError as error:
            raise PeerError(f"{self.name} has ended: {error}.") from error
        return self._receive(None)

    def _receive(self, seconds: float | None) -> Any:
        try:
            if not self._connection.poll(seconds):
                raise PeerError(f"{self.name} was not ready after {seconds:.0f} seconds.")
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise PeerError(f"{self.name} has ended without an answer.", "See its output above.") from error
        if isinstance(answer, str):
            raise PeerError(f"{self.name}: {answer}")
        return answer


def _serve(connection: Connection, config: PeerConfig, start: Start) -> None:
    """The child: answers with results, or with a message where something failed, until the parent is gone."""
    with contextlib.suppress(EOFError, OSError):
        try:
            runner, started = start(config)
        except Exception as error:
            connection.send(f"{type(error).__name__}: {error}")
            return
        connection.send(started)
        methods: dict[str, Callable[..., Any]] = {"query": runner.query, "segment": runner.segment}
        while True:
            method, arguments = connection.recv()
            try:
                answer = methods[method](*arguments)
            except Exception as error:
                answer = f"{type(error).__name__}: {error}"
            connection.send(answer)


def labels_json(labels: Sequence[str]) -> str:
    """A classifier's labels as its metadata holds them."""
    return json.dumps(list(labels))
