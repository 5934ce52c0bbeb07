"""ABCD numbers in words, as columns and as a page's table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

from edge_infer.measurements.colours import COLOURS
from edge_infer.measurements.measure import KINDS, Measured, Measurements

RANGES = (
    "Measured, not judged. In brackets: outlines that the segmenter holds 10 to 90 % likely; its errors are not in it."
)
CUT_OFF = "The lesion reaches the picture's edge: only the part that is seen was measured."
_DECIMALS = {"share": 2, "ratio": 2, "dimension": 2, "count": 0, "px": 0, "px^2": 0, "mm": 1, "mm^2": 1}
_UNITS = {kind.name: kind.unit for kind in KINDS}


def columns() -> list[str]:
    """Names of the CSV columns, always in this order."""
    numbers = [f"{kind.name}{part}" for kind in KINDS for part in ("", "_low", "_high")]
    return [*numbers, *(f"colour_{name.replace(' ', '_').replace('-', '_')}" for name in COLOURS), "cut_off"]


def row(measurements: Measurements) -> dict[str, object]:
    """Values by the names of `columns`; what was not measured is absent."""
    values: dict[str, object] = {"cut_off": measurements.cut_off}
    for name, found in measurements.values.items():
        values |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    shares = measurements.colours.items()
    return values | {f"colour_{name.replace(' ', '_').replace('-', '_')}": share for name, share in shares}


def lines(measurements: Measurements) -> Iterator[tuple[str, str]]:
    """What a reader gets, as a heading and a text for each letter, then what the numbers are."""
    found = measurements.values
    if "asymmetry_major" in found:
        folds = " over the long axis, ", " over the short one"
        yield "asymmetry", _said("asymmetry_major", found) + folds[0] + _said("asymmetry_minor", found) + folds[1]
    if "compactness" in found:
        rough = f", fractal dimension {_said('fractal_dimension', found)}" if "fractal_dimension" in found else ""
        yield "border", f"compactness {_said('compactness', found)}, a circle has 1{rough}"
    if "colour_count" in found:
        shares = sorted(measurements.colours.items(), key=lambda item: -item[1])
        named = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares if share >= 0.01)
        yield "colours", f"{_said('colour_count', found)} of 6{f': {named}' if named else ''}"
    if "diameter_px" in found:
        scale = f", {_said('diameter_mm', found)} mm" if "diameter_mm" in found else ", no scale was given"
        yield "diameter", f"{_said('diameter_px', found)} pixels{scale}"
    yield "", RANGES + (f" {CUT_OFF}" if measurements.cut_off else "")


def table(measurements: Measurements) -> str:
    """The same as HTML."""
    *rows, (_, about) = lines(measurements)
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows)
    return f'<table class="small">{cells}</table><p class="small">{escape(about)}</p>'


def number(name: str, value: float) -> str:
    """A value with the decimals that its unit is worth."""
    return f"{value:.{_DECIMALS[_UNITS[name]]}f}"


def _said(name: str, values: Mapping[str, Measured]) -> str:
    found = values[name]
    if found.low is None or found.high is None:
        return number(name, found.value)
    return f"{number(name, found.value)} ({number(name, found.low)} to {number(name, found.high)})"
