"""Does a bundle refuse what it should? Spoilt copies of real pictures, bare skin, and pictures of other things.

Bare skin is real skin beside a lesion (windows of test pictures) and skin that the project draws; other things are the
test pictures of `trainer.choices.negatives`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from edge_infer.bundle.golden import Network
from edge_infer.bundle.manifest import Manifest
from edge_infer.rules import Metric
from edge_infer.steps.appearance import appearance_problem, dermoscopy_score, measure_appearance
from edge_infer.steps.image import open_picture
from edge_infer.steps.mask import clean_mask, lesion_confidence, restore_mask
from edge_infer.steps.quality import Quality, lesion_problem, measure_quality, quality_problem
from edge_infer.steps.resize import resize, to_batch
from trainer.choices.negatives import negatives
from trainer.data.drawn import BARE_SKIN, draw_picture
from trainer.data.ham10000 import Record, read_mask
from trainer.data.lesion_free import lesion_free_frames
from trainer.errors import DataError
from trainer.scoring.metrics import Roc, lesion_weights, mean_of, show, with_intervals
from trainer.scoring.predict import Rules
from trainer.scoring.predictions import Prediction

Picture = NDArray[np.uint8]


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
class Refusals:
    """What a bundle refuses.

    Attributes:
        shares: share of the trials that get no probability, by what they are.
        detection: how well pictures of other things are told from the test pictures, with 95 % intervals by lesion and
            by source: AUROC of the score alone, shares refused by it and by any rule. Empty without such a score.
    """

    shares: dict[str, float]
    detection: dict[str, Metric]


@dataclass(frozen=True)
class Trial:
    """One picture to be refused (or, unchanged, not): its measures at the segmenter's input size.

    `area` is the cleaned mask's fraction of the picture and `confidence` the mean probability inside it, where the
    segmenter ran; None for spoilt copies. `dermoscopy` is the score of looking like dermoscopy, None where the bundle
    has none.
    """

    image_id: str
    what: str
    quality: Quality
    area: float | None = None
    confidence: float | None = None
    dermoscopy: float | None = None


def spoil(records: Sequence[Record], rules: Rules, progress: bool = True) -> list[Trial]:
    """Every change of `SPOILT` on every picture."""
    spec = rules.segmenter_input
    found = []
    for record in tqdm(records, desc="spoilt pictures", unit="img", disable=not progress):
        image = open_picture(record.image_path).pixels
        for change, apply in SPOILT.items():
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
    """Runs the segmenter on `trainer.choices.negatives("test")`; their kind is `NEGATIVE` and what they are."""
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
    probability = segment(to_batch([small]))[0]
    cleaned = clean_mask(probability, rules.mask.threshold)
    area = float(restore_mask(cleaned, *image.shape[:2]).mean())
    confidence = lesion_confidence(probability, cleaned)
    return Trial(image_id, what, measure_quality(small), area, confidence, _score(small, rules))


def _score(small: Picture, rules: Rules) -> float | None:
    return None if rules.dermoscopy is None else dermoscopy_score(measure_appearance(small), rules.dermoscopy)


def refused(trials: Sequence[Trial], manifest: Manifest) -> dict[str, float]:
    """Share of the trials that get no probability, by what they are."""
    shares: dict[str, list[bool]] = {}
    for trial in trials:
        shares.setdefault(trial.what, []).append(_is_refused(trial, manifest))
    return {f"{what} (n = {len(flags)})": sum(flags) / len(flags) for what, flags in shares.items()}


def detection(trials: Sequence[Trial], test: Sequence[Prediction], manifest: Manifest) -> dict[str, Metric]:
    """See `Refusals`; higher AUROC is better, and of dermoscopic pictures few should be refused."""
    others = [trial for trial in trials if trial.what.startswith(NEGATIVE) and trial.dermoscopy is not None]
    pictures = [p for p in test if p.dermoscopy is not None]
    if manifest.dermoscopy is None or not others or not pictures:
        return {}
    score = np.array([p.dermoscopy for p in pictures] + [trial.dermoscopy for trial in others], np.float64)
    genuine = np.arange(len(score)) < len(pictures)
    owners = [p.lesion_id for p in pictures] + [trial.image_id.partition("#")[0] for trial in others]
    unlike = score < manifest.dermoscopy.min_score
    no_answer = np.array([bool(p.reason) for p in pictures] + [_is_refused(trial, manifest) for trial in others])
    measures = {
        "AUROC of the score": Roc(score, genuine).auc,
        "dermoscopic pictures refused for their look": mean_of(unlike, genuine),
        "dermoscopic pictures refused for any reason": mean_of(no_answer, genuine),
        "other pictures refused for their look": mean_of(unlike, ~genuine),
        "other pictures refused for any reason": mean_of(no_answer, ~genuine),
    }
    return with_intervals(measures, lesion_weights(owners))


def refusal_tables(refusals: Refusals) -> str:
    """Both as Markdown."""
    rows = [f"| {what} | {share:.1%} |" for what, share in refusals.shares.items()]
    parts = ["### What is refused\n", "\n".join(["| picture | refused |", "| --- | --- |", *rows]) + "\n"]
    if refusals.detection:
        rows = [f"| {name} | {show(metric, 4)} |" for name, metric in refusals.detection.items()]
        parts += [
            "Pictures of other things (photographs of libraries, charts and shapes drawn by code; none was used for "
            "fitting) against the test split, resampled by lesion and by source:\n",
            "\n".join(["| measure | value |", "| --- | --- |", *rows]) + "\n",
        ]
    return "\n".join(parts)


def _is_refused(trial: Trial, manifest: Manifest) -> bool:
    problem = quality_problem(trial.quality, manifest.quality)
    if problem is None and trial.dermoscopy is not None and manifest.dermoscopy is not None:
        problem = appearance_problem(trial.dermoscopy, manifest.dermoscopy)
    if problem is None and trial.area is not None and trial.confidence is not None:
        problem = lesion_problem(trial.area, trial.confidence, manifest.mask)
    return problem is not None


def write_trials(path: Path, trials: Sequence[Trial]) -> None:
    """Writes the measures as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["image_id", "what", *Quality._fields, "area", "confidence", "dermoscopy"])
        for trial in trials:
            measures = (*trial.quality, trial.area, trial.confidence, trial.dermoscopy)
            cells = ["" if value is None else f"{value:.6g}" for value in measures]
            writer.writerow([trial.image_id, trial.what, *cells])


def read_trials(path: Path) -> list[Trial]:
    """Reads what `write_trials` wrote.

    Raises:
        DataError: the file is missing or not such a table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return [
                Trial(
                    row["image_id"],
                    row["what"],
                    Quality(*(float(row[name]) for name in Quality._fields)),
                    float(row["area"]) if row["area"] else None,
                    float(row["confidence"]) if row["confidence"] else None,
                    float(row["dermoscopy"]) if row.get("dermoscopy") else None,
                )
                for row in csv.DictReader(stream)
            ]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            f"'{path}' is no table of refusals: {error}.", "Write it with `python -m trainer export`."
        ) from error
