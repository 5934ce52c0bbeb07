"""The figures that tables and reports show of one row, computed in one place."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from edge_infer.benchmark.results import Row, Throughput
from edge_infer.benchmark.stats import Interval


@dataclass(frozen=True)
class Figures:
    """Of one row; None where there is no figure. Times in ms, memory in MB.

    Attributes:
        p50, p90, p99: of SingleStream, each with its interval.
        cpu_ms: median CPU time of SingleStream.
        multi_p50_ms: of MultiStream.
        offline: the segment series of the highest throughput.
        cold_ms, load_ms, first_ms, peak_memory_mb: medians over the cold starts.
    """

    p50: Interval | None
    p90: Interval | None
    p99: Interval | None
    cpu_ms: float | None
    multi_p50_ms: float | None
    offline: Throughput | None
    cold_ms: float | None
    load_ms: float | None
    first_ms: float | None
    peak_memory_mb: float | None


def figures_of(row: Row) -> Figures:
    """The figures of a row; none of a failed one."""
    single = row.single.percentiles if row.single else {}
    multi = row.multi.percentiles.get("p50") if row.multi else None
    cold = row.cold
    return Figures(
        p50=single.get("p50"),
        p90=single.get("p90"),
        p99=single.get("p99"),
        cpu_ms=median(row.single.cpu_ms) if row.single else None,
        multi_p50_ms=multi.value if multi else None,
        offline=max(row.offline, key=lambda part: part.pictures_per_second, default=None),
        cold_ms=median(cold.process_ms) if cold else None,
        load_ms=median(cold.load_ms) if cold else None,
        first_ms=median(cold.first_ms) if cold else None,
        peak_memory_mb=median(cold.peak_memory_bytes) / 1e6 if cold and cold.peak_memory_bytes else None,
    )
