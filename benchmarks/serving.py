"""`edge-infer serve` under load: first its capacity, then requests that come at a rate of their own, answered or not.

Open arrivals (a Poisson process) are the honest load: users do not wait for each other, as the usual load generators'
virtual users do, so a service that falls behind shows it. Every request must end in an answer, 429 or 503.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import numpy as np

from edge_infer.benchmark.hardware import conditions, describe_machine
from edge_infer.benchmark.setting import Machine
from edge_infer.errors import EngineError

LOADS = (1.0, 2.0, 4.0)
FLAT = 0.02
"""Memory may grow by this share from the first load to the last."""
_START = 60.0


@dataclass(frozen=True)
class Load:
    """One rate.

    Attributes:
        load: of the capacity.
        rate: requests a second.
        sent: requests.
        codes: how many ended with which HTTP status.
        lost: that ended in no status, or in one that no limit explains.
        p50_ms, p90_ms, p99_ms: of those with an answer.
        megabytes: resident memory of the service afterwards.
    """

    load: float
    rate: float
    sent: int
    codes: dict[str, int]
    lost: int
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    megabytes: float


@dataclass(frozen=True)
class Served:
    """A load test of one service.

    Attributes:
        bundle: name and version.
        workers, queue: of the service.
        capacity: pictures a second where as many clients as the service has workers wait for their answers.
        megabytes: resident memory after that.
        loads: each rate.
        machine: what it ran on.
    """

    bundle: str
    workers: int
    queue: int
    capacity: float
    megabytes: float
    loads: tuple[Load, ...]
    machine: Machine

    @property
    def lost(self) -> int:
        """Requests without an answer."""
        return sum(load.lost for load in self.loads)

    @property
    def growth(self) -> float:
        """Memory after the last load over that after the first, less 1."""
        return self.loads[-1].megabytes / self.loads[0].megabytes - 1


def load_test(
    pictures: Sequence[bytes],
    *,
    bundle: str | None = None,
    workers: int = 1,
    queue: int = 8,
    seconds: float = 30.0,
    loads: Sequence[float] = LOADS,
    progress: Callable[[str], None] = lambda text: None,
) -> Served:
    """Starts the service on this machine, loads it, and stops it.

    Args:
        pictures: encoded, sent by turns.
        bundle: name or folder; None: the default one.
        workers, queue: of the service.
        seconds: of each load, and of the measurement of its capacity.
        loads: shares of the capacity.
        progress: gets a line for every step.

    Raises:
        EngineError: the service does not start, or ended before it was stopped.
    """
    before = conditions()
    with _service(bundle, workers, queue) as (process, url):
        known = httpx.get(f"{url}/health").json()
        asyncio.run(_closed(url, pictures, workers, min(2.0, seconds)))
        capacity = asyncio.run(_closed(url, pictures, workers, seconds))
        start = _megabytes(process.pid)
        progress(f"capacity {capacity:.1f} pictures/s, {start:.0f} MB")
        found = []
        for load in loads:
            found.append(asyncio.run(_open(url, pictures, load, load * capacity, seconds, process.pid)))
            progress(to_row(found[-1]))
            if process.poll() is not None:
                raise EngineError("The service ended under load.", "See its messages above.")
    name = f"{known['bundle']} {known['bundle_version']}"
    machine = describe_machine(before, conditions())
    return Served(name, workers, queue, capacity, start, tuple(found), machine)


def to_json(result: Served) -> str:
    """As it is stored."""
    return json.dumps(asdict(result), indent=1) + "\n"


HEAD = (
    "| load | requests/s | sent | answered | 429 | 503 | lost | p50 ms | p90 ms | p99 ms | MB |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def to_row(load: Load) -> str:
    """One row of the table under `HEAD`."""
    codes = [load.codes.get(code, 0) for code in ("200", "429", "503")]
    times = ["-" if value is None else f"{value:.0f}" for value in (load.p50_ms, load.p90_ms, load.p99_ms)]
    cells = [f"{load.load:g}x", f"{load.rate:.1f}", load.sent, *codes, load.lost, *times, f"{load.megabytes:.0f}"]
    return "| " + " | ".join(map(str, cells)) + " |"


@contextmanager
def _service(bundle: str | None, workers: int, queue: int) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["serve", "--port", str(port), "--workers", str(workers), "--queue", str(queue)]
    words += [] if bundle is None else ["--bundle", bundle]
    process = subprocess.Popen([sys.executable, "-m", "edge_infer.cli", *words], stderr=subprocess.DEVNULL)
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + _START
    try:
        while True:
            try:
                httpx.get(f"{url}/health")
                break
            except httpx.TransportError as error:
                if process.poll() is not None or time.monotonic() > end:
                    raise EngineError("The service does not start.", "Try `edge-infer serve` yourself.") from error
                time.sleep(0.05)
        yield process, url
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_START)
        except subprocess.TimeoutExpired:
            process.kill()


async def _closed(url: str, pictures: Sequence[bytes], clients: int, seconds: float) -> float:
    """Answers a second to clients that wait for theirs."""
    end = time.perf_counter() + seconds
    done = 0

    async def client(number: int) -> None:
        nonlocal done
        while time.perf_counter() < end:
            number += clients
            answer = await http.post(f"{url}/v1/diagnose", content=pictures[number % len(pictures)])
            done += answer.status_code == 200

    async with httpx.AsyncClient(timeout=60) as http:
        start = time.perf_counter()
        await asyncio.gather(*(client(number) for number in range(clients)))
        return done / (time.perf_counter() - start)


async def _open(url: str, pictures: Sequence[bytes], load: float, rate: float, seconds: float, process: int) -> Load:
    chance = random.Random(17)
    codes: Counter[str] = Counter()
    times: list[float] = []

    async def ask(picture: bytes) -> None:
        start = time.perf_counter()
        try:
            answer = await http.post(f"{url}/v1/diagnose", content=picture)
        except httpx.HTTPError as error:
            codes[type(error).__name__] += 1
            return
        codes[str(answer.status_code)] += 1
        if answer.status_code == 200:
            times.append(1e3 * (time.perf_counter() - start))

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    async with httpx.AsyncClient(timeout=60, limits=limits) as http, asyncio.TaskGroup() as requests:
        begin = time.perf_counter()
        due, sent = 0.0, 0
        while (due := due + chance.expovariate(rate)) < seconds:
            await asyncio.sleep(max(0.0, begin + due - time.perf_counter()))
            requests.create_task(ask(pictures[sent % len(pictures)]))
            sent += 1
    p50, p90, p99 = np.percentile(times, (50, 90, 99)) if times else (None, None, None)
    lost = sent - sum(codes[code] for code in ("200", "429", "503"))
    return Load(load, rate, sent, dict(sorted(codes.items())), lost, p50, p90, p99, _megabytes(process))


def _megabytes(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
