"""Markdown, CSV and one self-contained HTML page from result files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from statistics import median
from textwrap import shorten

import numpy as np

from benchmarks.compare import COLUMNS, Loaded, Record, accuracy_of, caveats, records
from benchmarks.plots import Bars, curves, distributions, scatter, stacked_bars
from edge_infer.benchmark.figures import figures_of
from edge_infer.benchmark.results import STAGES, Ratio, Row
from edge_infer.benchmark.table import interval
from edge_infer.files import write_atomically

_SHOWN = {
    "device": "device",
    "target": "target",
    "threads": "threads",
    "status": "status",
    "p50_ms": "p50 ms",
    "p90_ms": "p90 ms",
    "p99_ms": "p99 ms",
    "cpu_ms": "CPU ms",
    "multi_p50_ms": "8 at once, p50 ms",
    "offline_per_second": "Offline, pictures/s",
    "sustained_last_over_first": "sustained, last/first",
    "cold_ms": "cold process ms",
    "load_ms": "load ms",
    "first_ms": "first run ms",
    "peak_memory_mb": "peak MB",
    "share_of_float32_peak": "of float32 peak",
    "share_of_int8_peak": "of int8 peak",
    "max_probability_change": "golden max |Δp|",
    "dice": "Dice",
    "auc": "AUC",
    "flipped": "flipped",
    "placement": "ran on (measured)",
    "planned": "planned by Core ML",
    "runs": "runs",
}
NONE = "-"
_SHARES = {"share_of_float32_peak", "share_of_int8_peak", "flipped"}


def write_report(files: Sequence[Loaded], folder: Path) -> list[Path]:
    """Writes `report.md`, `report.csv` and `report.html`.

    Raises:
        OutputError: they cannot be written there.
    """
    texts = {"report.md": markdown(files), "report.csv": csv_text(files), "report.html": html_page(files)}
    for name, text in texts.items():
        write_atomically(folder / name, text.encode())
    return [folder / name for name in texts]


def csv_text(files: Sequence[Loaded]) -> str:
    """One line a device and target, all columns, empty where there is no figure."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(record) for record in records(files))
    return stream.getvalue()


def markdown(files: Sequence[Loaded]) -> str:
    """Devices, the main table, ratios, failed rows and caveats."""
    found = records(files)
    columns = _columns(found)
    lines = ["# Benchmark report", "", "## Devices", ""]
    lines += _markdown_table(["device", "file", "system", "processor", "bundle", "measured"], _device_rows(files))
    lines += ["", "## Results", ""]
    lines += _markdown_table([_SHOWN[c] for c in columns], [[cell(record, c) for c in columns] for record in found])
    ratios = _ratio_rows(files)
    if ratios:
        lines += ["", "## Ratios", "", "Above 1 is faster; 95 % bootstrap intervals over rotations.", ""]
        lines += _markdown_table(["device", "target", "over", "measure", "ratio"], ratios)
    bad = [record for record in found if record.why]
    if bad:
        lines += ["", "## Failed, or outside the accuracy gate", ""]
        lines += [f"- {item.device}, {item.target}, {item.threads} threads: {item.why}" for item in bad]
    lines += ["", "## Before you compare", "", *(f"- {text}" for text in [*caveats(files), *_notes(files)])]
    return "\n".join(lines) + "\n"


def html_page(files: Sequence[Loaded]) -> str:
    """The page; it needs no other file and no network."""
    found = records(files)
    columns = _columns(found)
    bad = [record for record in found if record.why]
    parts = [
        "<h1>Benchmark report</h1>",
        '<p class="lead">One row a device and target. Click a column\'s head to sort by it. Offline is the best of one '
        "caller and several that share the networks.</p>",
        "<h2>Results</h2>",
        _html_table(
            "results", [_SHOWN[c] for c in columns], [[_typed(record, c) for c in columns] for record in found]
        ),
    ]
    if bad:
        items = "".join(
            f"<li><b>{escape(item.target)}</b>, {item.threads} threads, {escape(item.device)}: {escape(item.why)}</li>"
            for item in bad
        )
        parts += ["<h2>Failed, or outside the accuracy gate</h2>", f'<ul class="bad">{items}</ul>']
    ratios = _ratio_rows(files)
    if ratios:
        head = ["device", "target", "over", "measure", "ratio"]
        rows = [[(text, _leading_number(text) if i == 4 else None) for i, text in enumerate(row)] for row in ratios]
        parts += ["<h2>Ratios</h2>", "<p>Above 1 is faster; 95 % bootstrap intervals over rotations.</p>"]
        parts.append(_html_table("ratios", head, rows))
    parts += _plots(files)
    parts += ["<h2>Devices</h2>"]
    head = ["device", "file", "system", "processor", "bundle", "measured"]
    parts.append(_html_table("devices", head, [[(text, None) for text in row] for row in _device_rows(files)]))
    texts = [*caveats(files), *_notes(files)]
    parts += ["<h2>Before you compare</h2>", "<ul>", *(f"<li>{escape(text)}</li>" for text in texts), "</ul>"]
    resources = Path(__file__).parent
    style, script = ((resources / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>edge-infer benchmark report</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{style}</style></head>\n<body><main>\n"
        + "\n".join(parts)
        + f"\n</main><script>{script}</script></body></html>\n"
    )


def cell(record: Record, column: str) -> str:
    """A figure as people read it; a dash where there is none."""
    value = getattr(record, column)
    if value is None or value == "":
        return NONE
    if column in _SHARES:
        return f"{value:.1%}"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}" if abs(value) >= 1 else f"{value:.3g}"
    return str(value)


