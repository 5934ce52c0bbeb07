"""Every table, from stored per-image predictions: nothing here runs a network.

`summarise` computes the figures, `to_markdown` prints them. Pictures that the runtime would refuse are counted by
reason. Classification figures are over the answered pictures; `auc_all_pictures` also covers the refused ones, at their
worst: a refused melanoma ranks below and any other refused lesion above everything that was answered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge_infer.bundle.manifest import Evaluation
from edge_infer.evaluate.labels import age_band
from edge_infer.rules import Band, Metric, OperatingPoint
from trainer.scoring.masks import Overlaps, segmentation_measures
from trainer.scoring.metrics import (
    Bools,
    Measure,
    Roc,
    Weights,
    among,
    decision_measures,
    lesion_weights,
    mean_of,
    melanoma_measures,
    multiclass_measures,
    reliability_bins,
    with_interval,
    with_intervals,
)
from trainer.scoring.predictions import Counts, Prediction, indeterminate
from trainer.scoring.scores import Scores, certainty, scores_of
from trainer.scoring.skin_tone import skin_group

FEWEST = 10
"""Answered pictures of a diagnosis below which it does not count in the balanced accuracy."""
REFERRED = (0.1, 0.2, 0.3)
"""Shares of least certain pictures that are referred in the table of coverage against error."""

REFERRAL_NOTE = (
    "Pictures whose probability is nearest to the threshold are left to others (distance of arcsin(sqrt(p))); the "
    "figures are of the rest. `melanomas missed` is the share of all melanomas that are called not suspicious. The row "
    "`specialist`, 20 %, is the goal of sensitivity at 95 % specificity with the least certain 20 % referred.\n"
)
BANDS_NOTE = (
    "With `--abstain` the limits are fixed beforehand, not on these pictures, so that the share decided differs a "
    "little from what was meant.\n"
)

NOT_STATED_WORDS = "benign, not stated"
"""How tables name pictures whose exact diagnosis is not known."""

Figures = dict[str, Metric]


@dataclass(frozen=True)
class Bin:
    """One bar of the reliability diagram: pictures, mean melanoma probability, share of melanoma."""

    pictures: int
    predicted: float
    observed: float


@dataclass(frozen=True)
class Group:
    """One row of a subgroup table."""

    pictures: int
    melanomas: int
    figures: Figures


@dataclass(frozen=True)
class Summary:
    """All figures of one split.

    Attributes:
        split: evaluated split.
        images, lesions, melanomas: counts of all pictures.
        answered: pictures that got a probability.
        indeterminate: the others by reason.
        segmentation, segmentation_raw: over all pictures with masks, after and before clean-up; empty for true ROIs.
        dice_by_class: mean Dice after clean-up.
        melanoma: ranking, calibration, Brier score over answered pictures; `auc_all_pictures` over all.
        classes: figures over all classes.
        operating_points: decision figures by operating point.
        referral: by operating point and share of least certain pictures left out, that is, those with the least
            `trainer.scoring.scores.certainty`: figures of the rest.
        bands: by operating point, for each of its bands what its fixed limits give: share decided, figures of the
            decided pictures, and the share of all melanomas that are called not suspicious.
        reliability: bins of the melanoma probability.
        subgroups: by attribute and value.
        diagnoses: classes that the classifier tells apart.
    """

    split: str
    images: int
    lesions: int
    melanomas: int
    answered: int
    indeterminate: dict[str, int]
    segmentation: Figures
    segmentation_raw: Figures
    dice_by_class: Figures
    melanoma: Figures
    classes: Figures
    operating_points: dict[str, Figures]
    referral: dict[str, dict[str, Figures]]
    bands: dict[str, tuple[Figures, ...]]
    reliability: tuple[Bin, ...]
    subgroups: dict[str, dict[str, Group]] = field(default_factory=dict)
    diagnoses: int = 2


def summarise(
    predictions: Sequence[Prediction],
    labels: Sequence[str],
    melanoma_label: str,
    points: Sequence[OperatingPoint],
    default_point: str,
    resamples: int = 1000,
) -> Summary:
    """Computes all figures of one predictions file.

    Args:
        predictions: rows of one split.
        labels: the classifier's classes in order.
        melanoma_label: which of them is melanoma.
        points: operating points; their thresholds apply to the stored probabilities.
        default_point: the one that subgroups are measured at.
        resamples: of the bootstrap by lesion.
    """
    answered = [p for p in predictions if not p.reason]
    scores = scores_of(answered, labels, melanoma_label)
    weights = lesion_weights(scores.lesions, resamples)
    every = lesion_weights([p.lesion_id for p in predictions], resamples)
    threshold = next(point.threshold for point in points if point.name == default_point)
    masked = np.array([p.clean is not None for p in predictions])
    outlined = [p for p in predictions if p.clean is not None]
    clean, raw = (overlaps_of(outlined, which) if outlined else None for which in ("clean", "raw"))
    classes, drawn = [p.dx or NOT_STATED_WORDS for p in outlined], every[:, masked]
    melanoma = with_intervals(melanoma_measures(scores.score, scores.positive), weights)
    melanoma |= _auc_all(predictions, melanoma_label, every)
    return Summary(
        split=predictions[0].split,
        images=len(predictions),
        lesions=len({p.lesion_id for p in predictions}),
        melanomas=sum(p.dx == melanoma_label for p in predictions),
        answered=len(answered),
        indeterminate=indeterminate(predictions),
        segmentation=with_intervals(segmentation_measures(clean, classes), drawn) if clean else {},
        segmentation_raw=with_intervals(segmentation_measures(raw, classes), drawn) if raw else {},
        dice_by_class=dice_by_class(clean, classes, drawn) if clean else {},
        melanoma=melanoma,
        classes=with_intervals(multiclass_measures(scores.probabilities, scores.truth, FEWEST), weights),
        operating_points={
            point.name: with_intervals(decision_measures(scores.score >= point.threshold, scores.positive), weights)
            for point in points
        },
        referral=_referral(scores, points, weights),
        bands={point.name: tuple(_band(scores, point, band, weights) for band in point.bands) for point in points},
        reliability=_reliability(scores),
        subgroups=_subgroups(answered, scores, threshold, weights),
        diagnoses=len(labels),
    )


def headline(summary: Summary) -> Figures:
    """The figures that go into a manifest."""
    segmentation = ("dice", "jaccard", "thresholded_jaccard", "jaccard_below_0.65", "worst_class_dice")
    chosen = {name: summary.segmentation[name] for name in segmentation if name in summary.segmentation}
    if "dice" in summary.segmentation_raw:
        chosen["dice_before_cleanup"] = summary.segmentation_raw["dice"]
    melanoma = {f"melanoma_{name}": metric for name, metric in summary.melanoma.items()}
    return chosen | melanoma | summary.classes | {"answered": Metric(summary.answered / summary.images)}


def to_evaluation(summary: Summary, data: str, command: str) -> Evaluation:
    """The manifest's entry."""
    return Evaluation(data, summary.split, summary.images, summary.lesions, command, headline(summary))


