"""A finished or half finished run on one self-contained page: no scripts, nothing loaded from elsewhere, no picture."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from math import asin, sqrt
from pathlib import Path

from edge_infer.batch.parts import Tally, part_file, read_rows, tallies
from edge_infer.batch.plan import Plan, read_plan
from edge_infer.output.html import STYLE
from edge_infer.output.wording import DISCLAIMER, percent
from edge_infer.rules import OperatingPoint

BINS = 20
LEAST_CERTAIN = 50


@dataclass
class _Seen:
    probability: list[int] = field(default_factory=lambda: [0] * BINS)
    area: list[int] = field(default_factory=lambda: [0] * BINS)
    labels: Counter[str] = field(default_factory=Counter)
    nearest: list[tuple[float, str, float]] = field(default_factory=list)


def summary_page(run: Path, point: OperatingPoint) -> str:
    """The HTML text of a run's summary, from the parts that are there.

    Args:
        run: folder of the plan.
        point: the plan's operating point.

    Raises:
        InputError: there is no plan.
    """
    plan = read_plan(run)
    done = tallies(run, plan)
    tally = sum((entry for entry in done if entry is not None), Tally.empty())
    seen = _Seen()
    for index, entry in enumerate(done):
        if entry is not None:
            _look(part_file(run, index), point.threshold, seen)
    missing = sum(entry is None for entry in done)
    parts = [
        _head(plan, point, tally, missing),
        _table("Answers", ["answer", "pictures", "share"], _shares(_by_answer(tally, seen), tally.rows)),
        _table("Refusals by reason", ["reason", "pictures", "share"], _shares(tally.reason, tally.rows)),
        _table("Errors by code", ["error", "pictures", "share"], _shares(tally.error, tally.rows)),
        _chart("Probability of melanoma", seen.probability, point.threshold),
        _chart("Lesion's share of the picture", seen.area, None),
        _table(
            f"The {len(seen.nearest)} least certain pictures: nearest to the threshold",
            ["picture", "probability"],
            [[escape(source), escape(percent(p))] for _, source, p in sorted(seen.nearest, reverse=True)],
        ),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>edge-infer batch</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}{_TABLES}</style></head><body>\n'
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


_TABLES = """
h2 { margin-top: 1.5rem; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .15rem 1rem .15rem 0; }
td { overflow-wrap: anywhere; } svg { max-width: 40rem; width: 100%; } rect { fill: var(--calm); }
line { stroke: var(--alarm); stroke-width: 2; } text { font: 11px system-ui, sans-serif; fill: currentColor; }
"""


def certainty(probability: float, threshold: float) -> float:
    """Distance from the threshold after arcsin(sqrt(p)), which evens out the noise of a share."""
    return abs(asin(sqrt(probability)) - asin(sqrt(threshold)))


def _look(part: Path, threshold: float, seen: _Seen) -> None:
    for row in read_rows(part, ["source", "melanoma_probability", "label", "lesion_area_fraction"]):
        probability, area = row["melanoma_probability"], row["lesion_area_fraction"]
        if area is not None:
            seen.area[min(int(area * BINS), BINS - 1)] += 1
        if probability is None:
            continue
        seen.probability[min(int(probability * BINS), BINS - 1)] += 1
        if row["label"]:
            seen.labels[row["label"]] += 1
        item = (-certainty(probability, threshold), row["source"], probability)
        if len(seen.nearest) < LEAST_CERTAIN:
            heapq.heappush(seen.nearest, item)
        else:
            heapq.heappushpop(seen.nearest, item)


def _by_answer(tally: Tally, seen: _Seen) -> Counter[str]:
    return seen.labels + Counter(indeterminate=tally.status["indeterminate"], error=tally.status["error"])


def _head(plan: Plan, point: OperatingPoint, tally: Tally, missing: int) -> str:
    state = f"<p class='notice'>{missing} of {len(plan.partitions)} partitions are not done.</p>" if missing else ""
    return (
        f"<h1>{tally.rows} of {plan.pictures} pictures</h1>{state}\n<p class='notice'>{escape(DISCLAIMER)}</p>\n"
        f"<p>Operating point <b>{escape(point.name)}</b>: melanoma from {percent(point.threshold)} upwards.</p>\n"
        f"<p class='small'>Bundle {escape(plan.bundle_name)} {escape(plan.bundle_version)} ("
        f"{plan.bundle_sha256[:12]}), edge-infer {escape(plan.edge_infer)}, plan {plan.sha256[:12]}.</p>"
    )


def _shares(counts: Counter[str], total: int) -> list[list[str]]:
    return [[escape(name), str(count), f"{100 * count / total:.2f} %"] for name, count in counts.most_common()]


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>\n" for row in rows)
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f"<h2>{escape(title)}</h2>\n<table><tr>{names}</tr>\n{lines}</table>"


def _chart(title: str, counts: Sequence[int], mark: float | None) -> str:
    """A histogram over 0..1 as inline SVG; bars are linear in the count, which stands over each."""
    most = max(counts)
    if not most:
        return ""
    bars = "".join(
        f'<rect x="{20 + 30 * i}" y="{150 - 120 * n / most:.1f}" width="28" height="{120 * n / most:.1f}"/>'
        f'<text x="{34 + 30 * i}" y="{145 - 120 * n / most:.1f}" text-anchor="middle">{n or ""}</text>'
        for i, n in enumerate(counts)
    )
    ticks = "".join(
        f'<text x="{20 + 60 * BINS // 2 * t:.0f}" y="166" text-anchor="middle">{t:g}</text>'
        for t in (0, 0.25, 0.5, 0.75, 1)
    )
    x = None if mark is None else 20 + 30 * BINS * mark
    line = "" if x is None else f'<line x1="{x:.1f}" x2="{x:.1f}" y1="14" y2="150"/>'
    return f'<h2>{escape(title)}</h2>\n<svg viewBox="0 0 640 172" role="img">{bars}{ticks}{line}</svg>'
