"""Saved pictures: the overlay, the mask or the crop of every result, as PNG files below a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_infer.files import make_writable_folder, write_below
from edge_infer.output.picture import draw_overlay, encode_png, mask_picture
from edge_infer.output.sink import Result, Run

Kind = Literal["overlay", "mask", "roi"]


class PictureSink:
    """Saves one kind of picture of every result that has it, and notes the path in `Result.saved`."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        """Saves to `folder`, which is made where it is missing."""
        self._kind, self._folder = kind, folder

    def open(self, run: Run) -> None:
        """Makes the folder. See `Sink.open`."""
        make_writable_folder(self._folder)

    def add(self, result: Result) -> None:
        """See `Sink.add`."""
        image = _DRAW[self._kind](result)
        if image is not None:
            result.saved[self._kind] = str(write_below(self._folder, f"{result.place}.png", encode_png(image)))

    def close(self, complete: bool) -> None:
        """See `Sink.close`."""


def _overlay(result: Result) -> NDArray[np.uint8] | None:
    return None if result.pixels is None else draw_overlay(result.pixels, result.diagnosis)


_DRAW: Mapping[Kind, Callable[[Result], NDArray[np.uint8] | None]] = {
    "overlay": _overlay,
    "mask": lambda result: mask_picture(result.diagnosis),
    "roi": lambda result: result.diagnosis.roi,
}
