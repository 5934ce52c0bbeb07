"""All figures of one row, from its per-image predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_infer.rules import Metric
from trainer.choices.operating_points import threshold_for_youden
from trainer.errors import DataError
from trainer.report.summary import Figures, dice_by_class, overlaps_of, subgroups_of
from trainer.scoring.masks import pooled_measures, segmentation_measures
from trainer.scoring.metrics import (
    Measure,
    Roc,
    class_measures,
    decision_measures,
    lesion_weights,
    mean_of,
    melanoma_measures,
    multiclass_measures,
    with_interval,
    with_intervals,
)
from trainer.scoring.predictions import Prediction
from trainer.scoring.scores import Scores, scores_of

HALF = "0.5"
CHOSEN = "best on val"
"""Names of the two decision thresholds: the papers' 0.5, and the one with the largest Youden index on `val`."""


@dataclass(frozen=True)
class Segmentation:
    """Figures of one kind of mask: means over pictures, all pixels in one pot, and mean Dice by diagnosis."""

    per_picture: Figures
    pooled: Figures
    dice_by_class: Figures


@dataclass(frozen=True)
class Classification:
    """Figures of the classes, over the pictures that got an answer.

    Attributes:
        answered: how many did.
        ranking: AUC of the positive class, sensitivity at fixed specificity, calibration error, Brier score.
        thresholds: by the threshold's name.
        decisions: accuracy, sensitivity and so on, by the threshold's name.
        classes: over all classes, by the most probable one; empty for two classes.
        per_class: each class against the rest; empty for two classes.
    """

    answered: int
    ranking: Figures
    thresholds: dict[str, float]
    decisions: dict[str, Figures]
    classes: Figures
    per_class: dict[str, Figures]


@dataclass(frozen=True)
class Subgroup:
    """Pictures with one value of an attribute: how many, how many positive ones, and their figures."""

    pictures: int
    positives: int
    figures: Figures


@dataclass(frozen=True)
class Figured:
    """What `measure` finds; parts that do not apply are None. `subgroups` is by attribute and value."""

    images: int
    lesions: int
    positives: int
    clean: Segmentation | None
    raw: Segmentation | None
    classification: Classification | None
    subgroups: dict[str, dict[str, Subgroup]]


def threshold_on(val: Sequence[Prediction], labels: Sequence[str], positive: str) -> float | None:
    """The threshold with the largest Youden index on validation predictions; None where they cannot choose one."""
    try:
        return round(threshold_for_youden(scores_of(val, labels, positive)), 6)
    except DataError:
        return None


def measure(
    predictions: Sequence[Prediction],
    labels: Sequence[str] = (),
    positive: str = "mel",
    threshold: float | None = None,
    resamples: int = 1000,
) -> Figured:
    """All figures with 95 % intervals, bootstrapped by lesion.

    Args:
        predictions: rows of the test split.
        labels: the classes in order; empty where there are none.
        positive: the class that a decision is about.
        threshold: chosen on `val`; None leaves its figures out.
        resamples: of the bootstrap.
    """
    weights = lesion_weights([p.lesion_id for p in predictions], resamples)
    masks = {which: overlaps_of(predictions, which) for which in ("clean", "raw")}
    names = np.array([p.dx for p in predictions])
    segmentation = {
        which: None
        if overlaps is None
        else Segmentation(
            with_intervals(segmentation_measures(overlaps), weights),
            with_intervals(pooled_measures(overlaps), weights),
            dice_by_class(overlaps, list(names), weights),
        )
        for which, overlaps in masks.items()
    }
    answered = [p for p in predictions if p.probabilities]
    scores = scores_of(answered, labels, positive) if labels and answered else None
    classes = None if scores is None else _classification(scores, labels, threshold, resamples)
    return Figured(
        images=len(predictions),
        lesions=len({p.lesion_id for p in predictions}),
        positives=int((names == positive).sum()),
        clean=segmentation["clean"],
        raw=segmentation["raw"],
        classification=classes,
        subgroups=_subgroups(predictions, positive, labels, threshold, resamples),
    )


def differences(
    changed: Sequence[Prediction], base: Sequence[Prediction], positive: str, resamples: int = 1000
) -> Figures:
    """Paired differences, changed minus base, over the pictures that both answered, with 95 % intervals by lesion.

    Args:
        changed, base: predictions of the same pictures in the same order.
        positive: the class that AUC and sensitivity are about; "" for segmentation.
        resamples: of the bootstrap.

    Raises:
        DataError: the pictures are not the same.
    """
    if [p.image_id for p in changed] != [p.image_id for p in base]:
        raise DataError("The two rows did not answer the same pictures.", "Make both with the same split and limit.")
    pairs = [
        (a, b) for a, b in zip(changed, base, strict=True) if not positive or (a.probabilities and b.probabilities)
    ]
    sides = tuple([pair[side] for pair in pairs] for side in (0, 1))
    weights = lesion_weights([a.lesion_id for a in sides[0]], resamples)
    first, second = (figures_by_name(side, positive) for side in sides)
    return with_intervals({name: _minus(first[name], second[name]) for name in first if name in second}, weights)


