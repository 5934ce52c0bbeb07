"""Pictures that a bundle should refuse, and what is measured of them; `trainer.report.refusals` judges the measures.

They are spoilt copies of real pictures, bare skin, and pictures of other things.

Bare skin is real skin beside a lesion (windows of test pictures) and skin that the project draws; other things are the
test pictures of `trainer.data.negatives`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from edge_infer.bundle.golden import Network, segment_and_score
from edge_infer.steps.appearance import dermoscopy_score, measure_appearance
from edge_infer.steps.image import open_picture
from edge_infer.steps.mask import clean_mask, lesion_confidence, restore_mask
from edge_infer.steps.quality import Quality, measure_quality
from edge_infer.steps.resize import resize, to_batch
from trainer.data.drawn import BARE_SKIN, draw_picture
from trainer.data.ham10000 import Record, read_mask
from trainer.data.lesion_free import lesion_free_frames
from trainer.data.negatives import negatives
from trainer.errors import DataError
from trainer.scoring.columns import Column, Kind, read_columns, write_columns
from trainer.scoring.predict import Rules

Picture = NDArray[np.uint8]

_MEASURED = ("area", "confidence", "dermoscopy", "familiarity")
"""What a trial measures beside the quality; each may be unknown."""
_LATER = "familiarity"
"""That of them which older files lack, and those of bundles without it."""


def _blurred(fraction: float) -> Callable[[Picture], Picture]:
    """Gaussian blur whose sigma is this fraction of the picture's width."""
    return lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), fraction * image.shape[1]), np.uint8)


def _exposed(gain: float, offset: float = 0.0) -> Callable[[Picture], Picture]:
    return lambda image: np.clip(image * np.float32(gain) + np.float32(offset), 0, 255).astype(np.uint8)


SPOILT: dict[str, Callable[[Picture], Picture]] = {
    "unchanged": lambda image: image,
    "blur, sigma 0.5 % of the width": _blurred(0.005),
    "blur, sigma 1 % of the width": _blurred(0.01),
    "blur, sigma 2 % of the width": _blurred(0.02),
    "brightness x 0.3": _exposed(0.3),
    "brightness x 0.15": _exposed(0.15),
    "brightness x 2": _exposed(2.0),
    "brightness x 3": _exposed(3.0),
    "contrast x 0.1 around grey": _exposed(0.1, 115.0),
}


BARE_WINDOW, BARE_DRAWN = "bare skin beside the lesion", "drawn bare skin"
NEGATIVE = "no dermoscopy: "
SMALLEST_WINDOW = 0.35
"""Smallest window of bare skin, as a fraction of the picture's sides."""


@dataclass(frozen=True)
class Trial:
    """One picture to be refused (or, unchanged, not): its measures at the segmenter's input size.

    `area` is the cleaned mask's fraction of the picture and `confidence` the mean probability inside it, where the
    segmenter ran, else None. `dermoscopy` is the score of looking like dermoscopy and `familiarity` the
    segmenter's, None where the bundle has none.
    """

    image_id: str
    what: str
    quality: Quality
    area: float | None = None
    confidence: float | None = None
    dermoscopy: float | None = None
    familiarity: float | None = None


def spoil(
    records: Sequence[Record], rules: Rules, segment: Network | None = None, progress: bool = True
) -> list[Trial]:
    """Every change of `SPOILT` on every picture; without the segmenter, what can be measured without it."""
    spec = rules.segmenter_input
    found = []
    for record in tqdm(records, desc="spoilt pictures", unit="img", disable=not progress):
        image = open_picture(record.image_path).pixels
        for change, apply in SPOILT.items():
            if segment is not None:
                found.append(_outlined(record.image_id, change, apply(image), rules, segment))
                continue
            small = resize(apply(image), spec.height, spec.width)
            found.append(Trial(record.image_id, change, measure_quality(small), dermoscopy=_score(small, rules)))
    return found


