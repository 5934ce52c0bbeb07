"""How many times faster one row is than another."""

from __future__ import annotations

from collections.abc import Sequence

from edge_infer.benchmark.results import Ratio, Row, Throughput
from edge_infer.benchmark.stats import Interval, ratio_of_medians, ratio_of_rates


def ratios_of(rows: Sequence[Row], baseline: str) -> tuple[Ratio, ...]:
    """Every row against the baseline with as many threads, and against itself with one thread."""
    found = []
    for row in rows:
        for other in rows:
            same_threads = other.target == baseline and other.threads == row.threads and other.target != row.target
            scaling = other.target == row.target and other.threads == 1 and row.threads > 1
            if same_threads or scaling:
                found += compare(row, other)
    return tuple(found)


def compare(row: Row, base: Row) -> list[Ratio]:
    """How many times faster `row` is than `base`: medians of wall and CPU time, and Offline for each batch size."""

    def ratio(measure: str, interval: Interval | None, withheld: str) -> Ratio:
        return Ratio(measure, row.target, row.threads, base.target, base.threads, interval, withheld)

    bad = [item for item in (row, base) if item.status != "ok"]
    if bad:
        words = {"failed": "failed", "outside_gate": "is outside its accuracy gate"}
        return [ratio("SingleStream p50", None, f"{bad[0].target} {words[bad[0].status]}")]
    found = []
    if row.single and base.single:
        interval = ratio_of_medians(base.single.wall_ms, base.single.rounds, row.single.wall_ms, row.single.rounds)
        found.append(ratio("SingleStream p50", interval, "" if interval else "too few rotations"))
        # CPU time hardly depends on who else is running; at one thread it is the wall time of a quiet machine.
        interval = ratio_of_medians(base.single.cpu_ms, base.single.rounds, row.single.cpu_ms, row.single.rounds)
        if interval and row.threads == base.threads == 1:
            found.append(ratio("SingleStream CPU time p50", interval, ""))
    if row.multi and base.multi:
        interval = ratio_of_medians(base.multi.wall_ms, base.multi.rounds, row.multi.wall_ms, row.multi.rounds)
        measure = f"MultiStream of {row.multi.size} p50"
        found.append(ratio(measure, interval, "" if interval else "too few rotations"))
    for part in row.offline:
        for other in base.offline:
            if part.batch_size == other.batch_size and part.workers == other.workers == 1:
                interval = ratio_of_rates(_rates(other), _rates(part))
                measure = f"Offline, batch {part.batch_size}"
                found.append(ratio(measure, interval, "" if interval else "too few rotations"))
    return found


def _rates(part: Throughput) -> list[float]:
    return [count / seconds for count, seconds in zip(part.segment_pictures, part.segment_seconds, strict=True)]
