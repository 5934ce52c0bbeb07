"""A drawn data set in two folders: HAM10000's kind, and one of three sources without some masks and diagnoses."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2

from trainer.data.drawn import draw_dataset
from trainer.data.ham10000 import read_image

COLUMNS = ("image_id", "source", "dx", "lesion_id", "age", "sex", "localization", "mask", "split")
SOURCES = ("clinic", "archive", "unnamed")


def write_rows(folder: Path, rows: list[dict[str, str]], columns: tuple[str, ...] = COLUMNS) -> None:
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def draw_extra(folder: Path, lesions: int = 24, seed: int = 11) -> Path:
    """WebP pictures of `SOURCES`: `archive` has no masks, `unnamed` is benign without a diagnosis."""
    draw_dataset(folder, lesions, seed=seed, height=96, width=128)
    rows = read_rows(folder)
    for number, row in enumerate(rows):
        image_id = row["image_id"].replace("ISIC_9", "ISIC_8")
        old = folder / "images" / f"{row['image_id']}.jpg"
        pixels = read_image(old)
        assert cv2.imwrite(str(folder / "images" / f"{image_id}.webp"), pixels[..., ::-1])
        old.unlink()
        mask = folder / "masks" / f"{row['image_id']}_segmentation.png"
        row["source"] = SOURCES[int(row["lesion_id"].split("_")[-1]) % 3]
        row["mask"] = "0" if row["source"] == "archive" else "1"
        row["lesion_id"] = row["lesion_id"].replace("HAM", "EXT")
        row["image_id"] = image_id
        if row["source"] == "archive":
            mask.unlink()
        else:
            mask.rename(mask.with_name(f"{image_id}_segmentation.png"))
        if row["source"] == "unnamed":
            row["dx"] = ""
        if number == 0:
            row |= {"age": "", "sex": "", "localization": ""}
    write_rows(folder, rows)
    return folder
