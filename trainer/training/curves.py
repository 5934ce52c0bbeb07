"""Learning curves, and the trials of a search, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter


def plot_history(history: Sequence[dict[str, float]], monitored: str, path: Path) -> None:
    """Draws losses and the monitored validation metric, as far as the epochs have them, into a PNG file."""
    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for key, label in (("train_loss", "train, augmented"), ("val_loss", "val")):
        if any(key in row for row in history):
            left.plot(epochs, [row.get(key, nan) for row in history], marker="o", markersize=3, label=label)
    left.set(title="loss", xlabel="epoch")
    left.legend()
    if any(monitored in row for row in history):
        right.plot(epochs, [row.get(monitored, nan) for row in history], marker="o", markersize=3, color="tab:green")
        right.set(title=f"{monitored} on val", xlabel="epoch")
    else:
        right.set(title="no pictures held out")
    figure.savefig(path, dpi=110)


def plot_trials(
    trials: Sequence[tuple[int, str, float | None, dict[str, Any]]], keys: dict[str, str], metric: str, path: Path
) -> None:
    """Draws the trials of a search into a PNG file: in their order, and against each key that was searched.

    Args:
        trials: number, state (`COMPLETE`, `PRUNED`, `FAIL`), value (None where there is none) and values by key.
        keys: the searched ones, and how each is shown: `linear`, `log` or `choices`.
        metric: name of the value.
        path: of the PNG file.
    """
    columns = 4
    lines = -(-(1 + len(keys)) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.8 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    first, *others = list(figure.subplots(lines, columns, squeeze=False).flat)
    looks = {"COMPLETE": ("tab:green", "done"), "PRUNED": ("tab:orange", "ended early")}
    for state, (colour, label) in looks.items():
        shown = [item for item in trials if item[1] == state and item[2] is not None]
        if not shown:
            continue
        first.plot(
            [item[0] for item in shown], [item[2] for item in shown], "o", markersize=4, color=colour, label=label
        )
        for panel, key in zip(others, keys, strict=False):
            held = [(item[3][key], item[2]) for item in shown if key in item[3]]
            values = [str(value) if keys[key] == "choices" else value for value, _ in held]
            panel.plot(values, [value for _, value in held], "o", ms=4, color=colour)
    failed = [item[0] for item in trials if item[1] == "FAIL"]
    for place, number in enumerate(failed):
        first.axvline(number, color="tab:red", linewidth=0.8, linestyle=":", label=None if place else "failed")
    done = [(number, value) for number, state, value, _ in trials if state == "COMPLETE" and value is not None]
    best = [max(value for _, value in done[: place + 1]) for place in range(len(done))]
    first.step([number for number, _ in done], best, where="post", color="0.6", label="best so far")
    first.set(title=f"{metric} on val", xlabel="trial")
    figure.legend(loc="outside lower center", ncols=4, fontsize=8)
    for panel, key in zip(others, keys, strict=False):
        if keys[key] == "log":
            panel.set_xscale("log")
            panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_title(key, fontsize=9)
    for panel in others[len(keys) :]:
        panel.set_axis_off()
    figure.savefig(path, dpi=110)
