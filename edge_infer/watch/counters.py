"""What a watched folder's process tells others: a health file in JSON, and counters in Prometheus's text format.

Both are replaced as a whole, so that a reader never sees half of one. The counters are those of this process; a node
exporter's textfile collector reads them.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path

from edge_infer import __version__
from edge_infer.bundle.store import Bundle
from edge_infer.diagnosis import Diagnosis
from edge_infer.files import PRIVATE, write_atomically

_HELP = {
    "edge_infer_pictures_total": "Pictures diagnosed by this process, by status.",
    "edge_infer_picture_errors_total": "Pictures that could not be used, by error.",
    "edge_infer_seconds_total": "Seconds spent on diagnoses.",
    "edge_infer_scan_errors_total": "Times that the watched folder could not be listed.",
    "edge_infer_waiting": "Files in the folder that are still being written.",
    "edge_infer_last_picture_timestamp_seconds": "When the last line was written.",
    "edge_infer_start_timestamp_seconds": "When this process started.",
}


class Counters:
    """Counts, and writes both files where they were asked for."""

    def __init__(self, bundle: Bundle, folder: Path, health: Path | None, metrics: Path | None) -> None:
        """`health` and `metrics` are the files; None writes none."""
        self._bundle, self._folder, self._health, self._metrics = bundle, folder, health, metrics
        self.started, self.last, self.seconds = time.time(), 0.0, 0.0
        self.by_status: Counter[str] = Counter({"ok": 0, "indeterminate": 0, "error": 0})
        self.by_error: Counter[str] = Counter()
        self.scan_errors = self.waiting = 0

    def add(self, diagnosis: Diagnosis, seconds: float) -> None:
        """Counts one picture."""
        self.by_status[diagnosis.status] += 1
        if diagnosis.error is not None:
            self.by_error[diagnosis.error.code] += 1
        self.seconds += seconds
        self.last = time.time()

    def write(self, state: str) -> None:
        """Writes both files; `state` is "watching", "stopped" or what went wrong.

        Raises:
            OutputError: one cannot be written.
        """
        if self._health is not None:
            facts = {
                "state": state,
                "pid": os.getpid(),
                "version": __version__,
                "bundle": self._bundle.manifest.name,
                "bundle_version": self._bundle.manifest.version,
                "bundle_sha256": self._bundle.sha256,
                "folder": str(self._folder),
                "started": self.started,
                "written": time.time(),
                "last_picture": self.last or None,
                "waiting": self.waiting,
                "pictures": dict(self.by_status),
            }
            write_atomically(self._health, (json.dumps(facts, indent=2) + "\n").encode("ascii"), mode=PRIVATE)
        if self._metrics is not None:
            write_atomically(self._metrics, self.text().encode("ascii"), mode=0o644)

    def text(self) -> str:
        """The counters in Prometheus's text format, version 0.0.4; no name or path of a picture is in it."""
        values: dict[str, dict[str, float]] = {
            "edge_infer_pictures_total": {f'{{status="{name}"}}': n for name, n in sorted(self.by_status.items())},
            "edge_infer_picture_errors_total": {f'{{error="{name}"}}': n for name, n in sorted(self.by_error.items())},
            "edge_infer_seconds_total": {"": round(self.seconds, 6)},
            "edge_infer_scan_errors_total": {"": self.scan_errors},
            "edge_infer_waiting": {"": self.waiting},
            "edge_infer_last_picture_timestamp_seconds": {"": self.last},
            "edge_infer_start_timestamp_seconds": {"": self.started},
        }
        lines = []
        for name, samples in values.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{labels} {value}" for labels, value in samples.items()]
        return "\n".join(lines) + "\n"