_GROUPED = ("dice", "auc", "sensitivity", "specificity")

SKIN = "skin tone (estimated)"
"""See `trainer.scoring.skin_tone`; left out where predictions hold no estimate."""

ATTRIBUTES: dict[str, Callable[[Prediction], str]] = {
    "sex": lambda p: p.sex or "unknown",
    "age": lambda p: age_band("" if p.age is None else str(p.age)),
    "site": lambda p: p.localization or "unknown",
    "diagnosis by": lambda p: p.dx_type or "unknown",
    SKIN: lambda p: skin_group(p.skin_angle),
}


def overlaps_of(predictions: Sequence[Prediction], which: str) -> Overlaps | None:
    """Pixel counts of every picture, `which` is "clean" or "raw"; None where some picture has none."""
    counts: list[Counts | None] = [getattr(p, which) for p in predictions]
    known = [entry for entry in counts if entry is not None]
    if len(known) != len(counts):
        return None
    return Overlaps(*np.array(known, dtype=np.float64).T)


def subgroups_of(predictions: Sequence[Prediction]) -> dict[str, dict[str, Bools]]:
    """Which pictures have each value of each of `ATTRIBUTES`; values are sorted."""
    found: dict[str, dict[str, Bools]] = {}
    for attribute, value_of in ATTRIBUTES.items():
        values = np.array([value_of(p) for p in predictions])
        if attribute == SKIN and all(p.skin_angle is None for p in predictions):
            continue
        found[attribute] = {str(value): values == value for value in sorted(set(values))}
    return found


