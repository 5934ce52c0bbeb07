"""Everything that `edge-infer evaluate` reports, computed from cases alone: nothing here runs a network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_infer.errors import InputError
from edge_infer.evaluate.answers import Case
from edge_infer.evaluate.metrics import (
    Bools,
    Floats,
    Measure,
    ReliabilityBin,
    Roc,
    decision_measures,
    lesion_weights,
    mean_of,
    melanoma_measures,
    reliability_bins,
    with_interval,
    with_intervals,
)
from edge_infer.rules import Metric, OperatingPoint

Figures = dict[str, Metric]


@dataclass(frozen=True)
class Refusals:
    """Pictures without a probability for one reason, and how many of them are melanomas."""

    pictures: int
    melanomas: int


@dataclass(frozen=True)
class Group:
    """One subgroup: its answered pictures, the melanomas among them, and their figures."""

    pictures: int
    melanomas: int
    figures: Figures


@dataclass(frozen=True)
class Report:
    """All figures, those of probabilities over the answered pictures.

    Attributes:
        pictures, groups, melanomas: of all pictures that could be used.
        answered: pictures with a probability.
        refusals: the others by reason.
        failed: pictures that could not be used, by error; they count nowhere else.
        melanoma: ranking, calibration and Brier score; `auc_all_pictures` also ranks the refused pictures, at their
            worst: a refused melanoma below and any other refused lesion above everything that was answered.
        points: decision figures by operating point.
        reliability: bins of the calibration plot.
        roc: points (1 - specificity, sensitivity) of the curve, from (0, 0) to (1, 1).
        subgroups: by attribute and value, at the default operating point.
        default_point: its name.
        thresholds: by operating point.
    """

    pictures: int
    groups: int
    melanomas: int
    answered: int
    refusals: dict[str, Refusals]
    failed: dict[str, int]
    melanoma: Figures
    points: dict[str, Figures]
    reliability: tuple[ReliabilityBin, ...]
    roc: tuple[tuple[float, float], ...]
    subgroups: dict[str, dict[str, Group]]
    default_point: str
    thresholds: dict[str, float]


def evaluate(
    cases: Sequence[Case], points: Sequence[OperatingPoint], default_point: str, resamples: int = 1000
) -> Report:
    """Computes all figures.

    Args:
        cases: labelled pictures with their answers.
        points: operating points; their thresholds apply to the probabilities.
        default_point: the one that subgroups are measured at.
        resamples: of the bootstrap by group, for 95 % intervals.

    Raises:
        InputError: no picture was answered, or all answered ones are of one kind.
    """
    usable = [case for case in cases if not case.failed]
    answered = [case for case in usable if case.probability is not None]
    score, positive = arrays(answered)
    if positive.all() or not positive.any():
        raise InputError(
            f"Of {len(positive)} answered pictures {int(positive.sum())} are melanomas: nothing to tell apart.",
            "Give pictures of both kinds, and check the label column.",
        )
    weights = lesion_weights([case.picture.group for case in answered], resamples)
    every = lesion_weights([case.picture.group for case in usable], resamples)
    melanoma = with_intervals(melanoma_measures(score, positive), weights)
    worst = with_interval(_ranked_with_refusals(usable).auc, every)
    thresholds = {point.name: point.threshold for point in points}
    return Report(
        pictures=len(usable),
        groups=len({case.picture.group for case in usable}),
        melanomas=sum(case.picture.melanoma for case in usable),
        answered=len(answered),
        refusals=_refusals(usable),
        failed=dict(Counter(str(case.reason) for case in cases if case.failed)),
        melanoma=melanoma | ({} if worst is None else {"auc_all_pictures": worst}),
        points={
            name: with_intervals(decision_measures(score >= threshold, positive), weights)
            for name, threshold in thresholds.items()
        },
        reliability=tuple(reliability_bins(score, positive, weights)),
        roc=_curve(score, positive),
        subgroups=_subgroups(answered, thresholds[default_point], resamples),
        default_point=default_point,
        thresholds=thresholds,
    )


def arrays(answered: Sequence[Case]) -> tuple[Floats, Bools]:
    """Probabilities, float64 (n,), and truths, bool (n,), of cases that have a probability."""
    score = np.array([case.probability for case in answered], np.float64)
    return score, np.array([case.picture.melanoma for case in answered], bool)


def _ranked_with_refusals(cases: Sequence[Case]) -> Roc:
    positive = np.array([case.picture.melanoma for case in cases], bool)
    score = np.array([np.nan if case.probability is None else case.probability for case in cases])
    return Roc(np.where(np.isnan(score), np.where(positive, -1.0, 2.0), score), positive)


def _refusals(cases: Sequence[Case]) -> dict[str, Refusals]:
    refused = [case for case in cases if case.probability is None]
    counts = Counter(str(case.reason) for case in refused)
    melanomas = Counter(str(case.reason) for case in refused if case.picture.melanoma)
    return {reason: Refusals(count, melanomas[reason]) for reason, count in counts.most_common()}


def _curve(score: Floats, positive: Bools) -> tuple[tuple[float, float], ...]:
    order = np.argsort(-score, kind="stable")
    last = np.r_[score[order][1:] != score[order][:-1], True]
    hits, alarms = np.cumsum(positive[order])[last], np.cumsum(~positive[order])[last]
    spots = np.vstack((np.zeros(2), np.stack((alarms / alarms[-1], hits / hits[-1]), 1)))
    return tuple((float(x), float(y)) for x, y in spots)


def _subgroups(answered: Sequence[Case], threshold: float, resamples: int) -> dict[str, dict[str, Group]]:
    score, positive = arrays(answered)
    called = score >= threshold
    weights = lesion_weights([case.picture.group for case in answered], resamples)
    table: dict[str, dict[str, Group]] = {}
    for attribute in answered[0].picture.attributes:
        values = np.array([case.picture.attributes[attribute] for case in answered])
        table[attribute] = {}
        for value in sorted(set(values)):
            chosen = values == value
            measures: dict[str, Measure] = {
                "auc": Roc(score[chosen], positive[chosen]).auc,
                "sensitivity": mean_of(called[chosen], positive[chosen]),
                "specificity": mean_of(~called[chosen], ~positive[chosen]),
            }
            figures = with_intervals(measures, weights[:, chosen])
            table[attribute][str(value)] = Group(int(chosen.sum()), int(positive[chosen].sum()), figures)
    return table
