"""The result file as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from edge_infer.benchmark.figures import figures_of
from edge_infer.benchmark.results import STAGES, Results, Row, Throughput
from edge_infer.benchmark.stats import Interval

_STATUS = {"ok": "ok", "outside_gate": "OUTSIDE GATE", "failed": "FAILED"}


def format_results(results: Results) -> str:
    """Machine, one line per row, ratios, and every warning."""
    machine, bundle = results.machine, results.bundle
    parts = [
        f"{machine.device}: {machine.processor}, {machine.usable_processors} usable processors, {machine.system}",
        f"bundle {bundle.name} ({bundle.sha256[:12]}): {bundle.segmenter} + {bundle.classifier}"
        + (f", {bundle.gflops:.2f} GFLOP a picture" if bundle.gflops else ""),
        f"pictures: {results.pictures.count}, {'; '.join(results.pictures.sizes)} ({results.pictures.source})",
        "",
        _align(_rows(results.rows)),
    ]
    failed = [row for row in results.rows if row.status != "ok"]
    if failed:
        parts += ["", *(f"{row.target}, {row.threads} threads: {explain(row)}" for row in failed)]
    if any(row.single for row in results.rows):
        parts += ["", "Stages, median milliseconds a picture", _align(_stages(results.rows))]
    if results.ratios:
        parts += ["", "Ratios with 95 % intervals (above 1: faster)"]
        parts += [
            f"  {item.target} ({item.threads} threads) over {item.baseline} ({item.baseline_threads}), {item.measure}: "
            + (interval(item.ratio, "{:.2f}x") if item.ratio else f"none: {item.withheld}")
            for item in results.ratios
        ]
    missing = [item for item in results.available if not item.available]
    if missing:
        parts += ["", "Not available here: " + ", ".join(item.target for item in missing)]
        parts.append("(--list-targets says why)")
    notes = [f"{row.target}: {note}" for row in results.rows for note in row.notes]
    warnings = [*results.stability.warnings, *results.warnings, *dict.fromkeys(notes)]
    if warnings:
        parts += ["", *(f"! {warning}" for warning in warnings)]
    return "\n".join(parts)


def explain(row: Row) -> str:
    """Why a row is not "ok"."""
    if row.status == "failed":
        return row.error
    checks = row.accuracy.checks if row.accuracy else ()
    bad = [f"{c.measure} {_number(c.value)} is not {c.relation} {c.limit:g}" for c in checks if not c.passed]
    return "; ".join(bad)


def interval(found: Interval, form: str = "{:.2f}") -> str:
    """A figure with its interval in brackets."""
    return f"{form.format(found.value)} [{form.format(found.low)}, {form.format(found.high)}]"


def _rows(rows: Sequence[Row]) -> list[list[str]]:
    head = ["target", "threads", "status", "p50 ms", "p90", "p99", "8 at once p50", "Offline/s", "cold ms", "load ms"]
    table = [[*head, "first ms", "peak MB", "share of peak"]]
    for row in rows:
        found = figures_of(row)
        table.append(
            [
                row.target,
                str(row.threads),
                _STATUS[row.status],
                *(_number(point.value if point else None) for point in (found.p50, found.p90, found.p99)),
                _number(found.multi_p50_ms),
                _offline(found.offline),
                _number(found.cold_ms),
                _number(found.load_ms),
                _number(found.first_ms),
                _number(found.peak_memory_mb),
                " / ".join(f"{share:.0%} {kind}" for kind, share in row.attained.items()) or "-",
            ]
        )
    return table


def _offline(best: Throughput | None) -> str:
    """The highest throughput, and how many callers it took: a row of fewer threads may have had more of them."""
    if best is None:
        return "-"
    return _number(best.pictures_per_second) + (f" by {best.workers} callers" if best.workers > 1 else "")


def _stages(rows: Sequence[Row]) -> list[list[str]]:
    names = [*STAGES, "outside_networks"]
    table = [["target", "threads", *names]]
    for row in rows:
        if row.single is not None:
            stages = row.single.stages_ms
            table.append(
                [row.target, str(row.threads), *(f"{median(stages[n]):.3f}" if n in stages else "-" for n in names)]
            )
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}" if value < 1000 else f"{value:.0f}"


def _align(table: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )
