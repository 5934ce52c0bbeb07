"""The result file on disk: written whole, and refused where its figures do not follow from its samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_infer.benchmark.results import SCHEMA_VERSION, Results, ResultsError, percentiles_of
from edge_infer.benchmark.stats import Interval
from edge_infer.files import write_atomically
from edge_infer.schema import SchemaError, dump, parse


def write_results(path: Path, results: Results) -> None:
    """Writes the file whole or not at all.

    Raises:
        OutputError: it cannot be written there.
    """
    text = json.dumps(_rounded(dump(results)), separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, text.encode())


def read_results(path: Path) -> Results:
    """Reads and checks a result file.

    Raises:
        ResultsError: unreadable, of another schema version, or its figures do not follow from its samples.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(f"'{path}' is no readable JSON file: {error}.", "Run the benchmark again.") from error
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        raise ResultsError(
            f"'{path}' has schema version {version!r}; this version reads {SCHEMA_VERSION}.",
            "Run the benchmark again, or install the matching edge-infer.",
        )
    try:
        results = parse(Results, data)
    except SchemaError as error:
        raise ResultsError(f"'{path}': {error}.", "Run the benchmark again.") from error
    for problem in contradictions(results):
        raise ResultsError(f"'{path}': {problem}.", "The file was changed by hand; run the benchmark again.")
    return results


def contradictions(results: Results) -> list[str]:
    """Figures that do not follow from the raw samples, and rows whose status contradicts their contents."""
    found = []
    for row in results.rows:
        name = f"row {row.target} with {row.threads} threads"
        measured = (row.single, row.multi, row.sustained, row.cold, row.accuracy)
        if row.status == "failed" and (any(part is not None for part in measured) or row.offline or not row.error):
            found.append(f"{name} failed and has figures, or no error")
        if row.status == "ok" and row.accuracy is not None and not row.accuracy.passed:
            found.append(f"{name} is 'ok' outside its gate")
        for latency in (row.single, row.multi):
            if latency is None:
                continue
            lengths = {len(latency.wall_ms), len(latency.cpu_ms), len(latency.rounds)}
            lengths |= {len(values) for values in latency.stages_ms.values()}
            if len(lengths) != 1:
                found.append(f"{name} has sample lists of different lengths")
            elif not _same(percentiles_of(latency.wall_ms), latency.percentiles):
                found.append(f"{name} has percentiles that do not follow from its samples")
        for part in row.offline:
            rate = sum(part.segment_pictures) / max(sum(part.segment_seconds), 1e-9)
            if abs(rate - part.pictures_per_second) > 1e-3 * rate:
                found.append(f"{name} has a throughput that does not follow from its segments")
    for ratio in results.ratios:
        for target, threads in ((ratio.target, ratio.threads), (ratio.baseline, ratio.baseline_threads)):
            rated = results.row(target, threads)
            if ratio.ratio is not None and (rated is None or rated.status != "ok"):
                found.append(f"there is a ratio for {target}, which is not inside its gate")
    return found


def _same(a: dict[str, Interval], b: dict[str, Interval]) -> bool:
    return a.keys() == b.keys() and all(
        abs(x - y) <= 1e-3 * max(abs(x), 1e-3)
        for name in a
        for x, y in zip(
            (a[name].value, a[name].low, a[name].high), (b[name].value, b[name].low, b[name].high), strict=True
        )
    )


def _rounded(value: Any) -> Any:
    """Six significant digits are more than any clock here is worth."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value
