"""The way of a request to a worker thread: admitted or not, waiting not too long, running."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from edge_infer.errors import EdgeInferError

T = TypeVar("T")


class BusyError(EdgeInferError):
    """As many requests as the service holds are there already."""

    code = "busy"


class WaitedError(EdgeInferError):
    """No worker became free in time."""

    code = "waited-too-long"


class Gate:
    """Worker threads and the requests before them. Used from one event loop."""

    def __init__(self, workers: int, queue: int, wait_seconds: float) -> None:
        """See `Settings`."""
        self._free = asyncio.Semaphore(workers)
        self._most = workers + queue
        self._wait = wait_seconds
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="diagnose")
        self.held = 0

    @contextlib.contextmanager
    def admitted(self) -> Iterator[None]:
        """A place among the requests that are held.

        Raises:
            BusyError: there is none.
        """
        if self.held >= self._most:
            raise BusyError(f"{self.held} requests are here already.", "Try again in a moment.")
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1

    async def run(self, work: Callable[[], T]) -> T:
        """Runs in a worker thread, when one is free.

        A client that goes away while its picture is being diagnosed does not free the worker before it is done.

        Raises:
            WaitedError: none was free in time.
        """
        try:
            async with asyncio.timeout(self._wait):
                await self._free.acquire()
        except TimeoutError as error:
            raise WaitedError(
                f"No worker was free within {self._wait:g} seconds.",
                "Try again later, or give the service more workers.",
            ) from error
        running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        running.add_done_callback(lambda _: self._free.release())
        return await asyncio.shield(running)

    def close(self) -> None:
        """Waits for what runs."""
        self._threads.shutdown(wait=True)
