"""Probabilities and labels as arrays, and what a temperature and a bias make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trainer.data.ham10000 import MELANOMA, UNKNOWN_LABEL
from trainer.errors import DataError
from trainer.scoring.metrics import Bools, Floats
from trainer.scoring.predictions import Prediction

_SMALLEST = 1e-12


@dataclass(frozen=True)
class Scores:
    """What the classifier said about the pictures that got a crop.

    Attributes:
        probabilities: shape (n, classes), rows sum to 1.
        truth: class index, shape (n,); `UNKNOWN_LABEL` where a picture is known not to be melanoma, and no more.
        lesions: lesion ids, length n.
        melanoma: column of melanoma.
        sources: where each picture comes from, length n.
    """

    probabilities: Floats
    truth: NDArray[np.intp]
    lesions: tuple[str, ...]
    melanoma: int
    sources: tuple[str, ...] = ()

    @property
    def score(self) -> Floats:
        """Probability of melanoma, shape (n,)."""
        return self.probabilities[:, self.melanoma]

    @property
    def positive(self) -> Bools:
        """Whether the picture shows a melanoma, shape (n,)."""
        return np.asarray(self.truth == self.melanoma)

    @property
    def named(self) -> Bools:
        """Whether the picture's exact class is known, shape (n,)."""
        return np.asarray(self.truth != UNKNOWN_LABEL)


def scores_of(predictions: Sequence[Prediction], labels: Sequence[str], melanoma_label: str = "mel") -> Scores:
    """The classifier's answers as arrays; pictures without a crop are left out.

    A diagnosis that the labels do not name, or that is not stated, counts as the other class of a two-class model, and
    as `UNKNOWN_LABEL` of a model of several.

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
    unnamed = names.index(others[0]) if len(others) == 1 else UNKNOWN_LABEL
    truth = np.array([names.index(p.dx) if p.dx in names else unnamed for p in answered], dtype=np.intp)
    lesions, sources = (tuple(getattr(p, name) for p in answered) for name in ("lesion_id", "source"))
    return Scores(probabilities, truth, lesions, names.index(melanoma_label), sources)


def tempered(probabilities: Floats, temperature: float, bias: float = 0.0, column: int = 0) -> Floats:
    """softmax(log p / temperature), with `bias` added to the logit of one column: what the same logits give then."""
    logits = np.log(np.maximum(probabilities, _SMALLEST)) / temperature
    logits[:, column] += bias
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def temper(prediction: Prediction, temperature: float, bias: float = 0.0, label: str = MELANOMA) -> Prediction:
    """The same picture at another temperature, with a bias on one class's logit; it was predicted at 1 and 0."""
    if not prediction.probabilities:
        return prediction
    column = list(prediction.probabilities).index(label) if bias else 0
    row = tempered(np.array([list(prediction.probabilities.values())]), temperature, bias, column)[0]
    return replace(prediction, probabilities=dict(zip(prediction.probabilities, map(float, row), strict=True)))


def certainty(score: Floats, threshold: float) -> Floats:
    """Distance of each probability to the threshold on the scale arcsin(sqrt(p)), 0..pi/2.

    On this scale the standard error of an observed share is the same everywhere (Anscombe, Biometrika 1948), so that
    the distance counts standard errors. Plain differences would leave the surest negatives undecided where the
    threshold is low, and log odds the surest positives where it is high.
    """
    return np.asarray(np.abs(np.arcsin(np.sqrt(np.clip(score, 0, 1))) - np.arcsin(np.sqrt(threshold))))
