"""Drawn pictures on disk: a data set in HAM10000's layout, and the repository's examples."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.data.drawn.looks import BARE_SKIN, LOOKS, chances
from trainer.data.drawn.picture import HEIGHT, WIDTH, draw_picture, second_look


def draw_dataset(
    folder: Path,
    lesions: int,
    seed: int = 0,
    *,
    height: int = HEIGHT,
    width: int = WIDTH,
    second_looks: float = 0.3,
    split: Sequence[float] = (0.7, 0.1, 0.2),
) -> None:
    """Writes a data set in HAM10000's layout.

    `images/ISIC_*.jpg`, `masks/ISIC_*_segmentation.png` (0 and 255) and `metadata.csv` with the data set's own columns
    and `split`. Every class comes up at least once in each split where there are lesions enough.

    Args:
        folder: made where it is missing.
        lesions: how many lesions.
        seed: of the random generator.
        height: rows of the pictures.
        width: columns of the pictures.
        second_looks: share of the lesions that are photographed twice.
        split: shares of train, val and test, by lesion.
    """
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "masks").mkdir(exist_ok=True)
    names = np.array(["train", "val", "test"])
    cycle = [(dx, name) for name in names for dx in LOOKS]
    kinds = [
        cycle[i] if i < len(cycle) <= lesions else (rng.choice(list(LOOKS), p=chances()), rng.choice(names, p=split))
        for i in range(lesions)
    ]
    rows: list[dict[str, object]] = []
    for lesion, (dx, part) in enumerate(kinds):
        pictures = [draw_picture(rng, height, width, str(dx))]
        if rng.random() < second_looks:
            pictures.append(second_look(rng, pictures[0]))
        person = {
            "age": float(rng.integers(4, 18) * 5) if rng.random() < 0.97 else "",
            "sex": str(rng.choice(["female", "male"])),
            "localization": str(rng.choice(["back", "trunk", "face", "lower extremity", "upper extremity", "abdomen"])),
        }
        for picture in pictures:
            image_id = f"ISIC_{9_000_000 + len(rows):07d}"
            write_image(folder / "images" / f"{image_id}.jpg", picture.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
            write_image(folder / "masks" / f"{image_id}_segmentation.png", picture.mask * 255, [])
            identity = {"lesion_id": f"HAM_{9_000_000 + lesion:07d}", "image_id": image_id}
            rows.append({**identity, "dx": dx, "dx_type": "drawn", **person, "split": part})
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as stream:
        columns = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "split"]
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def draw_examples() -> dict[str, NDArray[np.uint8]]:
    """The drawn pictures of `examples/` by file name: RGB uint8, 450x600."""

    def draw(seed: int, kind: str, hairs: int = 0, vignette: bool = False, artefacts: bool = True) -> NDArray[np.uint8]:
        rng = np.random.default_rng(seed)
        return draw_picture(rng, kind=kind, hairs=hairs, vignette=vignette, artefacts=artefacts).image

    blurred = cv2.GaussianBlur(draw(11, "nv"), (0, 0), 18)
    return {
        "nevus-like.jpg": draw(102, "nv", hairs=2),
        "irregular-border.jpg": draw(104, "mel", hairs=3),
        "yellow-brown.jpg": draw(101, "bkl"),
        "hairy-round-view.jpg": draw(100, "nv", hairs=16, vignette=True),
        "no-lesion.jpg": draw(313, BARE_SKIN, artefacts=False),
        "blurred.jpg": blurred.astype(np.uint8),
    }


def write_image(path: Path, image: NDArray[np.uint8], options: list[int]) -> None:
    """Encodes BGR or grey pixels by the name's ending; `options` are OpenCV's."""
    encoded, data = cv2.imencode(path.suffix, image, options)
    if not encoded:
        raise RuntimeError(f"OpenCV cannot encode '{path.name}'")
    path.write_bytes(data.tobytes())
