"""Probabilities and labels as arrays, and what a temperature makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trainer.errors import DataError
from trainer.scoring.metrics import Bools, Floats
from trainer.scoring.predictions import Prediction

_SMALLEST = 1e-12


@dataclass(frozen=True)
class Scores:
    """What the classifier said about the pictures that got a crop.

    Attributes:
        probabilities: shape (n, classes), rows sum to 1.
        truth: class index, shape (n,).
        lesions: lesion ids, length n.
        melanoma: column of melanoma.
    """

    probabilities: Floats
    truth: NDArray[np.intp]
    lesions: tuple[str, ...]
    melanoma: int

    @property
    def score(self) -> Floats:
        """Probability of melanoma, shape (n,)."""
        return self.probabilities[:, self.melanoma]

    @property
    def positive(self) -> Bools:
        """Whether the picture shows a melanoma, shape (n,)."""
        return np.asarray(self.truth == self.melanoma)


def scores_of(predictions: Sequence[Prediction], labels: Sequence[str], melanoma_label: str = "mel") -> Scores:
    """The classifier's answers as arrays; pictures without a crop are left out.

    Classes that the labels do not name count as the other class of a two-class model.

    Raises:
        DataError: no picture has an answer, or one carries other classes.
    """
    answered = [p for p in predictions if p.probabilities]
    if not answered:
        raise DataError("No picture got a crop, so there is nothing to calibrate.", "Train the segmenter longer.")
    try:
        probabilities = np.array([[p.probabilities[label] for label in labels] for p in answered])
    except KeyError as error:
        raise DataError(f"The predictions have no class {error}.", "Predict again with this model.") from error
    names = list(labels)
    others = [label for label in names if label != melanoma_label]
    truth = np.array([names.index(p.dx if p.dx in names else others[0]) for p in answered], dtype=np.intp)
    return Scores(probabilities, truth, tuple(p.lesion_id for p in answered), names.index(melanoma_label))


def tempered(probabilities: Floats, temperature: float) -> Floats:
    """softmax(log p / temperature): what the same logits give at another temperature."""
    logits = np.log(np.maximum(probabilities, _SMALLEST)) / temperature
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def temper(prediction: Prediction, temperature: float) -> Prediction:
    """The same picture at another temperature; it was predicted at 1."""
    if not prediction.probabilities:
        return prediction
    row = tempered(np.array([list(prediction.probabilities.values())]), temperature)[0]
    return replace(prediction, probabilities=dict(zip(prediction.probabilities, map(float, row), strict=True)))


def certainty(score: Floats, threshold: float) -> Floats:
    """Distance of each probability to the threshold on the scale arcsin(sqrt(p)), 0..pi/2.

    On this scale the standard error of an observed share is the same everywhere (Anscombe, Biometrika 1948), so that
    the distance counts standard errors. Plain differences would leave the surest negatives undecided where the
    threshold is low, and log odds the surest positives where it is high.
    """
    return np.asarray(np.abs(np.arcsin(np.sqrt(np.clip(score, 0, 1))) - np.arcsin(np.sqrt(threshold))))
