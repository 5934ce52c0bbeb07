"""Figures by source: a row for each, and a macro row, the mean of the sources, for whatever rests on several.

Every source is resampled by itself, by lesion; a macro figure's interval comes from the means of these resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edge_infer.rules import Metric, OperatingPoint
from edge_infer.steps.prevalence import correct, odds_ratio
from trainer.choices.operating_points import asked_for
from trainer.data.ham10000 import MELANOMA
from trainer.report.markdown import markdown_table, words
from trainer.report.summary import FEWEST, Figures
from trainer.scoring.masks import JACCARD_FAILURE
from trainer.scoring.metrics import (
    Floats,
    Measure,
    Roc,
    among,
    calibration_error,
    decision_measures,
    lesion_weights,
    mean_of,
    multiclass_measures,
    show,
)
from trainer.scoring.predictions import Prediction, indeterminate
from trainer.scoring.scores import Scores, scores_of

MACRO = "macro"
COLUMNS = (
    *("auc", "sensitivity_at_95_specificity", "dice_refused_0", "dice_answered", "dice", "jaccard_below_0.65"),
    *("refused", "calibration_error", "calibration_error_corrected", "class_balanced_accuracy"),
)
NOTE = (
    "`macro` is the mean of the sources. AUC, sensitivity and calibration error are over answered pictures; `Dice "
    "refused = 0` counts a refused picture as 0, `Dice answered` leaves it out, `Dice` takes every outline; "
    "calibration error corrected: after the odds were multiplied for the source's own share of melanoma, as "
    "`--prevalence` does. Balanced accuracy is over the diagnoses that at least ten answered pictures state. "
    "Intervals: 95 %, bootstrap by lesion.\n"
)
EXEMPT = (
    "Pictures of {names} are small copies, which are smooth: they are judged without the limits of size and of "
    "sharpness, by which the product would refuse many of them or all. Every other reason to refuse holds.\n"
)
POINTS_NOTE = (
    "A rule holds for the mean of the sources where the threshold was chosen; **below** marks what does not reach it.\n"
)
EXTERNAL = "external"
_HELD = ("sensitivity", "specificity")


@dataclass(frozen=True)
class SourceRow:
    """One source.

    Attributes:
        external: whether no network, limit or threshold has learnt from it.
        pictures, lesions, melanomas, masks, answered: counts.
        refused: pictures without a probability, by reason.
        figures: by name, those of `COLUMNS` that are defined.
        points: sensitivity and specificity by operating point.
    """

    external: bool
    pictures: int
    lesions: int
    melanomas: int
    masks: int
    answered: int
    refused: dict[str, int]
    figures: Figures
    points: dict[str, Figures]


@dataclass(frozen=True)
class BySource:
    """Rows by source in the order of their pictures, and the mean of the sources."""

    rows: dict[str, SourceRow]
    macro: Figures = field(default_factory=dict)
    macro_points: dict[str, Figures] = field(default_factory=dict)


def by_source(
    predictions: Sequence[Prediction],
    labels: Sequence[str],
    points: Sequence[OperatingPoint],
    prior: float | None,
    learnt: Sequence[str] = (),
    melanoma_label: str = MELANOMA,
    resamples: int = 1000,
) -> BySource:
    """Computes all rows.

    Args:
        predictions: of one split, of any sources.
        labels: the classifier's classes in order.
        points: operating points, whose thresholds apply to the stored probabilities.
        prior: share of melanoma that the probabilities assume; None leaves the corrected calibration error out.
        learnt: sources that something was learnt from; the others are external. Empty: it is not known, none is.
        melanoma_label: which class is melanoma.
        resamples: of the bootstrap.
    """
    drawn: dict[str, dict[str, _Draws]] = {}
    drawn_points: dict[str, dict[str, dict[str, _Draws]]] = {}
    rows = {}
    for seed, name in enumerate(dict.fromkeys(p.source for p in predictions)):
        own = [p for p in predictions if p.source == name]
        weights = lesion_weights([p.lesion_id for p in own], resamples, seed)
        answered = np.flatnonzero([not p.reason for p in own])
        scores = scores_of([own[i] for i in answered], labels, melanoma_label) if len(answered) else None
        measures = _all_measures(own) | _answered_measures(scores, answered, prior)
        drawn[name] = {key: _Draws(measure, weights) for key, measure in measures.items()}
        drawn_points[name] = {p.name: _decisions(scores, answered, p.threshold, weights) for p in points}
        rows[name] = SourceRow(
            external=bool(learnt) and name not in learnt,
            pictures=len(own),
            lesions=len({p.lesion_id for p in own}),
            melanomas=sum(p.dx == melanoma_label for p in own),
            masks=sum(p.clean is not None for p in own),
            answered=len(answered),
            refused=indeterminate(own),
            figures=_figures(drawn[name]),
            points={point: _figures(found) for point, found in drawn_points[name].items()},
        )
    if len(rows) < 2:
        return BySource(rows)
    everywhere = {point.name: [drawn_points[name][point.name] for name in rows] for point in points}
    return BySource(
        rows,
        _macro(list(drawn.values())),
        {name: _macro(found) for name, found in everywhere.items()},
    )


def sources_markdown(
    found: BySource, title: str, points: Sequence[OperatingPoint], level: str = "##", exempt: Sequence[str] = ()
) -> str:
    """All tables as Markdown; `exempt` names sources judged without the limits of size and sharpness."""
    names = [name for name in COLUMNS if name in found.macro or any(name in row.figures for row in found.rows.values())]
    head = [
        "source",
        "pictures (melanoma, masks)",
        *(words(name).replace("refused 0", "refused = 0") for name in names),
    ]
    table = [
        [
            _titled(name, row),
            f"{row.pictures} ({row.melanomas}, {row.masks})",
            *(show(row.figures.get(n)) for n in names),
        ]
        for name, row in found.rows.items()
    ]
    if found.macro:
        table.append([MACRO, "", *(show(found.macro.get(name)) for name in names)])
    reasons = sorted({reason for row in found.rows.values() for reason in row.refused})
    refused = [
        [
            _titled(name, row),
            *(f"{row.refused.get(r, 0)} ({row.refused.get(r, 0) / row.pictures:.1%})" for r in reasons),
        ]
        for name, row in found.rows.items()
    ]
    shown = [name for name in found.rows if name in exempt]
    parts = [f"{level} {title}, by source\n", NOTE, markdown_table(head, table)]
    parts += [EXEMPT.format(names=" and ".join(shown))] if shown else []
    parts += [f"{level}# Refused, by reason\n", markdown_table(["source", *reasons], refused) if reasons else "None.\n"]
    parts += [f"{level}# Operating points, by source\n", POINTS_NOTE, _points_table(found, points)]
    return "\n".join(parts)


def _points_table(found: BySource, points: Sequence[OperatingPoint]) -> str:
    rows = [(_titled(name, row), row.points) for name, row in found.rows.items()]
    if found.macro_points:
        rows.append((MACRO, found.macro_points))
    table = [
        [point.name, source, *(show(own.get(key)) for key in _HELD), _rule(point, own)]
        for point in points
        for source, own in ((source, figures.get(point.name, {})) for source, figures in rows)
    ]
    return markdown_table(["operating point", "source", *_HELD, "rule"], table)


def _rule(point: OperatingPoint, figures: Figures) -> str:
    """What the point's rule asks for, and whether these figures reach it."""
    asked = asked_for(point.rule)
    if asked is None or asked[0] not in figures:
        return "-"
    name, bound = asked
    return f"{name} {bound:g}" + ("" if figures[name].value >= bound else ", **below**")


