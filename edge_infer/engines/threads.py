"""How many threads this process may use: affinity and cgroup quota."""

from __future__ import annotations

import os
from pathlib import Path


def available_threads() -> int:
    """Processors that this process may use: the smaller of its CPU affinity and its cgroup quota, at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    return max(1, affinity if quota is None else min(affinity, int(quota)))


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
