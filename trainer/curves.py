"""Learning curves as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def plot_history(history: Sequence[dict[str, float]], monitored: str, path: Path) -> None:
    """Draws losses and the monitored validation metric, as far as the epochs have them, into a PNG file."""
    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for key, label in (("train_loss", "train, augmented"), ("val_loss", "val")):
        if key in history[0]:
            left.plot(epochs, [row[key] for row in history], marker="o", markersize=3, label=label)
    left.set(title="loss", xlabel="epoch")
    left.legend()
    if monitored in history[0]:
        right.plot(epochs, [row[monitored] for row in history], marker="o", markersize=3, color="tab:green")
        right.set(title=f"{monitored} on val", xlabel="epoch")
    else:
        right.set(title="no pictures held out")
    figure.savefig(path, dpi=110)
