"""Predictions for tests of what is computed from them."""

from __future__ import annotations

from edge_infer.steps.quality import Quality
from trainer.scoring.predictions import Prediction


def row(dx: str, probabilities: dict[str, float]) -> Prediction:
    return Prediction(
        "i",
        "l",
        "val",
        dx,
        "histo",
        None,
        "",
        "",
        "predicted",
        "",
        Quality(1, 1, 1),
        0.1,
        0.1,
        0.9,
        None,
        None,
        probabilities,
    )
