"""All choices of a bundle, from stored answers to pictures that its networks never saw: no network, no picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_infer.rules import Calibration, DermoscopyRule, FamiliarityRule, MaskRule, OperatingPoint, QualityLimits
from edge_infer.steps.appearance import dermoscopy_score
from trainer.choices.appearance import fit_rule
from trainer.choices.limits import area_limits, confidence_limit, quality_limits
from trainer.choices.operating_points import DEFAULT_POINT, choose_operating_points, fit_temperature
from trainer.data.ham10000 import MELANOMA
from trainer.scoring.answers import Unseen
from trainer.scoring.measures import Measures
from trainer.scoring.networks import MASK_THRESHOLD
from trainer.scoring.predict import Limits, reason_of
from trainer.scoring.predictions import Prediction, refuse
from trainer.scoring.scores import scores_of, temper


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


def choose(unseen: Unseen) -> tuple[Choices, list[Prediction]]:
    """Limits from the training pictures; temperature and operating points from the answers.

    Returns:
        The choices, and the calibrated predictions that they rest on.
    """
    training, validation = ([unseen.measures[i] for i in ids] for ids in (unseen.training, unseen.validation))
    looks = [m.appearance for m in training]
    mask = area_limits(np.array([m.true_area for m in training]), MASK_THRESHOLD)
    quality = quality_limits([m.quality for m in training], unseen.side // 2)
    familiarity, dermoscopy = unseen.familiarity, None
    if familiarity is None:
        dermoscopy = fit_rule(looks, unseen.varied, [m.appearance for m in validation], unseen.others)
    held = set(unseen.validation)
    sure = confidence_limit([p for p in unseen.predictions if p.image_id in held])
    limits, mask = Limits(mask, quality, dermoscopy, familiarity), replace(mask, min_confidence=sure)
    found = [refuse(_judged(p, unseen.measures[p.image_id], limits), mask) for p in unseen.predictions]
    calibration = fit_temperature(scores_of(_answered(found), unseen.labels, MELANOMA), unseen.split)
    found = [temper(p, calibration.temperature) for p in found]
    scores = scores_of(_answered(found), unseen.labels, MELANOMA)
    points = choose_operating_points(scores, unseen.split)
    return Choices(mask, quality, calibration, points, DEFAULT_POINT, dermoscopy, familiarity), found


def _judged(prediction: Prediction, measures: Measures, limits: Limits) -> Prediction:
    """The same picture under these limits."""
    score = None if limits.dermoscopy is None else dermoscopy_score(measures.appearance, limits.dermoscopy)
    size = measures.height, measures.width
    sure, familiar = prediction.confidence, prediction.familiarity
    reason = reason_of(size, prediction.quality, score, prediction.area, sure, limits, familiar)
    return replace(prediction, reason=reason, dermoscopy=score)


def _answered(predictions: Sequence[Prediction]) -> list[Prediction]:
    return [p for p in predictions if not p.reason]
