"""Figures as PNG files, drawn from stored predictions: ROC curves, reliability, coverage against error, subgroups.

Each function draws one figure, and the file carries the numbers that it shows as JSON in its metadata
(`figure_data` reads them), so that a figure can be checked against the predictions although another version of
matplotlib would set other pixels. Files hold no date and no version: the same numbers on the same version of matplotlib
give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from edge_infer.rules import Metric
from trainer.errors import DataError
from trainer.scoring.metrics import Bools, Floats, Roc, Weights, reliability_bins

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333")
"""Okabe and Ito's palette, told apart by colour-blind readers too."""

_GRID = np.round(np.linspace(0, 1, 401), 6)
_STYLE = {"color": "#999999", "linewidth": 0.8}
_FRONT: dict[str, Any] = {"color": "#333333", "linewidth": 1.0, "linestyle": ":"}
_TWINS: dict[str, Any] = {"color": "#aaaaaa", "linewidth": 1.6, "zorder": 0.5}
_DPI = 100
_SPOT, _NEAR, _LABEL = 6.0, 9.0, (9.5, 7.5)
"""Of numbered points: the mark's width, the number's distance from it, and the room that a number takes; in points."""


@dataclass(frozen=True)
class Answers:
    """A named set of melanoma probabilities with their truth.

    Attributes:
        name: for the legend.
        score: probability of melanoma, shape (n,).
        positive: whether the picture shows one, shape (n,).
        weights: bootstrap resamples by lesion (`trainer.scoring.metrics.lesion_weights`), shape (b, n), for 95 %
            intervals; None draws none.
    """

    name: str
    score: Floats
    positive: Bools
    weights: Weights | None = None


@dataclass(frozen=True)
class Line:
    """A named curve: y with its intervals over x, both of equal length."""

    name: str
    x: Sequence[float]
    y: Sequence[Metric]


@dataclass(frozen=True)
class Mark:
    """A named operating point in a ROC diagram, with what it gave."""

    name: str
    sensitivity: Metric
    specificity: Metric


@dataclass(frozen=True)
class ForestRow:
    """One subgroup: its attribute, its value, its size in words, and its figures (None where undefined)."""

    attribute: str
    value: str
    size: str
    figures: Mapping[str, Metric | None]


@dataclass(frozen=True)
class Spot:
    """One network in diagrams of a figure against its costs.

    Attributes:
        name: of the network.
        kind: networks of one kind share a colour.
        costs: in the diagrams' order, each above 0.
        value: the figure.
        twin: name of the spot that a line joins it to, such as the same network from other weights; "" joins none.
    """

    name: str
    kind: str
    costs: Sequence[float]
    value: Metric
    twin: str = ""


@dataclass(frozen=True)
class Dot:
    """One named figure."""

    name: str
    value: Metric


@dataclass(frozen=True)
class Dots:
    """Figures of one origin, which share a colour."""

    origin: str
    dots: Sequence[Dot]


def roc_curve_plot(
    path: Path, answers: Sequence[Answers], marks: Sequence[Mark] = (), title: str = "ROC curve, melanoma"
) -> None:
    """ROC curves with their AUC, and operating points as crosses of their 95 % intervals.

    Args:
        path: PNG file.
        answers: one curve each; the first one with weights also gets its 95 % band.
        marks: operating points.
        title: above the figure.
    """
    figure, axes = _square()
    data: dict[str, Any] = {"curves": {}, "points": {}}
    banded = next((one for one in answers if one.weights is not None), None)
    for one, colour in zip(answers, _cycle(len(answers)), strict=True):
        roc = Roc(one.score, one.positive)
        whole = np.ones((1, len(one.score)))
        curve = roc.sensitivities(whole, 1 - _GRID)[0]
        area = float(roc.auc(whole)[0])
        data["curves"][one.name] = {"auc": _plain(area), "sensitivity": _plain(curve)}
        if one is banded and one.weights is not None:
            low, high = np.nanpercentile(roc.sensitivities(one.weights, 1 - _GRID), (2.5, 97.5), axis=0)
            axes.fill_between(_GRID, low, high, step="post", color=colour, alpha=0.15, linewidth=0)
            data["curves"][one.name] |= {"low": _plain(low), "high": _plain(high)}
        axes.plot(_GRID, curve, color=colour, drawstyle="steps-post", label=f"{one.name}, AUC {area:.3f}")
    for mark, colour in zip(marks, _cycle(len(marks), len(answers)), strict=True):
        x, y = 1 - mark.specificity.value, mark.sensitivity.value
        axes.errorbar(
            [x],
            [y],
            xerr=_error(mark.specificity),
            yerr=_error(mark.sensitivity),
            fmt="o",
            color=colour,
            capsize=2,
            markersize=5,
            label=f"{mark.name}: sensitivity {y:.2f}, specificity {1 - x:.2f}",
        )
        data["points"][mark.name] = [_plain(x), _plain(y)]
    axes.plot([0, 1], [0, 1], linestyle=":", **_STYLE)
    axes.set(title=title, xlabel="false alarms: 1 - specificity", ylabel="sensitivity", xlim=(0, 1), ylim=(0, 1.005))
    axes.legend(loc="lower right", fontsize="small")
    _save(figure, path, data)