def _columns(found: Sequence[Record]) -> list[str]:
    """The columns in which at least one record has something."""
    return [column for column in _SHOWN if any(getattr(record, column) not in (None, "") for record in found)]


def _typed(record: Record, column: str) -> tuple[str, float | None]:
    value = getattr(record, column)
    return cell(record, column), float(value) if isinstance(value, int | float) else None


def _device_rows(files: Sequence[Loaded]) -> list[list[str]]:
    return [
        [
            file.label,
            file.path.name,
            f"{file.results.machine.system}, {file.results.machine.virtualization}",
            f"{file.results.machine.processor}: {' '.join(file.results.machine.processor_features[-4:])}",
            f"{file.results.bundle.name} {file.results.bundle.sha256[:12]}",
            file.results.created,
        ]
        for file in files
    ]


def _ratio_rows(files: Sequence[Loaded]) -> list[list[str]]:
    return [
        [
            file.label,
            f"{ratio.target}, {ratio.threads} threads",
            f"{ratio.baseline}, {ratio.baseline_threads} threads",
            ratio.measure,
            _ratio_text(ratio),
        ]
        for file in files
        for ratio in file.results.ratios
    ]


def _ratio_text(ratio: Ratio) -> str:
    return interval(ratio.ratio, "{:.2f}") if ratio.ratio else f"none: {ratio.withheld}"


def _leading_number(text: str) -> float | None:
    first = text.split(" ", 1)[0]
    return float(first) if first.replace(".", "", 1).isdigit() else None


def _notes(files: Sequence[Loaded]) -> list[str]:
    notes = [f"{file.label}, {row.target}: {note}" for file in files for row in file.results.rows for note in row.notes]
    return list(dict.fromkeys(notes))


def _plots(files: Sequence[Loaded]) -> list[str]:
    several = len(files) > 1
    rows = [
        (f"{row.target}, {row.threads} thr" + (f", {shorten(file.label, 19, placeholder='…')}" if several else ""), row)
        for file in files
        for row in file.results.rows
    ]
    timed = [(name, row.single.wall_ms) for name, row in rows if row.single]
    parts: list[str] = []
    if timed:
        parts += [
            "<h2>Latency, every run</h2>",
            distributions(timed, "ms"),
            "<p>SingleStream: one picture, encoded file to diagnosis. A tick is a run, the box the middle half, "
            "the bar the median.</p>",
        ]
    parts += _accuracy_plots(rows)
    bars = [Bars(name, _stage_means(row)) for name, row in rows if row.single and row.single.stages_ms]
    if bars:
        legend = [*STAGES, "rest"]
        parts += ["<h2>Stages</h2>", stacked_bars(legend, bars, "ms a picture, mean")]
    lines = [(name, *_rate_curve(row.sustained.end_seconds)) for name, row in rows if row.sustained]
    if lines:
        parts += ["<h2>Sustained load</h2>", curves(lines, "seconds", "pictures/s")]
    return parts


def _accuracy_plots(rows: Sequence[tuple[str, Row]]) -> list[str]:
    points: dict[str, list[tuple[str, float, float]]] = {}
    for name, row in rows:
        best = figures_of(row).offline
        rate = best.pictures_per_second if best else (1000 / median(row.single.wall_ms) if row.single else None)
        accuracy = accuracy_of(row)
        if rate is not None and accuracy is not None:
            points.setdefault(accuracy[0], []).append((name, rate, accuracy[1]))
    return [
        part
        for measure, found in points.items()
        for part in ("<h2>Throughput against accuracy</h2>", scatter(found, "pictures/s", measure))
    ]


def _stage_means(row: Row) -> tuple[float, ...]:
    assert row.single is not None
    stages = [float(np.mean(row.single.stages_ms[name])) for name in STAGES]
    return (*stages, max(0.0, float(np.mean(row.single.wall_ms)) - sum(stages)))


def _rate_curve(end_seconds: Sequence[float]) -> tuple[list[float], list[float]]:
    """Pictures per second in sixty equal bins: middles of the bins, and rates."""
    counts, edges = np.histogram(end_seconds, bins=60, range=(0.0, float(end_seconds[-1])))
    width = float(edges[1] - edges[0])
    return [float(edge) + width / 2 for edge in edges[:-1]], [float(count) / width for count in counts]


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(text.replace("|", "\\|") for text in cells) + " |"

    return [line(head), line(["---"] * len(head)), *(line(row) for row in rows)]


def _html_table(name: str, head: Sequence[str], rows: Sequence[Sequence[tuple[str, float | None]]]) -> str:
    heads = "".join(
        f'<th scope="col" aria-sort="none"><button type="button">{escape(text)}</button></th>' for text in head
    )
    lines = []
    for row in rows:
        cells = "".join(
            f"<td>{escape(text)}</td>"
            if value is None
            else f'<td class="n" data-value="{value:.10g}">{escape(text)}</td>'
            for text, value in row
        )
        status = next((text for text, _ in row if text in ("failed", "outside gate")), "")
        lines.append(f'<tr class="{status.replace(" ", "-")}">{cells}</tr>' if status else f"<tr>{cells}</tr>")
    return (
        f'<div class="wide"><table id="{name}"><thead><tr>{heads}</tr></thead><tbody>'
        + "".join(lines)
        + "</tbody></table></div>"
    )
