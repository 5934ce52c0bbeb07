"""Makes the opening picture of the README with the shipped bundle: `python docs/overlays.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_infer import Diagnoser
from edge_infer.output.picture import draw_overlay, encode_jpeg
from edge_infer.steps.image import open_picture

REPOSITORY = Path(__file__).parents[1]
SHOWN = ("melanoma-ISIC_0014982.jpg", "nevus-ISIC_0000388.jpg", "nevus-ISIC_0012669.jpg")
GAP = 12


def main() -> None:
    """Three answers side by side: found, cleared, refused."""
    with Diagnoser.load(REPOSITORY / "exported/mobile") as diagnoser:
        files = [REPOSITORY / "examples" / name for name in SHOWN]
        overlays = [draw_overlay(open_picture(file).pixels, diagnoser.diagnose(file)) for file in files]
    height = max(overlay.shape[0] for overlay in overlays)
    columns = []
    for overlay in overlays:
        column = np.full((height, overlay.shape[1], 3), overlay[-1, -1], np.uint8)
        column[: overlay.shape[0]] = overlay
        columns += [column, np.full((height, GAP, 3), 255, np.uint8)]
    (REPOSITORY / "docs/assets/three-answers.jpg").write_bytes(encode_jpeg(np.hstack(columns[:-1]), quality=88))


if __name__ == "__main__":
    main()
