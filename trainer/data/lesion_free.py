"""Bare skin for segmenters: windows beside the lesion, so that a network learns when to outline nothing.

Every picture of a dermoscopy data set shows a lesion, and a segmenter that never saw bare skin outlines some of it with
confidence. The windows come from the training pictures themselves, so skin, hairs and optics are real.
"""

from __future__ import annotations

import torch
from torch import Tensor

MIN_SIDE = 0.25
"""Smallest window as a fraction of the picture's side; below it, enlarging shows more blur than skin."""


def lesion_free_frames(masks: Tensor, share: float) -> Tensor:
    """Frames for `trainer.data.transforms.Geometry`: the whole picture, or a square window without lesion.

    A picture is chosen with probability `share`. Its window is the largest square beside the lesion's bounding box, at
    a random place along the box; a picture whose lesion leaves no room for one of `MIN_SIDE` is shown whole.

    Args:
        masks: uint8 0/1, shape (n, s, s).
        share: 0..1.

    Returns:
        float32, shape (n, 4): x0, y0, x1, y1 as fractions of the side.
    """
    count, side = masks.shape[0], masks.shape[-1]
    frames = torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(count, 1)
    chosen = torch.rand(count) < share
    places = torch.rand(count)
    for row in torch.nonzero(chosen).flatten().tolist():
        columns = torch.nonzero(masks[row].any(0)).flatten()
        rows = torch.nonzero(masks[row].any(1)).flatten()
        if not len(columns):
            continue
        x0, x1 = int(columns[0]) / side, (int(columns[-1]) + 1) / side
        y0, y1 = int(rows[0]) / side, (int(rows[-1]) + 1) / side
        size, edge = max((x0, "left"), (1 - x1, "right"), (y0, "top"), (1 - y1, "bottom"))
        if size < MIN_SIDE:
            continue
        start = float(places[row]) * (1 - size)
        corner = {"left": (0.0, start), "right": (x1, start), "top": (start, 0.0), "bottom": (start, y1)}[edge]
        frames[row] = torch.tensor([corner[0], corner[1], corner[0] + size, corner[1] + size])
    return frames