def reliability_plot(path: Path, answers: Sequence[Answers], title: str = "Reliability, melanoma") -> None:
    """Share of melanoma against predicted probability in bins of equal width, with how many pictures each bin holds.

    Args:
        path: PNG file.
        answers: one line each, such as before and after calibration; with weights, each bin gets its 95 % interval.
        title: above the figure.
    """
    figure, axes = _square(lower=True)
    upper, lower = axes
    data: dict[str, Any] = {}
    width = 1 / 15
    for i, (one, colour) in enumerate(zip(answers, _cycle(len(answers)), strict=True)):
        bins = reliability_bins(one.score, one.positive, one.weights)
        predicted = [b.predicted for b in bins]
        observed = [b.observed for b in bins]
        upper.errorbar(
            predicted,
            [m.value for m in observed],
            yerr=_errors(observed),
            fmt="o-" if i == len(answers) - 1 else "s--",
            color=colour,
            markersize=4,
            linewidth=1.2,
            elinewidth=0.8,
            capsize=2,
            label=one.name,
        )
        centres = (np.arange(15) + 0.5) * width
        shift = (i + 0.5) / len(answers) - 0.5
        counts = np.zeros(15)
        counts[[b.index for b in bins]] = [b.pictures for b in bins]
        lower.bar(centres + shift * width * 0.9, counts, width * 0.9 / len(answers), color=colour)
        data[one.name] = {
            "predicted": _plain(predicted),
            "observed": [_plain([m.value, m.low, m.high]) for m in observed],
            "pictures": [b.pictures for b in bins],
        }
    upper.plot([0, 1], [0, 1], linestyle=":", **_STYLE)
    upper.set(title=title, ylabel="share of melanoma", xlim=(0, 1), ylim=(-0.01, 1.01))
    upper.legend(loc="upper left", fontsize="small")
    lower.set(xlabel="predicted probability of melanoma", ylabel="pictures", yscale="log", ylim=(0.7, None))
    _save(figure, path, data)


def confusion_plot(path: Path, counts: NDArray[np.int64], labels: Sequence[str], title: str) -> None:
    """How often pictures of each diagnosis were called each: counts, coloured by the share of the row.

    Args:
        path: PNG file.
        counts: true class by predicted class, int64, shape (n, n).
        labels: names of the classes.
        title: above the figure.
    """
    figure, axes = _square()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.grid(visible=False)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        dark = shares[row, column] > 0.5
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color="white" if dark else "black")
    axes.set(title=title, xlabel="called", ylabel="is")
    axes.set_xticks(range(len(labels)), labels, rotation=45)
    axes.set_yticks(range(len(labels)), labels)
    _save(figure, path, {"labels": list(labels), "counts": counts.tolist()})


