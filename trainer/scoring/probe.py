"""Does a classifier know where a picture comes from? A probe predicts the source from its pooled features.

A source that is recognised gives away its share of melanoma. Chance is one over the number of sources; the nearer a
network's figure is to it, the less it can lean on the source. Networks differ in what they keep, so compare figures of
two trainings of one architecture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from trainer.data.ham10000 import Record
from trainer.errors import DataError
from trainer.models.serving import as_network
from trainer.scoring.predictions import Prediction

FOLDS = 5
STRENGTH = 0.01
"""Inverse of the regularisation: features outnumber the pictures of small sources."""


@dataclass(frozen=True)
class Probe:
    """How well the source is predicted, on lesions that the probe has not learnt from.

    Attributes:
        balanced_accuracy: mean over sources of the share of their pictures that are recognised, 0..1.
        chance: of guessing: one over the number of sources.
        recognised: that share by source.
    """

    balanced_accuracy: float
    chance: float
    recognised: dict[str, float]


class Tap:
    """A classifier as a callable that keeps what enters its last linear layer; see `trainer.models.serving.as_network`.

    Attributes:
        rows: float64, shape (features,) each, of the pictures in the order in which they were classified; of several
            views their mean.
    """

    def __init__(self, module: nn.Module) -> None:
        self._run = as_network(module)
        self.rows: list[NDArray[np.float64]] = []
        self._count = 1
        layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
        if layers:
            layers[-1].register_forward_pre_hook(self._keep)

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As the network."""
        self._count = len(batch)
        return self._run(batch)

    def _keep(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.rows += list(inputs[0].double().numpy().reshape(-1, self._count, inputs[0].shape[-1]).mean(0))


def probe_of(tap: Tap, found: Sequence[Prediction]) -> Probe | None:
    """The probe of predictions that were made through a tap; None where it has too little to learn from."""
    answered = [p for p in found if p.probabilities]
    if not tap.rows or len(tap.rows) != len(answered):
        return None
    try:
        return source_probe(np.array(tap.rows), answered)
    except DataError:
        return None


def source_probe(features: NDArray[np.float64], records: Sequence[Record | Prediction], seed: int = 0) -> Probe:
    """Cross-validated by lesion, sources weighted alike.

    Args:
        features: shape (n, f), see `trainer.scoring.alone.pooled_features`.
        records: the pictures, in the same order.
        seed: of the folds.

    Raises:
        DataError: there is one source, or a source with fewer than two lesions.
    """
    sources = np.array([record.source for record in records])
    lesions = np.array([record.lesion_id for record in records])
    names = sorted(set(sources.tolist()))
    least = min((len(set(lesions[sources == name])) for name in names), default=0)
    if len(names) < 2 or least < 2:
        raise DataError(
            f"The probe has {len(names)} sources, the smallest of {least} lesions.",
            "Give pictures of at least two sources with two lesions each.",
        )
    guessed = np.empty_like(sources)
    splitter = StratifiedGroupKFold(min(FOLDS, least), shuffle=True, random_state=seed)
    for known, held in splitter.split(features, sources, lesions):
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=2000))
        guessed[held] = probe.fit(features[known], sources[known]).predict(features[held])
    recognised = {name: float((guessed[sources == name] == name).mean()) for name in names}
    return Probe(float(np.mean(list(recognised.values()))), 1 / len(names), recognised)