def try_bare_skin(
    records: Sequence[Record], rules: Rules, segment: Network, drawn: int = 100, progress: bool = True
) -> list[Trial]:
    """Runs the segmenter on a window of bare skin of each picture that has room for one, and on drawn bare skin."""
    found = []
    for record in tqdm(records, desc="bare skin", unit="img", disable=not progress):
        window = bare_window(open_picture(record.image_path).pixels, read_mask(record.mask_path))
        if window is not None:
            found.append(_outlined(record.image_id, BARE_WINDOW, window, rules, segment))
    for seed in range(drawn):
        picture = draw_picture(np.random.default_rng(seed), 384, 512, BARE_SKIN)
        found.append(_outlined(f"drawn-{seed}", BARE_DRAWN, picture.image, rules, segment))
    return found


def try_negatives(rules: Rules, segment: Network, drawn: int = 40, progress: bool = True) -> list[Trial]:
    """Runs the segmenter on `trainer.data.negatives("test")`; their kind is `NEGATIVE` and what they are."""
    bar = tqdm(negatives("test", drawn), desc="no dermoscopy", unit="img", disable=not progress)
    return [_outlined(one.source, NEGATIVE + one.what, one.image, rules, segment) for one in bar]


def bare_window(image: Picture, mask: NDArray[np.uint8]) -> Picture | None:
    """The largest part of a picture beside its lesion, in the picture's own shape; None where it is too small.

    The window is the one that segmenters are trained with, see `trainer.data.lesion_free`.
    """
    height, width = image.shape[:2]
    small = torch.from_numpy(restore_mask(mask, height, height))[None]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x0, y0, x1, y1 = lesion_free_frames(small, 1.0)[0].tolist()
    if x1 - x0 < SMALLEST_WINDOW or x1 - x0 > 0.999:
        return None
    window = image[round(y0 * height) : round(y1 * height), round(x0 * width) : round(x1 * width)]
    return np.ascontiguousarray(window)


def _outlined(image_id: str, what: str, image: Picture, rules: Rules, segment: Network) -> Trial:
    small = resize(image, rules.segmenter_input.height, rules.segmenter_input.width)
    maps, scores = segment_and_score(segment, to_batch([small]))
    probability, familiarity = maps[0], None if scores is None else float(scores[0])
    cleaned = clean_mask(probability, rules.mask.threshold)
    area = float(restore_mask(cleaned, *image.shape[:2]).mean())
    confidence = lesion_confidence(probability, cleaned)
    return Trial(image_id, what, measure_quality(small), area, confidence, _score(small, rules), familiarity)


def _score(small: Picture, rules: Rules) -> float | None:
    return None if rules.dermoscopy is None else dermoscopy_score(measure_appearance(small), rules.dermoscopy)


def write_trials(path: Path, trials: Sequence[Trial]) -> None:
    """Writes the measures as a Parquet file at once; `trainer/results/FORMAT.md` describes it."""
    columns = [Column(name, Kind.TEXT, [getattr(trial, name) for trial in trials]) for name in ("image_id", "what")]
    columns += [
        Column(name, Kind.NUMBER, [getattr(trial.quality, name) for trial in trials]) for name in Quality._fields
    ]
    measured = [name for name in _MEASURED if name != _LATER or any(trial.familiarity is not None for trial in trials)]
    columns += [Column(name, Kind.NUMBER, [getattr(trial, name) for trial in trials]) for name in measured]
    write_columns(path, columns)


def read_trials(path: Path) -> list[Trial]:
    """Reads what `write_trials` wrote.

    Raises:
        DataError: the file is missing or not such a table.
    """
    try:
        columns = read_columns(path)
        columns.setdefault(_LATER, [None] * len(columns["what"]))
        names, last = ("image_id", "what", *Quality._fields, *_MEASURED), len(_MEASURED)
        return [
            Trial(image, what, Quality(*measures[:-last]), *measures[-last:])
            for image, what, *measures in zip(*(columns[name] for name in names), strict=True)
        ]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            f"'{path}' is no table of refusals: {error}.", "Write it with `python -m trainer export`."
        ) from error
