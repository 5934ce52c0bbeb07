"""Where the lesion lies in pictures that have no mask: a given segmenter says so, once per picture.

What it finds is kept by the picture's content, so that copies, other splits and later runs ask for nothing again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge_infer.bundle.golden import Network
from edge_infer.geometry import Box
from edge_infer.rules import MaskRule
from edge_infer.steps.crop import lesion_box
from edge_infer.steps.mask import clean_mask, lesion_confidence, restore_mask
from edge_infer.steps.quality import lesion_problem
from edge_infer.steps.resize import resize, to_batch
from trainer.data.ham10000 import Record, read_image

OpenOutliner = Callable[[Path], "Outliner"]
"""Takes the folder where boxes are kept."""


class Outliner:
    """A segmenter as a source of lesion boxes; `trainer.training.outliners` opens one.

    Args:
        segment: the network.
        shape: height and width of its input.
        rule: from its map to a lesion.
        key: changes with the network and the rule.
        folder: where the boxes are kept.
    """

    def __init__(self, segment: Network, shape: tuple[int, int], rule: MaskRule, key: str, folder: Path) -> None:
        self.segment, self.shape, self.rule, self.key = segment, shape, rule, key
        self.file = folder / f"outlines-{key}.json"

    def boxes(self, records: Sequence[Record]) -> list[Box | None]:
        """The lesion's box in pixels of each picture, in order; None where no lesion is found."""
        known = self._read()
        hashes = [hashlib.sha256(record.image_path.read_bytes()).hexdigest()[:32] for record in records]
        missing = {digest: record for digest, record in zip(hashes, records, strict=True) if digest not in known}
        if missing:
            for digest, record in tqdm(missing.items(), desc="outlining", unit="picture", mininterval=5.0):
                known[digest] = self._find(record)
            self._write(known)
        return [None if known[digest] is None else Box(*known[digest]) for digest in hashes]  # type: ignore[misc]

    def _find(self, record: Record) -> list[int] | None:
        image = read_image(record.image_path)
        probability = self.segment(to_batch([resize(image, *self.shape)]))[0]
        small = clean_mask(probability, self.rule.threshold)
        mask = restore_mask(small, *image.shape[:2])
        box, area = lesion_box(mask), cv2.countNonZero(mask) / mask.size
        if box is None or lesion_problem(area, lesion_confidence(probability, small), self.rule) is not None:
            return None
        return list(box)

    def _read(self) -> dict[str, list[int] | None]:
        if not self.file.is_file():
            return {}
        content: dict[str, list[int] | None] = json.loads(self.file.read_text(encoding="utf-8"))
        return content

    def _write(self, known: dict[str, list[int] | None]) -> None:
        merged = self._read() | known
        self.file.parent.mkdir(parents=True, exist_ok=True)
        draft = self.file.with_name(f".{self.file.name}.{os.getpid()}")
        draft.write_text(json.dumps(merged), encoding="utf-8")
        draft.replace(self.file)


def whole(height: int, width: int) -> Box:
    """The picture itself as a box."""
    return Box(0, 0, width, height)


def no_mask(height: int, width: int) -> NDArray[np.uint8]:
    """A mask that keeps every pixel, uint8 1, shape (h, w): for crops that keep the background."""
    return np.ones((height, width), np.uint8)
