"""How many threads this process may use, by affinity and cgroup quota; and work that several of them share in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_threads() -> int:
    """Processors that this process may use: the smaller of its CPU affinity and its cgroup quota, at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    return max(1, affinity if quota is None else min(affinity, int(quota)))


def in_order(work: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """`work` of each item in the items' order, done by so many threads; with one worker, in this thread.

    Items are taken by the thread that asks for results. At most `workers + 1` of them are under way or waiting to be
    asked for, so memory stays flat however slow the reader is.

    Raises:
        Exception: what `work` or the items raise, in the place of that item's result; nothing is begun after it.
    """
    if workers == 1:
        yield from map(work, items)
        return
    # Imported here: it takes a start of several milliseconds, and a single picture does without.
    from concurrent.futures import Future, ThreadPoolExecutor

    source = iter(items)
    waiting: deque[Future[Result]] = deque()
    failure: BaseException | None = None
    with ThreadPoolExecutor(workers, thread_name_prefix="diagnose") as pool:
        try:
            while True:
                while failure is None and source is not None and len(waiting) <= workers:
                    try:
                        waiting.append(pool.submit(work, next(source)))
                    except StopIteration:
                        source = None  # type: ignore[assignment]
                    except BaseException as error:
                        failure = error
                if not waiting:
                    break
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    if failure is not None:
        raise failure


def _cgroup_quota(membership: Path, root: Path) -> float | None:
    """Smallest CPU quota from this process's cgroup up to the root, in processors; None where there is none."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    quotas = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        unified = controllers == ""
        if not unified and "cpu" not in controllers.split(","):
            continue
        base = root if unified else root / controllers
        folder = base / group.lstrip("/")
        for level in (folder, *folder.parents):
            quotas.append(_quota_at(level))
            if level == base:
                break
        # In a container the group's path may not exist below the mount; the mount itself is then the group.
        quotas.append(_quota_at(base))
    found = [quota for quota in quotas if quota is not None]
    return min(found, default=None)


def _quota_at(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        return float(quota) / float(period) if quota not in ("max", "-1") else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