def coverage_plot(
    path: Path,
    panels: Mapping[str, Sequence[Line]],
    x_name: str = "share of pictures referred, least certain first",
    title: str = "Coverage against error",
) -> None:
    """What is gained when the least certain pictures are left to others: one panel a measure, one curve a line.

    Args:
        path: PNG file.
        panels: lines by the measure's name; x is the share referred, 0..1.
        x_name: below each panel.
        title: above the figure.
    """
    figure = Figure(figsize=(4.2 * len(panels), 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    data: dict[str, Any] = {}
    for axes, (measure, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for line, colour in zip(lines, _cycle(len(lines)), strict=True):
            axes.plot(line.x, [m.value for m in line.y], color=colour, label=line.name)
            low = [m.value if m.low is None else m.low for m in line.y]
            high = [m.value if m.high is None else m.high for m in line.y]
            axes.fill_between(line.x, low, high, color=colour, alpha=0.15, linewidth=0)
            data.setdefault(measure, {})[line.name] = {
                "x": _plain(line.x),
                "y": [_plain(_ends(m)) for m in line.y],
            }
        axes.set(title=measure, xlabel=x_name, xlim=(0, max(max(line.x) for line in lines)))
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.legend(fontsize="small")
    figure.suptitle(title)
    _save(figure, path, data)


def forest_plot(path: Path, rows: Sequence[ForestRow], overall: Mapping[str, Metric], title: str) -> None:
    """Figures of subgroups with their 95 % intervals, beside the figure over all as a vertical line.

    Args:
        path: PNG file.
        rows: subgroups in order; those of one attribute follow each other.
        overall: figures over all pictures: one panel each.
        title: above the figure.
    """
    names = list(overall)
    figure = Figure(figsize=(3.4 + 2.6 * len(names), 1.2 + 0.24 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    places = -np.arange(len(rows), dtype=float)
    data: dict[str, Any] = {name: {} for name in names}
    for axes, name, colour in zip(panels, names, _cycle(len(names)), strict=True):
        axes.axvline(overall[name].value, linestyle=":", **_STYLE)
        for row, y in zip(rows, places, strict=True):
            metric = row.figures.get(name)
            if metric is None:
                continue
            known = metric.low is not None
            axes.errorbar(
                [metric.value],
                [y],
                xerr=_error(metric),
                fmt="o" if known else "x",
                color=colour if known else "#999999",
                markersize=4,
                capsize=2,
                elinewidth=1,
            )
            data[name][f"{row.attribute}: {row.value}"] = _plain(_ends(metric))
        axes.set(title=name.replace("auc", "AUC"), xlim=(-0.02, 1.02))
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        for i in range(1, len(rows)):
            if rows[i].attribute != rows[i - 1].attribute:
                axes.axhline(0.5 - i, color="#cccccc", linewidth=0.8)
    panels[0].set_yticks(places, [f"{row.attribute}: {row.value} ({row.size})" for row in rows], fontsize="small")
    panels[0].set_ylim(0.6 - len(rows), 0.6)
    figure.suptitle(title)
    _save(figure, path, data)


def spot_plot(path: Path, spots: Sequence[Spot], costs: Sequence[str], measure: str, title: str) -> None:
    """A figure against each of its costs, with 95 % intervals; numbers stand for the names on the right.

    The dotted steps join the networks that no cheaper one equals; a thin line joins twins.

    Args:
        path: PNG file.
        spots: the networks; numbered from the best down.
        costs: one diagram each, on a logarithmic scale.
        measure: name of the figure.
        title: above the figure.
    """
    ranked = sorted(spots, key=lambda spot: (-spot.value.value, spot.name))
    kinds = sorted({spot.kind for spot in spots})
    colours = dict(zip(kinds, _cycle(len(kinds)), strict=True))
    figure = Figure(figsize=(3.6 * len(costs) + 3.2, max(5.2, 0.9 + 0.19 * len(ranked))), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
    known = {spot.name: spot for spot in ranked}
    for column, (axes, cost) in enumerate(zip(panels, costs, strict=True)):
        for spot in ranked:
            at, colour = spot.costs[column], colours[spot.kind]
            axes.errorbar([at], [spot.value.value], yerr=_error(spot.value), fmt="none", ecolor=colour, alpha=0.2)
            axes.plot([at], [spot.value.value], "o", color=colour, markersize=_SPOT)
            if twin := known.get(spot.twin):
                ends = [at, twin.costs[column]], [spot.value.value, twin.value.value]
                axes.plot(*ends, **_TWINS)
        front = _front([(spot.costs[column], spot.value.value) for spot in ranked])
        axes.step(*front, where="post", **_FRONT)
        at_all = [spot.costs[column] for spot in ranked]
        axes.set_xscale("log")
        axes.set(xlabel=cost, xlim=(min(at_all) / 1.6, max(at_all) * 1.6))
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(color="#dddddd", linewidth=0.6)
    panels[0].set_ylabel(measure)
    for kind in kinds:
        panels[0].plot([], [], "o", color=colours[kind], markersize=_SPOT, label=kind)
    panels[0].plot([], [], **_FRONT, label="no cheaper one is as good")
    if any(spot.twin in known for spot in ranked):
        panels[0].plot([], [], **_TWINS, label="the same but for its first weights")
    figure.legend(loc="outside lower center", ncols=len(kinds) + 2, fontsize="small")
    text = "\n".join(f"{number:2d}  {spot.name}, {spot.value.value:.3f}" for number, spot in enumerate(ranked, 1))
    panels[-1].text(1.04, 1.0, text, transform=panels[-1].transAxes, va="top", fontsize=7.5, linespacing=1.35)
    figure.suptitle(title)
    figure.draw_without_rendering()  # sets the diagrams in their places, between which the numbers are fanned out
    for column, axes in enumerate(panels):
        _number(axes, [(spot.costs[column], spot.value.value) for spot in ranked], [colours[s.kind] for s in ranked])
    values = {
        spot.name: [spot.kind, [_plain(cost) for cost in spot.costs], _plain(_ends(spot.value))] for spot in ranked
    }
    _save(figure, path, {"title": title, "measure": measure, "costs": list(costs), "spots": values})


def dot_plot(
    path: Path,
    groups: Sequence[Dots],
    measure: str,
    title: str,
    references: Mapping[str, float] | None = None,
) -> None:
    """Named figures with their 95 % intervals, one line a name, best first, one colour an origin.

    Args:
        path: PNG file.
        groups: by origin; a name that several of them have stands on one line.
        measure: name of the figure.
        title: above the figure.
        references: figures that a vertical line shows, by what the legend says of each.
    """
    best: dict[str, float] = {}
    for group in groups:
        for dot in group.dots:
            best.setdefault(dot.name, dot.value.value)
    lines = {name: -place for place, name in enumerate(sorted(best, key=lambda name: (-best[name], name)))}
    figure = Figure(figsize=(8.4, 1.6 + 0.22 * len(lines)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for group, colour, mark in zip(groups, _cycle(len(groups)), "oDs^v", strict=False):
        for dot in group.dots:
            style = {"fmt": mark, "color": colour, "markersize": 5, "capsize": 2, "elinewidth": 1}
            axes.errorbar([dot.value.value], [lines[dot.name]], xerr=_error(dot.value), **style)  # type: ignore[arg-type]
        axes.plot([], [], mark, color=colour, label=group.origin)
    marked = dict(references or {})
    for name, value in marked.items():
        axes.axvline(value, color="#333333", linewidth=1.0, ls="--", zorder=0.5, label=f"{name}: {value:.3f}")
    axes.set_yticks(list(lines.values()), list(lines), fontsize="small")
    axes.set_ylim(0.7 - len(lines), 0.7)
    axes.set(xlabel=measure)
    axes.grid(color="#dddddd", linewidth=0.6)
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    figure.suptitle(title)
    values = {group.origin: {dot.name: _plain(_ends(dot.value)) for dot in group.dots} for group in groups}
    kept = {name: _plain(value) for name, value in marked.items()}
    _save(figure, path, {"title": title, "measure": measure, "origins": values, "references": kept})


def figure_data(path: Path) -> Any:
    """The numbers that a figure shows, as they were drawn.

    Raises:
        DataError: the file is missing, or no figure of this module.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return json.loads(image.text["Data"])  # type: ignore[attr-defined]
    except (OSError, KeyError, AttributeError, ValueError) as error:
        raise DataError(
            f"'{path}' is no figure with its numbers: {error}.", "Draw it with `python -m trainer report`."
        ) from error


def same_numbers(first: Any, second: Any, tolerance: float = 1e-3) -> bool:
    """Whether two figures' numbers agree; both as `figure_data` gives them."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same_numbers(first[k], second[k], tolerance) for k in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(lambda a, b: same_numbers(a, b, tolerance), first, second))
    if isinstance(first, int | float) and isinstance(second, int | float):
        return abs(first - second) <= tolerance
    return bool(first == second)


def _square(lower: bool = False) -> tuple[Figure, Any]:
    figure = Figure(figsize=(5.6, 6.4 if lower else 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1)) if lower else figure.subplots()
    upper: Axes = axes[0] if lower else axes
    upper.grid(color="#dddddd", linewidth=0.6)
    return figure, axes


def _cycle(count: int, start: int = 0) -> list[str]:
    return [COLOURS[(start + i) % len(COLOURS)] for i in range(count)]


def _ends(metric: Metric) -> list[float | None]:
    return [metric.value, metric.low, metric.high]


def _number(axes: Axes, points: Sequence[tuple[float, float]], colours: Sequence[str]) -> None:
    """Writes 1, 2, ... beside points, each where it covers no other number and no point, with a line where it is far.

    The axes must have their final place and limits.
    """
    scale = 72 / axes.figure.dpi
    places = axes.transData.transform(np.asarray(points, np.float64)) * scale
    frame = np.asarray(axes.bbox.extents) * scale
    for number, (point, place, colour) in enumerate(zip(points, fan_out(places, frame), colours, strict=True), 1):
        away = place - places[number - 1]
        far = float(np.hypot(*away)) > _NEAR + 1
        note = axes.annotate(
            str(number),
            point,
            xytext=(float(away[0]), float(away[1])),
            textcoords="offset points",
            color=colour,
            fontsize=7,
            ha="center",
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 3, "shrinkB": 0}
            if far
            else None,
        )
        note.set_path_effects([withStroke(linewidth=2, foreground="white")])
        note.set_in_layout(False)


def fan_out(points: Floats, frame: Floats) -> Floats:
    """Places of labels beside points, so that none lies on another label or on a point, where there is room.

    Args:
        points: shape (n, 2), in typographic points.
        frame: left, bottom, right and top of the room, in the same.

    Returns:
        Centres of the labels, shape (n, 2).
    """
    rings = [(_NEAR * factor, angle) for factor in (1.0, 1.6, 2.3, 3.1, 4.0, 5.0) for angle in range(0, 360, 30)]
    offsets = np.array([(r * np.cos(np.radians(a)), r * np.sin(np.radians(a))) for r, a in rings])
    half = np.array([_LABEL[0], _LABEL[1]]) / 2
    found: list[Floats] = []
    for point in points:
        candidates = point + offsets
        inside = ((candidates - half > frame[:2]) & (candidates + half < frame[2:])).all(1)
        on_point = (np.abs(candidates[:, None] - points[None]) < half + _SPOT / 2).all(2).any(1)
        placed = np.array(found).reshape(-1, 2)
        on_label = (np.abs(candidates[:, None] - placed[None]) < _LABEL).all(2).any(1)
        free = np.flatnonzero(inside & ~on_point & ~on_label)
        found.append(candidates[free[0] if len(free) else 0])
    return np.array(found).reshape(-1, 2)


def _front(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Costs and values of the points that no cheaper one equals, cheapest first."""
    kept: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: (point[0], -point[1])):
        if not kept or point[1] > kept[-1][1]:
            kept.append(point)
    return [cost for cost, _ in kept], [value for _, value in kept]


def _error(metric: Metric) -> Any:
    """Distances to both ends of an interval as `errorbar` wants them; None where there is no interval."""
    if metric.low is None or metric.high is None:
        return None
    return [[max(metric.value - metric.low, 0.0)], [max(metric.high - metric.value, 0.0)]]


def _errors(metrics: Sequence[Metric]) -> Any:
    if all(metric.low is None for metric in metrics):
        return None
    below = [0.0 if m.low is None else max(m.value - m.low, 0.0) for m in metrics]
    above = [0.0 if m.high is None else max(m.high - m.value, 0.0) for m in metrics]
    return [below, above]


def _plain(values: Any) -> Any:
    """Numbers as JSON keeps them: four decimals, None where unknown."""
    if isinstance(values, np.ndarray | list | tuple):
        return [_plain(value) for value in values]
    if values is None or not np.isfinite(values):
        return None
    return round(float(values), 4)


def _save(figure: Figure, path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    figure.savefig(path, dpi=_DPI, metadata={"Software": None, "Data": text}, pil_kwargs={"optimize": True})