def mean_difference(
    pairs: Sequence[tuple[Sequence[Prediction], Sequence[Prediction]]], name: str, positive: str, resamples: int = 1000
) -> Metric | None:
    """Mean over pairs of networks of the paired difference of one figure, first minus second.

    The bootstrap draws the same lesions for all pairs.

    Args:
        pairs: predictions of the same pictures in the same order, in every one.
        name: of the figure, as in `differences`.
        positive: the class that it is about; "" for segmentation.
        resamples: of the bootstrap.

    Returns:
        With its 95 % interval; None without a pair.

    Raises:
        DataError: the pictures are not the same.
    """
    if not pairs:
        return None
    first = pairs[0][0]
    if any([p.image_id for p in side] != [p.image_id for p in first] for pair in pairs for side in pair):
        raise DataError("The rows did not answer the same pictures.", "Make them with the same split and limit.")
    found = [_difference(pair, name, positive) for pair in pairs]
    weights = lesion_weights([p.lesion_id for p in first], resamples)
    return with_interval(lambda drawn: np.mean([one(drawn) for one in found], axis=0), weights)


def _difference(pair: tuple[Sequence[Prediction], Sequence[Prediction]], name: str, positive: str) -> Measure:
    """Over the pictures that both sides answered."""
    both = zip(*pair, strict=True)
    kept = np.array([not positive or bool(a.probabilities and b.probabilities) for a, b in both])
    sides = [figures_by_name([p for p, keep in zip(side, kept, strict=True) if keep], positive)[name] for side in pair]
    return lambda drawn: sides[0](drawn[:, kept]) - sides[1](drawn[:, kept])


def figures_by_name(found: Sequence[Prediction], positive: str) -> dict[str, Measure]:
    """The figures of answered pictures: of the classes, or of the masks after clean-up where `positive` is empty.

    Raises:
        DataError: masks are asked for and there are none.
    """
    if positive:
        return _class_figures(found, positive)
    overlaps = overlaps_of(found, "clean")
    if overlaps is None:
        raise DataError("A row of segmentation holds no masks.", "Make it again with `trainer compare`.")
    return segmentation_measures(overlaps)


def _class_figures(found: Sequence[Prediction], positive: str) -> dict[str, Measure]:
    labels = tuple(found[0].probabilities)
    scores = scores_of(found, labels, positive)
    several = multiclass_measures(scores.probabilities, scores.truth) if len(labels) > 2 else {}
    return melanoma_measures(scores.score, scores.positive) | several


def _minus(first: Measure, second: Measure) -> Measure:
    return lambda weights: first(weights) - second(weights)


def _classification(scores: Scores, labels: Sequence[str], threshold: float | None, resamples: int) -> Classification:
    weights = lesion_weights(scores.lesions, resamples)
    thresholds = {HALF: 0.5} | ({} if threshold is None else {CHOSEN: threshold})
    several = len(labels) > 2
    return Classification(
        answered=len(scores.truth),
        ranking=with_intervals(melanoma_measures(scores.score, scores.positive), weights),
        thresholds=thresholds,
        decisions={
            name: with_intervals(decision_measures(scores.score >= value, scores.positive), weights)
            for name, value in thresholds.items()
        },
        classes=with_intervals(multiclass_measures(scores.probabilities, scores.truth), weights) if several else {},
        per_class={
            label: with_intervals(class_measures(scores.probabilities, scores.truth, i), weights)
            for i, label in enumerate(labels)
            if several
        },
    )


def _subgroups(
    predictions: Sequence[Prediction], positive: str, labels: Sequence[str], threshold: float | None, resamples: int
) -> dict[str, dict[str, Subgroup]]:
    masked = overlaps_of(predictions, "clean")
    score = np.array([p.probabilities.get(positive, np.nan) for p in predictions])
    cut = 0.5 if threshold is None else threshold
    weights = lesion_weights([p.lesion_id for p in predictions], resamples)
    truth = np.array([p.dx == positive for p in predictions])
    table: dict[str, dict[str, Subgroup]] = {}
    for attribute, groups in subgroups_of(predictions).items():
        table[attribute] = {}
        for value, chosen in groups.items():
            figures: Figures = {}
            if masked is not None:
                overlap: dict[str, Measure] = {
                    "dice": mean_of(masked.dice[chosen]),
                    "jaccard": mean_of(masked.jaccard[chosen]),
                }
                figures |= with_intervals(overlap, weights[:, chosen])
            seen = chosen & np.isfinite(score)
            if labels and seen.any():
                called = decision_measures(score[seen] >= cut, truth[seen])
                wanted: dict[str, Measure] = {"auc": Roc(score[seen], truth[seen]).auc}
                wanted |= {name: called[name] for name in ("sensitivity", "specificity")}
                figures |= with_intervals(wanted, weights[:, seen])
            table[attribute][value] = Subgroup(int(chosen.sum()), int(truth[chosen].sum()), figures)
    return table


def dice_of(figures: Figured) -> Metric | None:
    """Mean Dice of the cleaned masks; None where it outlines nothing."""
    return figures.clean.per_picture.get("dice") if figures.clean else None


def auc_of(figures: Figured) -> Metric | None:
    """AUC of the positive class; None where it names nothing."""
    return figures.classification.ranking.get("auc") if figures.classification else None


def accuracy_of(figures: Figured) -> Metric | None:
    """Accuracy over all classes; None where there are two or none."""
    return figures.classification.classes.get("class_accuracy") if figures.classification else None
