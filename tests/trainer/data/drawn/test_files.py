"""Drawn pictures on disk: HAM10000's layout, and the examples as the repository keeps them."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np

from tests.conftest import REPOSITORY
from trainer.data.drawn import LOOKS, draw_dataset, draw_examples
from trainer.data.drawn.__main__ import main


def test_dataset_has_the_layout_of_ham10000(tmp_path: Path) -> None:
    draw_dataset(tmp_path, 24, seed=3, height=60, width=80)
    with (tmp_path / "metadata.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "split"]
    assert {(row["dx"], row["split"]) for row in rows} >= {(dx, s) for dx in LOOKS for s in ("train", "val", "test")}
    assert len({row["lesion_id"] for row in rows}) == 24 < len(rows)
    split_of: dict[str, str] = {}
    for row in rows:
        assert split_of.setdefault(row["lesion_id"], row["split"]) == row["split"]
        image = cv2.imread(str(tmp_path / "images" / f"{row['image_id']}.jpg"))
        mask = cv2.imread(str(tmp_path / "masks" / f"{row['image_id']}_segmentation.png"), cv2.IMREAD_UNCHANGED)
        assert image is not None and image.shape == (60, 80, 3)
        assert mask is not None and mask.shape == (60, 80) and set(np.unique(mask)) == {0, 255}


def test_drawn_examples_in_the_repository_are_what_the_generator_draws(tmp_path: Path) -> None:
    main(["examples", "--folder", str(tmp_path)])
    stored = REPOSITORY / "examples"
    assert (
        {path.name for path in tmp_path.iterdir()}
        == {path.name for path in stored.glob("*.jpg") if "ISIC_" not in path.name}
        == set(draw_examples())
    )
    for path in tmp_path.iterdir():
        assert path.stat().st_size < 60_000
        drawn, kept = (cv2.imread(str(folder / path.name)).astype(float) for folder in (tmp_path, stored))
        assert np.abs(drawn - kept).mean() < 2
