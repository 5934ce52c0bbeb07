"""All choices of a bundle, from stored answers to pictures that its networks never saw: no network, no picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from edge_infer.rules import Calibration, DermoscopyRule, FamiliarityRule, MaskRule, OperatingPoint, QualityLimits
from edge_infer.steps.appearance import dermoscopy_score
from trainer.choices.appearance import fit_rule
from trainer.choices.limits import area_limits, confidence_limit, quality_by_source, quality_limits
from trainer.choices.operating_points import DEFAULT_POINT, choose_operating_points, fit_platt, fit_temperature
from trainer.choices.sources import equal_weights, held_by_source, mean_share
from trainer.data.ham10000 import MELANOMA
from trainer.scoring.answers import Unseen
from trainer.scoring.measures import Measures
from trainer.scoring.metrics import Floats
from trainer.scoring.networks import MASK_THRESHOLD
from trainer.scoring.predict import Limits, reason_of
from trainer.scoring.predictions import Prediction, refuse
from trainer.scoring.scores import Scores, scores_of, temper


@dataclass(frozen=True)
class Choices:
    """What was fixed on the training and validation pictures: see `trainer.choices.operating_points`."""

    mask: MaskRule
    quality: QualityLimits
    calibration: Calibration
    operating_points: tuple[OperatingPoint, ...]
    default_operating_point: str
    dermoscopy: DermoscopyRule | None = None
    familiarity: FamiliarityRule | None = None


@dataclass(frozen=True)
class Choosing:
    """What a bundle's recipe says about its choices.

    Attributes:
        calibration: "temperature", or "platt": temperature and a bias on the logit of melanoma.
        prior: share of melanoma that the probabilities assume; None: the mean of the sources' own shares.
        size_exempt: sources whose pictures are answered however small, and therefore smooth, they are.
    """

    calibration: Literal["temperature", "platt"] = "temperature"
    prior: float | None = None
    size_exempt: tuple[str, ...] = ()


def choose(unseen: Unseen, how: Choosing = Choosing()) -> tuple[Choices, list[Prediction]]:
    """Limits from the training pictures; calibration and operating points from the answers.

    Of several sources each counts the same, at one share of melanoma: see `trainer.choices.sources.equal_weights`.

    Returns:
        The choices, and the calibrated predictions that they rest on.
    """
    training, validation = ([unseen.measures[i] for i in ids] for ids in (unseen.training, unseen.validation))
    looks = [m.appearance for m in training]
    mask = area_limits(np.array([m.true_area for m in training if m.true_area is not None]), MASK_THRESHOLD)
    validated = {m.source for m in validation}
    seen = quality_by_source(((m.source, m.quality) for m in training), how.size_exempt, validated)
    quality = quality_limits(seen, unseen.side // 2)
    familiarity, dermoscopy = unseen.familiarity, None
    if familiarity is None:
        dermoscopy = fit_rule(looks, unseen.varied, [m.appearance for m in validation], unseen.others)
    held = set(unseen.validation)
    exempt = how.size_exempt
    sure = confidence_limit([p for p in unseen.predictions if p.image_id in held])
    limits, mask = Limits(mask, quality, dermoscopy, familiarity), replace(mask, min_confidence=sure)
    found = [refuse(_judged(p, unseen.measures[p.image_id], limits, exempt), mask) for p in unseen.predictions]
    scores = scores_of(_answered(found), unseen.labels, MELANOMA)
    calibration, weights = calibrate(scores, unseen.split, how)
    found = [temper(p, calibration.temperature, calibration.bias) for p in found]
    scores = scores_of(_answered(found), unseen.labels, MELANOMA)
    points = choose_operating_points(scores, unseen.split, weights)
    if len(set(scores.sources)) > 1:
        held_there = [f"{point.rule}; there {held_by_source(scores, point.threshold)}" for point in points]
        points = tuple(replace(point, rule=rule) for point, rule in zip(points, held_there, strict=True))
    return Choices(mask, quality, calibration, points, DEFAULT_POINT, dermoscopy, familiarity), found


def calibrate(scores: Scores, split: str, how: Choosing) -> tuple[Calibration, Floats | None]:
    """The calibration of uncalibrated scores, and what each picture counted; None: all alike, of a single source."""
    prior = mean_share(scores.sources, scores.positive) if how.prior is None else how.prior
    several = len(set(scores.sources)) > 1 or how.prior is not None
    weights = equal_weights(scores.sources, scores.positive, prior) if several else None
    fit = fit_platt if how.calibration == "platt" else fit_temperature
    return replace(fit(scores, split, weights), prior=prior), weights


def _judged(prediction: Prediction, measures: Measures, limits: Limits, exempt: Sequence[str]) -> Prediction:
    """The same picture under these limits."""
    limits = limits.of_any_size() if prediction.source in exempt else limits
    score = None if limits.dermoscopy is None else dermoscopy_score(measures.appearance, limits.dermoscopy)
    size = measures.height, measures.width
    sure, familiar = prediction.confidence, prediction.familiarity
    reason = reason_of(size, prediction.quality, score, prediction.area, sure, limits, familiar)
    return replace(prediction, reason=reason, dermoscopy=score)


def _answered(predictions: Sequence[Prediction]) -> list[Prediction]:
    return [p for p in predictions if not p.reason]
