"""Whether a target still gives the bundle's answers: golden replay, and labelled pictures where there are some."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_infer.benchmark.results import Accuracy, Check, Labelled, ResultsError
from edge_infer.bundle.golden import END_TO_END, Scoring, read_golden, replay
from edge_infer.diagnoser import Diagnoser

MELANOMA_DX = "mel"
# The bounds that the trainer sets for an int8 file against float32; a target that only computes in another place has
# no reason to be worse.
MINIMUM_DICE_CHANGE = -0.001
MAXIMUM_AUC_CHANGE = 0.002
MAXIMUM_FLIPPED = 0.01


@dataclass(frozen=True)
class Case:
    """A picture, its outline, and whether it shows a melanoma."""

    image: Path
    mask: Path
    melanoma: bool


@dataclass(frozen=True)
class Predictions:
    """What one configuration said about the cases: Dice per picture, probability and decision (None: no answer)."""

    dice: tuple[float, ...]
    probability: tuple[float | None, ...]
    label: tuple[str | None, ...]


def read_cases(folder: Path, split: str, limit: int | None = None) -> list[Case]:
    """Labelled pictures in HAM10000's layout: `metadata.csv` (image_id, dx, split), `images/`, `masks/`.

    Args:
        folder: of the data set.
        split: rows of this split only.
        limit: at most so many, evenly spread over the split.

    Raises:
        ResultsError: nothing there, no such split, or only one of the two classes.
    """
    try:
        with (folder / "metadata.csv").open(newline="", encoding="utf-8") as stream:
            everything = list(csv.DictReader(stream))
        rows = [row for row in everything if row.get("split", split) == split]
        cases = [
            Case(
                folder / "images" / f"{row['image_id']}.jpg",
                folder / "masks" / f"{row['image_id']}_segmentation.png",
                row["dx"] == MELANOMA_DX,
            )
            for row in rows
        ]
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise ResultsError(
            f"'{folder}' is no labelled data set: {error}.", "It needs metadata.csv, images/ and masks/."
        ) from error
    if everything and not rows:
        others = ", ".join(sorted({row["split"] for row in everything if row["split"]}))
        raise ResultsError(f"'{folder}' has no split '{split}'.", f"Name another; it has: {others or 'none'}.")
    if limit is not None and limit < len(cases):
        cases = [cases[i * len(cases) // limit] for i in range(limit)]
    if len({case.melanoma for case in cases}) < 2:
        raise ResultsError(f"The split '{split}' of '{folder}' needs melanomas and other pictures.", "Use more of it.")
    return cases


def predict(diagnoser: Diagnoser, cases: Sequence[Case]) -> Predictions:
    """Diagnoses the cases. Dice is measured at the outline's own size.

    Raises:
        ResultsError: an outline or a picture cannot be read.
    """
    dice: list[float] = []
    probability: list[float | None] = []
    label: list[str | None] = []
    for case, diagnosis in zip(cases, diagnoser.diagnose_many([case.image for case in cases]), strict=True):
        truth = cv2.imread(str(case.mask), cv2.IMREAD_GRAYSCALE)
        if truth is None or diagnosis.status == "error":
            raise ResultsError(
                f"'{case.image.stem}' cannot be used: {diagnosis.message or 'no outline'}.", "Repair it."
            )
        mask = np.zeros_like(truth) if diagnosis.mask is None else diagnosis.mask
        if mask.shape != truth.shape:
            mask = cv2.resize(mask, truth.shape[::-1], interpolation=cv2.INTER_NEAREST)
        dice.append(dice_score(mask > 0, truth > 127))
        probability.append(diagnosis.melanoma_probability)
        label.append(diagnosis.label)
    return Predictions(tuple(dice), tuple(probability), tuple(label))


def replay_golden(diagnoser: Diagnoser) -> tuple[Check, ...]:
    """The bundle's golden examples, step by step, within the bundle's own bounds."""
    bundle = diagnoser.bundle
    traces = read_golden(bundle.path / bundle.manifest.golden.file)
    return tuple(
        Check(
            f"{found.step}: {found.measure}",
            found.value if math.isfinite(found.value) else None,
            "<=",
            found.limit,
            found.passed,
        )
        for found in replay(
            traces, bundle.manifest, Scoring(diagnoser.segment_and_score), diagnoser.classify, diagnoser.tolerance
        )
    )


def end_to_end_change(accuracy: Accuracy | None) -> float | None:
    """The largest change of a probability over the golden examples, from the file to the answer."""
    checks = accuracy.checks if accuracy else ()
    return next((check.value for check in checks if check.measure.startswith(f"{END_TO_END}: ")), None)


def judge(
    golden: tuple[Check, ...],
    data: str,
    cases: Sequence[Case],
    predictions: Predictions | None,
    reference: Predictions | None,
    reference_name: str,
) -> Accuracy:
    """Puts golden replay and labelled pictures together; a target is inside its gate where every check passes."""
    if predictions is None:
        return Accuracy(golden, None, all(check.passed for check in golden))
    truth = [case.melanoma for case in cases]
    labelled = Labelled(
        data=data,
        images=len(cases),
        determinate=sum(value is not None for value in predictions.probability),
        dice=float(np.mean(predictions.dice)),
        auc=_auc_of(predictions, truth),
        reference=reference_name if reference else "none",
        reference_dice=float(np.mean(reference.dice)) if reference else None,
        reference_auc=_auc_of(reference, truth) if reference else None,
        flipped=_flipped(predictions, reference) if reference else None,
    )
    checks = (*golden, *_labelled_checks(labelled))
    return Accuracy(checks, labelled, all(check.passed for check in checks))


def dice_score(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Dice coefficient of two masks of one shape; 1 where both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def auc_score(scores: Sequence[float], positive: Sequence[bool]) -> float | None:
    """Area under the ROC curve as the Mann-Whitney statistic, ties counting half; None without both classes."""
    values, flags = np.asarray(scores, np.float64), np.asarray(positive, bool)
    count = int(flags.sum())
    if count == 0 or count == len(flags):
        return None
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[flags].sum() - count * (count + 1) / 2) / (count * (len(flags) - count)))


def _auc_of(predictions: Predictions, truth: Sequence[bool]) -> float | None:
    pairs = [(p, t) for p, t in zip(predictions.probability, truth, strict=True) if p is not None]
    return auc_score([p for p, _ in pairs], [t for _, t in pairs]) if pairs else None


def _flipped(predictions: Predictions, reference: Predictions) -> float:
    different = sum(a != b for a, b in zip(predictions.label, reference.label, strict=True))
    return different / len(reference.label)


def _labelled_checks(found: Labelled) -> list[Check]:
    checks = []
    if found.reference_dice is not None:
        change = found.dice - found.reference_dice
        checks.append(Check("Dice change", change, ">=", MINIMUM_DICE_CHANGE, change >= MINIMUM_DICE_CHANGE))
    if found.auc is not None and found.reference_auc is not None:
        change = abs(found.auc - found.reference_auc)
        checks.append(Check("|AUC change|", change, "<=", MAXIMUM_AUC_CHANGE, change <= MAXIMUM_AUC_CHANGE))
    if found.flipped is not None:
        checks.append(
            Check("decisions flipped", found.flipped, "<=", MAXIMUM_FLIPPED, found.flipped <= MAXIMUM_FLIPPED)
        )
    return checks