def dice_by_class(overlaps: Overlaps, classes: Sequence[str], weights: Weights) -> Figures:
    """Mean Dice of the pictures of each class, with intervals."""
    names = np.asarray(classes)
    return with_intervals({name: mean_of(overlaps.dice, names == name) for name in sorted(set(classes))}, weights)


def _auc_all(predictions: Sequence[Prediction], melanoma_label: str, weights: Weights) -> Figures:
    positive = np.array([p.dx == melanoma_label for p in predictions])
    worst = np.where(positive, -1.0, 2.0)
    score = np.array([p.probabilities[melanoma_label] if not p.reason else np.nan for p in predictions])
    metric = with_interval(Roc(np.where(np.isnan(score), worst, score), positive).auc, weights)
    return {} if metric is None else {"auc_all_pictures": metric}


def _referral(scores: Scores, points: Sequence[OperatingPoint], weights: Weights) -> dict[str, dict[str, Figures]]:
    table: dict[str, dict[str, Figures]] = {}
    for point in points:
        distance = certainty(scores.score, point.threshold)
        table[point.name] = {}
        for share in (0.0, *REFERRED):
            kept = distance >= np.quantile(distance, share)
            table[point.name][f"{share:.0%}"] = with_intervals(_partly(scores, point.threshold, kept), weights)
    return table


def _partly(scores: Scores, threshold: float, kept: Bools) -> dict[str, Measure]:
    """Figures where only the pictures in `kept` are decided; `melanomas_missed` is of all melanomas."""
    score, positive = scores.score[kept], scores.positive[kept]
    called = score >= threshold
    decided = decision_measures(called, positive)
    measures: dict[str, Measure] = {
        "sensitivity": decided["sensitivity"],
        "specificity": decided["specificity"],
        "accuracy": decided["accuracy"],
        "sensitivity_at_95_specificity": Roc(score, positive).sensitivity_at_specificity(0.95),
    }
    kept_measures = {name: among(measure, kept) for name, measure in measures.items()}
    missed = kept & (scores.score < threshold)
    return kept_measures | {
        "melanomas_kept": mean_of(kept, scores.positive),
        "melanomas_missed": mean_of(missed, scores.positive),
    }


def _band(scores: Scores, point: OperatingPoint, band: Band, weights: Weights) -> Figures:
    kept = ~((band.low < scores.score) & (scores.score < band.high))
    measures = {"decided": mean_of(kept)} | _partly(scores, point.threshold, kept)
    return with_intervals(measures, weights)


def _reliability(scores: Scores) -> tuple[Bin, ...]:
    found = reliability_bins(scores.score, scores.positive)
    return tuple(Bin(b.pictures, b.predicted, b.observed.value) for b in found)


def _subgroups(
    answered: Sequence[Prediction], scores: Scores, threshold: float, weights: Weights
) -> dict[str, dict[str, Group]]:
    dice = np.array([np.nan if p.clean is None else p.clean.dice for p in answered])
    called, positive = scores.score >= threshold, scores.positive
    table: dict[str, dict[str, Group]] = {}
    for attribute, groups in subgroups_of(answered).items():
        table[attribute] = {}
        for value, chosen in groups.items():
            measures: dict[str, Measure] = {
                "dice": mean_of(dice[chosen], np.isfinite(dice[chosen])),
                "auc": Roc(scores.score[chosen], positive[chosen]).auc,
                "sensitivity": mean_of(called[chosen], positive[chosen]),
                "specificity": mean_of(~called[chosen], ~positive[chosen]),
            }
            figures = with_intervals(measures, weights[:, chosen])
            table[attribute][value] = Group(int(chosen.sum()), int(positive[chosen].sum()), figures)
    return table
