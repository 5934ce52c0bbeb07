"""The figures of a report, from its predictions: see `trainer.scoring.plots`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_infer.bundle.manifest import Manifest
from edge_infer.rules import OperatingPoint
from trainer.report.summary import Summary
from trainer.scoring.metrics import (
    Floats,
    Measure,
    Weights,
    calibration_error,
    decision_measures,
    lesion_weights,
    with_interval,
)
from trainer.scoring.plots import (
    Answers,
    ForestRow,
    Line,
    Mark,
    coverage_plot,
    forest_plot,
    reliability_plot,
    roc_curve_plot,
)
from trainer.scoring.predictions import Prediction
from trainer.scoring.scores import Scores, certainty, scores_of, tempered

FIGURES = {
    "roc.png": "ROC curve of melanoma with the operating points",
    "reliability.png": "Share of melanoma against its predicted probability",
    "coverage.png": "What is gained when the least certain pictures are left to others",
    "subgroups.png": "AUC, sensitivity and specificity by subgroup",
}
"""File and caption of each figure."""

_SHARES = tuple(round(0.05 * step, 2) for step in range(11))
_RESAMPLES = 400


def draw_figures(folder: Path, predictions: Sequence[Prediction], summary: Summary, manifest: Manifest) -> None:
    """Draws `FIGURES` of one split.

    Args:
        folder: where the files go.
        predictions: of the split.
        summary: their figures.
        manifest: labels, temperature and operating points.
    """
    answered = [p for p in predictions if not p.reason]
    scores = scores_of(answered, manifest.labels, manifest.melanoma_label)
    weights = lesion_weights(scores.lesions, _RESAMPLES)
    marks = [
        Mark(name, figures["sensitivity"], figures["specificity"])
        for name, figures in summary.operating_points.items()
        if {"sensitivity", "specificity"} <= set(figures)
    ]
    answers = Answers("melanoma, answered pictures", scores.score, scores.positive, weights)
    roc_curve_plot(folder / "roc.png", [answers], marks)
    _reliability(folder / "reliability.png", scores, weights, manifest)
    panels = {
        name: [_coverage(scores, weights, point, name) for point in manifest.operating_points]
        for name in ("sensitivity", "specificity", "accuracy")
    }
    coverage_plot(folder / "coverage.png", panels)
    point = manifest.operating_point()
    overall = {
        "auc": summary.melanoma.get("auc"),
        **{name: summary.operating_points[point.name].get(name) for name in ("sensitivity", "specificity")},
    }
    rows = [
        ForestRow(attribute, value, f"{group.pictures}, {group.melanomas} mel", group.figures)
        for attribute, groups in summary.subgroups.items()
        for value, group in groups.items()
    ]
    known = {name: metric for name, metric in overall.items() if metric is not None}
    forest_plot(folder / "subgroups.png", rows, known, f"Subgroups, at the operating point '{point.name}'")


def _reliability(path: Path, scores: Scores, weights: Weights, manifest: Manifest) -> None:
    """After calibration and, where its temperature is known, before it."""
    temperature = manifest.calibration.temperature
    curves: list[tuple[str, Floats, Weights | None]] = []
    if manifest.calibration.method == "temperature":
        before = tempered(scores.probabilities, 1 / temperature)[:, scores.melanoma]
        curves.append(("before", before, None))
    curves.append(("after" if curves else "as it ships", scores.score, weights))
    answers = []
    for name, score, resamples in curves:
        error = float(calibration_error(score, scores.positive)(np.ones((1, len(score))))[0])
        label = f"{name} temperature {temperature:g}" if manifest.calibration.method == "temperature" else name
        answers.append(Answers(f"{label}: calibration error {error:.3f}", score, scores.positive, resamples))
    reliability_plot(path, answers)


def _coverage(scores: Scores, weights: Weights, point: OperatingPoint, name: str) -> Line:
    distance = certainty(scores.score, point.threshold)
    x, y = [], []
    for share in _SHARES:
        kept = distance >= np.quantile(distance, share)
        measure: Measure = decision_measures(scores.score[kept] >= point.threshold, scores.positive[kept])[name]
        metric = with_interval(measure, weights[:, kept])
        if metric is not None:
            x.append(share)
            y.append(metric)
    return Line(point.name, x, y)