def _titled(name: str, row: SourceRow) -> str:
    return f"{name} ({EXTERNAL})" if row.external else name


class _Draws:
    """A figure with its resamples."""

    def __init__(self, measure: Measure, weights: Floats) -> None:
        self.value = float(measure(np.ones((1, weights.shape[1])))[0])
        self.samples = measure(weights) if np.isfinite(self.value) else np.full(len(weights), np.nan)

    def metric(self) -> Metric | None:
        return _metric(self.value, self.samples)


def _figures(draws: dict[str, _Draws]) -> Figures:
    found = {name: one.metric() for name, one in draws.items()}
    return {name: metric for name, metric in found.items() if metric is not None}


def _macro(sources: list[dict[str, _Draws]]) -> Figures:
    """Means over the sources that have the figure, of at least two."""
    found: Figures = {}
    for name in dict.fromkeys(key for draws in sources for key in draws):
        known = [draws[name] for draws in sources if name in draws and np.isfinite(draws[name].value)]
        if len(known) > 1:
            samples = np.mean([one.samples for one in known], axis=0)
            metric = _metric(float(np.mean([one.value for one in known])), samples)
            if metric is not None:
                found[name] = metric
    return found


def _metric(value: float, samples: Floats) -> Metric | None:
    """As `trainer.scoring.metrics.with_interval`, from resamples that are there already."""
    if not np.isfinite(value):
        return None
    drawn = samples[np.isfinite(samples)]
    if len(drawn) < 0.95 * len(samples):
        return Metric(round(value, 6))
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Metric(round(value, 6), round(float(low), 6), round(float(high), 6))


def _all_measures(own: Sequence[Prediction]) -> dict[str, Measure]:
    refused = np.array([bool(p.reason) for p in own])
    measures: dict[str, Measure] = {"refused": mean_of(refused)}
    masked = np.flatnonzero([p.clean is not None for p in own])
    if not len(masked):
        return measures
    counts = [p.clean for p in own if p.clean is not None]
    dice, jaccard = (np.array([getattr(one, name) for one in counts]) for name in ("dice", "jaccard"))
    kept = ~refused[masked]
    measures |= {
        "dice": among(mean_of(dice), masked),
        "dice_refused_0": among(mean_of(dice * kept), masked),
        "dice_answered": among(mean_of(dice, kept), masked),
        "jaccard_below_0.65": among(mean_of(jaccard < JACCARD_FAILURE), masked),
    }
    return measures


def _answered_measures(scores: Scores | None, answered: np.ndarray, prior: float | None) -> dict[str, Measure]:
    if scores is None:
        return {}
    score, positive = scores.score, scores.positive
    roc, share = Roc(score, positive), float(positive.mean())
    measures: dict[str, Measure] = {
        "auc": roc.auc,
        "sensitivity_at_95_specificity": roc.sensitivity_at_specificity(0.95),
        "calibration_error": calibration_error(score, positive),
    }
    if prior is not None and 0 < share < 1:
        measures["calibration_error_corrected"] = calibration_error(corrected(score, prior, share), positive)
    if scores.probabilities.shape[1] > 2:
        several = multiclass_measures(scores.probabilities, scores.truth, FEWEST)
        measures |= {key: several[key] for key in several if key == "class_balanced_accuracy"}
    return {name: among(measure, answered) for name, measure in measures.items()}


def corrected(score: Floats, prior: float, share: float) -> Floats:
    """Probabilities of melanoma for pictures of which this share shows it, shape (n,)."""
    ratio = odds_ratio(prior, share)
    return np.array([correct(float(p), ratio) for p in score])


def _decisions(scores: Scores | None, answered: np.ndarray, threshold: float, weights: Floats) -> dict[str, _Draws]:
    if scores is None:
        return {}
    measures = decision_measures(scores.score >= threshold, scores.positive)
    return {name: _Draws(among(measures[name], answered), weights) for name in measures}
