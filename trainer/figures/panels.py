"""Picture, ground truth, prediction, crop and decision, side by side."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from edge_infer.files import write_atomically
from trainer.figures.cases import Case, Seer
from trainer.scoring.plots import COLOURS

TRUE_COLOUR, FOUND_COLOUR, BOX_COLOUR = COLOURS[2], COLOURS[4], "white"
COLUMNS = ("picture", "ground truth", "prediction", "region of interest", "decision")
_DPI = 90


def draw_panels(path: Path, cases: Sequence[tuple[str, Case]], seer: Seer) -> None:
    """One line a picture.

    Args:
        path: PNG file; pictures of patients do not belong into a repository.
        cases: with a word about each, shown in front; empty for none.
        seer: gave the cases; it names the threshold.
    """
    figure = Figure(figsize=(14.5, 0.7 + 2.35 * len(cases)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(cases), len(COLUMNS), squeeze=False, width_ratios=(1.3, 1.3, 1.3, 1, 1.3))
    for axes, title in zip(grid[0], COLUMNS, strict=True):
        axes.set_title(title, fontsize=11)
    for line, (word, case) in zip(grid, cases, strict=True):
        for axes in line[:4]:
            axes.set(xticks=[], yticks=[])
            for spine in axes.spines.values():
                spine.set_visible(False)
        line[0].imshow(case.picture)
        line[0].set_ylabel(f"{word}\n{case.record.image_id}".strip(), fontsize=9)
        line[0].set_xlabel(f"diagnosis: {case.record.dx or 'unknown'}", fontsize=9)
        line[1].imshow(case.picture)
        if case.truth is not None:
            _outline(line[1], case.truth, TRUE_COLOUR)
        said = "no mask" if case.truth is None else f"{case.truth.mean():.1%} of the picture"
        line[1].set_xlabel(said, fontsize=9)
        line[2].imshow(case.picture)
        _outline(line[2], case.mask, FOUND_COLOUR)
        line[2].set_xlabel("" if case.dice is None else f"Dice {case.dice:.3f}", fontsize=9)
        _crop(line[2], line[3], case)
        _decision(line[4], case, seer)
    figure.suptitle(f"{seer.name}", fontsize=12)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Writes a PNG file at once."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI)
    write_atomically(path, stream.getvalue())


def _outline(axes: Axes, mask: NDArray[np.uint8], colour: str) -> None:
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for contour in contours:
        closed = np.vstack((contour[:, 0], contour[:1, 0]))
        axes.plot(closed[:, 0], closed[:, 1], color="black", linewidth=2.6)
        axes.plot(closed[:, 0], closed[:, 1], color=colour, linewidth=1.4)


def _crop(over: Axes, axes: Axes, case: Case) -> None:
    if case.box is None or case.crop is None:
        axes.text(0.5, 0.5, "no lesion found", ha="center", va="center", transform=axes.transAxes)
        return
    width, height = case.box.x1 - case.box.x0, case.box.y1 - case.box.y0
    for colour, thickness in (("black", 2.4), (BOX_COLOUR, 1.2)):
        corner = (case.box.x0 - 0.5, case.box.y0 - 0.5)
        over.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=colour, linewidth=thickness))
    over.set(xlim=(-0.5, case.picture.shape[1] - 0.5), ylim=(case.picture.shape[0] - 0.5, -0.5))
    axes.imshow(case.crop)
    axes.set_xlabel(f"{case.crop.shape[1]} x {case.crop.shape[0]}", fontsize=9)


def _decision(axes: Axes, case: Case, seer: Seer) -> None:
    if not case.probabilities:
        axes.axis("off")
        axes.text(0.5, 0.5, "no decision", ha="center", va="center", transform=axes.transAxes)
        return
    names = list(case.probabilities)[::-1]
    values = [case.probabilities[name] for name in names]
    score = case.probabilities[seer.positive]
    called = score >= seer.threshold
    colours = [(COLOURS[1] if called else COLOURS[0]) if name == seer.positive else "#bbbbbb" for name in names]
    axes.barh(names, values, color=colours)
    for i, name in enumerate(names):
        if name == case.record.dx:
            axes.get_yticklabels()[i].set_fontweight("bold")
        if name == seer.positive:
            axes.plot([seer.threshold] * 2, [i - 0.45, i + 0.45], color="black", linewidth=1.5)
    axes.set(xlim=(0, 1))
    axes.tick_params(labelsize=8)
    word = "suspicious" if called else "not suspicious"
    right = called == (case.record.dx == seer.positive)
    sign = ">=" if called else "<"
    text = f"{word}: p({seer.positive}) {score:.2f} {sign} {seer.threshold:.2f} ({seer.point})"
    axes.set_xlabel(f"{text}\n{'right' if right else 'wrong'}", fontsize=8.5, color="black" if right else COLOURS[1])
