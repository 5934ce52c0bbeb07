"""Plots as inline SVG: no library, no script, text stays text. Colours come from the page's style sheet (`--c0` to)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH = 880
_LEFT, _RIGHT, _TOP, _ROW = 300, 40, 12, 30
COLOURS = 8


@dataclass(frozen=True)
class Bars:
    """One stacked bar: a name and its parts in the order of the legend."""

    name: str
    parts: tuple[float, ...]


def distributions(series: Sequence[tuple[str, Sequence[float]]], unit: str) -> str:
    """Every sample as a tick on a logarithmic axis, with a box from the 25th to the 75th percentile and the median."""
    low = min(min(values) for _, values in series)
    high = max(max(values) for _, values in series)
    axis = _LogAxis(low, high)
    height = _TOP + _ROW * len(series) + 40
    body = [axis.draw(height - 40, unit)]
    for i, (name, values) in enumerate(series):
        y = _TOP + _ROW * i + _ROW / 2
        ordered = np.sort(np.asarray(values, np.float64))
        q1, middle, q3 = (axis.at(float(np.quantile(ordered, share))) for share in (0.25, 0.5, 0.75))
        ticks = "".join(f"M{axis.at(float(value)):.1f} {y - 9:.1f}v18" for value in ordered)
        body.append(_label(name, y))
        body.append(f'<path d="{ticks}" class="ticks" style="stroke:var(--c{i % COLOURS})"/>')
        body.append(
            f'<rect x="{q1:.1f}" y="{y - 6:.1f}" width="{max(q3 - q1, 1):.1f}" height="12" class="box" '
            f'style="stroke:var(--c{i % COLOURS})"/>'
        )
        median_text = f"{name}: median {np.median(ordered):.3g} {unit}, {len(ordered)} runs"
        body.append(
            f'<path d="M{middle:.1f} {y - 11:.1f}v22" class="median"><title>{escape(median_text)}</title></path>'
        )
    return _svg(height, body, f"Distribution of {unit}, one row for each configuration")


def stacked_bars(legend: Sequence[str], bars: Sequence[Bars], unit: str) -> str:
    """Horizontal stacked bars on a linear axis."""
    axis = _LinearAxis(0.0, max(sum(bar.parts) for bar in bars))
    height = _TOP + _ROW * len(bars) + 66
    body = [axis.draw(height - 66, unit)]
    for i, bar in enumerate(bars):
        y, start = _TOP + _ROW * i + 5, 0.0
        body.append(_label(bar.name, y + _ROW / 2 - 5))
        for j, part in enumerate(bar.parts):
            x, width = axis.at(start), axis.at(start + part) - axis.at(start)
            text = escape(f"{bar.name}, {legend[j]}: {part:.3g} {unit}")
            body.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{_ROW - 10}" '
                f'style="fill:var(--c{j % COLOURS})"><title>{text}</title></rect>'
            )
            start += part
    body.append(_legend(legend, height - 18))
    return _svg(height, body, f"Stages in {unit}, one bar for each configuration")


def scatter(points: Sequence[tuple[str, float, float]], x_name: str, y_name: str) -> str:
    """Named points; x is logarithmic, y stays within 0..1 where all values do.

    The names stand beside the points and in a legend that never overlaps.
    """
    axis = _LogAxis(min(p[1] for p in points), max(p[1] for p in points), left=80)
    low, high = min(p[2] for p in points), max(p[2] for p in points)
    margin = (high - low) * 0.1 or max(abs(high) * 0.1, 1e-6)
    low = low - margin if low < 0 else max(low - margin, 0.0)
    high = high + margin if high > 1 else min(high + margin, 1.0)
    plot, row = 260, 18
    height = plot + 60 + row * len(points)
    body = [axis.draw(plot, x_name), f'<text x="80" y="10" class="axis">{escape(y_name)}</text>']
    body += _levels(plot, low, high, 4)
    for i, (name, x, y) in enumerate(points):
        place = plot - (plot - 20) * (y - low) / (high - low)
        text = f"{name}: {x:.3g} {x_name}, {y:.4g} {y_name}"
        colour = f'style="fill:var(--c{i % COLOURS})"'
        body.append(
            f'<circle cx="{axis.at(x):.1f}" cy="{place:.1f}" r="7" {colour}><title>{escape(text)}</title></circle>'
        )
        body.append(
            f'<text x="{axis.at(x):.1f}" y="{place + 3.5:.1f}" class="number" text-anchor="middle">{i + 1}</text>'
        )
        line = plot + 58 + row * i
        body.append(f'<circle cx="88" cy="{line - 4}" r="7" {colour}/>')
        body.append(f'<text x="88" y="{line - 0.5}" class="number" text-anchor="middle">{i + 1}</text>')
        body.append(f'<text x="102" y="{line}" class="label">{escape(text)}</text>')
    return _svg(height, body, f"{y_name} over {x_name}")


def curves(series: Sequence[tuple[str, Sequence[float], Sequence[float]]], x_name: str, y_name: str) -> str:
    """Lines over time, from zero."""
    axis = _LinearAxis(0.0, max(max(x) for _, x, _ in series), left=80)
    high = max(max(y) for _, _, y in series) * 1.1
    plot, row = 240, 18
    height = plot + 56 + row * len(series)
    body = [axis.draw(plot, x_name), f'<text x="80" y="10" class="axis">{escape(y_name)}</text>']
    body += _levels(plot, 0.0, high, 3)
    for i, (name, xs, ys) in enumerate(series):
        places = " ".join(f"{axis.at(x):.1f},{plot - (plot - 20) * y / high:.1f}" for x, y in zip(xs, ys, strict=True))
        body.append(f'<polyline points="{places}" class="line" style="stroke:var(--c{i % COLOURS})"/>')
        line = plot + 54 + row * i
        body.append(f'<rect x="80" y="{line - 9}" width="16" height="10" style="fill:var(--c{i % COLOURS})"/>')
        body.append(f'<text x="102" y="{line}" class="label">{escape(name)}</text>')
    return _svg(height, body, f"{y_name} over {x_name}")


class _LinearAxis:
    def __init__(self, low: float, high: float, left: int = _LEFT) -> None:
        self._left, self._low, self._high = left, low, high if high > low else low + 1

    def at(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low)
        return self._left + share * (WIDTH - self._left - _RIGHT)

    def ticks(self) -> list[float]:
        rough = (self._high - self._low) / 6
        step = 10 ** math.floor(math.log10(rough))
        step *= next(factor for factor in (1, 2, 5, 10) if factor * step >= rough)
        return [self._low + i * step for i in range(int((self._high - self._low) / step + 1e-9) + 1)]

    def draw(self, y: float, name: str) -> str:
        parts = []
        for value in self.ticks():
            x = self.at(value)
            parts.append(f'<path d="M{x:.1f} {_TOP}V{y:.1f}" class="grid"/>')
            parts.append(f'<text x="{x:.1f}" y="{y + 15:.1f}" class="axis" text-anchor="middle">{value:.3g}</text>')
        middle = (self._left + WIDTH - _RIGHT) / 2
        parts.append(f'<text x="{middle:.0f}" y="{y + 32:.1f}" class="axis" text-anchor="middle">{escape(name)}</text>')
        return "".join(parts)


class _LogAxis(_LinearAxis):
    def __init__(self, low: float, high: float, left: int = _LEFT) -> None:
        low, high = max(low, 1e-9), max(high, 1e-9)
        super().__init__(math.log10(low) - 0.03, math.log10(high) + 0.03, left)

    def at(self, value: float) -> float:
        return super().at(math.log10(max(value, 1e-9)))

    def ticks(self) -> list[float]:
        powers = range(math.floor(self._low), math.ceil(self._high) + 1)
        for factors in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
            found = [f * 10.0**p for p in powers for f in factors if self._low <= math.log10(f * 10.0**p) <= self._high]
            if len(found) >= 3:
                return found
        return found or [10**self._low, 10**self._high]


def _levels(plot: float, low: float, high: float, digits: int) -> list[str]:
    """Five level lines from `low` at the bottom to `high`, with their values."""
    parts = []
    for step in range(5):
        value = low + (high - low) * step / 4
        y = plot - (plot - 20) * step / 4
        parts.append(f'<path d="M80 {y:.1f}H{WIDTH - _RIGHT}" class="grid"/>')
        parts.append(f'<text x="74" y="{y + 4:.1f}" class="axis" text-anchor="end">{value:.{digits}g}</text>')
    return parts


def _label(name: str, y: float) -> str:
    return f'<text x="{_LEFT - 10}" y="{y + 4:.1f}" class="label" text-anchor="end">{escape(name)}</text>'


def _legend(names: Sequence[str], y: float) -> str:
    parts, x = [], _LEFT
    for i, name in enumerate(names):
        parts.append(f'<rect x="{x}" y="{y - 9}" width="12" height="10" style="fill:var(--c{i % COLOURS})"/>')
        parts.append(f'<text x="{x + 16}" y="{y}" class="label">{escape(name)}</text>')
        x += 30 + 7 * len(name)
    return "".join(parts)


def _svg(height: float, body: Sequence[str], title: str) -> str:
    inside = "".join(body)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg">{inside}</svg>'
    )
