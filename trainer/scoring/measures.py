"""What pictures show before any network answers: their size, quality and look, and how much of them is lesion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge_infer.rules import InputSpec
from edge_infer.steps.appearance import Appearance, measure_appearance
from edge_infer.steps.image import open_picture
from edge_infer.steps.quality import Quality, measure_quality
from edge_infer.steps.resize import resize
from trainer.data.ham10000 import SOURCE, Record, read_mask
from trainer.data.negatives import negatives
from trainer.data.varied import vary
from trainer.scoring.metrics import Floats

MOST_VARIED = 3000
"""At most so many changed copies are measured, and of every second picture at most."""


@dataclass(frozen=True)
class Measures:
    """One picture: its own size, what it shows at the segmenter's input size, and its lesion's true share of it.

    `true_area` is None where the picture has no mask; `source` says where it was taken.
    """

    height: int
    width: int
    quality: Quality
    appearance: Appearance
    true_area: float | None
    source: str = SOURCE


def measure_records(records: Iterable[Record], spec: InputSpec, progress: bool = True) -> dict[str, Measures]:
    """Measures of pictures by image id; one that is there several times is measured once."""
    once = {record.image_id: record for record in records}
    bar = tqdm(once.values(), desc="measures", unit="img", disable=not progress)
    return {record.image_id: _measure(record, spec) for record in bar}


def measure_varied(records: Sequence[Record], spec: InputSpec, progress: bool = True) -> tuple[Appearance, ...]:
    """The look of changed copies (`trainer.data.varied`) of half of the pictures, of fewer where they are many."""
    step = max(2, -(-len(records) // MOST_VARIED))
    chosen = [(number, record) for number, record in enumerate(records) if number % step == 0]
    bar = tqdm(chosen, desc="changed copies", unit="img", disable=not progress)
    return tuple(measure_appearance(vary(_shrunk(record, spec), np.random.default_rng(i))) for i, record in bar)


def measure_negatives(spec: InputSpec) -> tuple[Appearance, ...]:
    """The look of pictures that are no dermoscopy, those to fit to.

    Raises:
        DataError: a library that ships photographs is not installed.
    """
    return tuple(measure_appearance(resize(one.image, spec.height, spec.width)) for one in negatives("fit"))


def true_areas(records: Sequence[Record], progress: bool = True) -> Floats:
    """Lesion pixels over all pixels of each true mask."""
    bar = tqdm(records, desc="lesion areas", unit="img", disable=not progress)
    return np.array([_true_area(record) for record in bar])


def _measure(record: Record, spec: InputSpec) -> Measures:
    pixels = open_picture(record.image_path).pixels
    small = resize(pixels, spec.height, spec.width)
    height, width = pixels.shape[:2]
    area = None if record.mask_path is None else _true_area(record)
    return Measures(height, width, measure_quality(small), measure_appearance(small), area, record.source)


def _true_area(record: Record) -> float:
    return float(read_mask(record.mask_path).mean())


def _shrunk(record: Record, spec: InputSpec) -> NDArray[np.uint8]:
    return resize(open_picture(record.image_path).pixels, spec.height, spec.width)
