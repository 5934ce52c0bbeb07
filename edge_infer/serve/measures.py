"""What the service counts, in Prometheus' format; nothing in it is about a picture or a person."""

from __future__ import annotations

from typing import Any

from edge_infer.extras import need

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Measures:
    """Counters of one service, in a registry of its own."""

    def __init__(self) -> None:
        """All at zero."""
        self._library = need("prometheus_client", "serve")
        self.registry = self._library.CollectorRegistry()
        name = "edge_infer"
        self.requests = self._counter(f"{name}_requests", "Requests to /v1/diagnose by HTTP status.", "code")
        self.answers = self._counter(f"{name}_diagnoses", "Diagnoses by status: ok or indeterminate.", "status")
        self.reasons = self._counter(f"{name}_refusals", "Indeterminate diagnoses by reason.", "reason")
        self.seconds = self._library.Histogram(
            f"{name}_request_seconds",
            "Seconds from a request to its answer, those with a diagnosis.",
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.held = self._library.Gauge(f"{name}_held", "Requests running or waiting.", registry=self.registry)

    def text(self) -> bytes:
        """The exposition format."""
        return bytes(self._library.generate_latest(self.registry))

    @property
    def content_type(self) -> str:
        """Of `text`."""
        return str(self._library.CONTENT_TYPE_LATEST)

    def _counter(self, name: str, meaning: str, label: str) -> Any:
        return self._library.Counter(name, meaning, [label], registry=self.registry)
