"""Results for programs: a JSON array, or one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from edge_infer.diagnosis import Diagnosis
from edge_infer.files import write_stream
from edge_infer.output.sink import SAVED_KINDS, Result, Run


class JsonSink:
    """One array of all results, written at the end; nothing where results are missing."""

    def __init__(self, stream: TextIO) -> None:
        """Writes to `stream`, which stays open."""
        self._stream = stream
        self._records: list[dict[str, Any]] = []

    def open(self, run: Run) -> None:
        """See `Sink.open`."""

    def add(self, result: Result) -> None:
        """See `Sink.add`."""
        self._records.append(to_record(result.diagnosis, result.saved))

    def close(self, complete: bool) -> None:
        """See `Sink.close`."""
        if complete:
            write_stream(self._stream, to_json(self._records))


class NdjsonSink:
    """One object a line, each as soon as it is known."""

    def __init__(self, stream: TextIO) -> None:
        """Writes to `stream`, which stays open."""
        self._stream = stream

    def open(self, run: Run) -> None:
        """See `Sink.open`."""

    def add(self, result: Result) -> None:
        """See `Sink.add`."""
        write_stream(self._stream, to_ndjson(to_record(result.diagnosis, result.saved)))

    def close(self, complete: bool) -> None:
        """See `Sink.close`."""


def to_record(diagnosis: Diagnosis, saved: Mapping[str, str]) -> dict[str, Any]:
    """JSON-ready values: `Diagnosis.to_dict()` and, under "saved", the files written for this picture by kind."""
    return {**diagnosis.to_dict(), "saved": {kind: saved.get(kind) for kind in SAVED_KINDS}}


def to_json(records: Sequence[Mapping[str, Any]]) -> str:
    """All results as one JSON array, with a final newline; ASCII, so that any terminal and file name is safe."""
    return json.dumps(list(records), indent=2, allow_nan=False) + "\n"


def to_ndjson(record: Mapping[str, Any]) -> str:
    """One result as one line of JSON, with its newline."""
    return json.dumps(record, allow_nan=False) + "\n"
