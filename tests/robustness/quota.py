"""A cgroup whose CPU quota can be changed while this process is in it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

PERIOD = 20_000
"""Microseconds."""
_ROOT = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def own_group() -> Iterator[Callable[[float | None], None]]:
    """Puts this process into a new group, and back at the end.

    Yields:
        What sets the group's quota, in processors; None takes it away.

    Raises:
        OSError: there is no cgroup here, or none that this process may make.
    """
    name = f"edge-infer-{os.getpid()}"
    for controller in ("cpu", "cpu,cpuacct"):
        home = _ROOT / controller
        if (home / "cpu.cfs_quota_us").exists() or (home / "cgroup.procs").exists():
            with _joined(home / name, _parent(home, controller)) as group:
                yield lambda quota: _set_old(group, quota)
            return
    with _joined(_ROOT / name, _parent(_ROOT, "")) as group:
        if not (group / "cpu.max").exists():
            raise OSError("this cgroup has no CPU controller")
        yield lambda quota: _write(group / "cpu.max", f"{'max' if quota is None else round(quota * PERIOD)} {PERIOD}")


@contextlib.contextmanager
def _joined(group: Path, before: Path) -> Iterator[Path]:
    group.mkdir()
    try:
        _write(group / "cgroup.procs", str(os.getpid()))
        try:
            yield group
        finally:
            _write(before / "cgroup.procs", str(os.getpid()))
    finally:
        group.rmdir()


def _parent(home: Path, controllers: str) -> Path:
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, names, path = line.split(":", 2)
        if set(controllers.split(",")) & set(names.split(",")):
            return home / path.lstrip("/")
    return home


def _set_old(group: Path, quota: float | None) -> None:
    _write(group / "cpu.cfs_period_us", str(PERIOD))
    _write(group / "cpu.cfs_quota_us", str(-1 if quota is None else round(quota * PERIOD)))


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
