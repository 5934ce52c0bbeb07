"""All choices of a bundle, from pictures that its networks never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from trainer.bundle.provenance import MELANOMA
from trainer.bundle.system import Choices, System
from trainer.choices.appearance import fit_dermoscopy_rule
from trainer.choices.limits import area_limits, confidence_limit, measure_pictures, quality_limits, true_areas
from trainer.choices.operating_points import DEFAULT_POINT, choose_operating_points, fit_temperature
from trainer.choices.out_of_fold import predict_out_of_fold
from trainer.data.ham10000 import Record
from trainer.scoring.predict import Rules, predict, select
from trainer.scoring.predictions import Prediction, refuse
from trainer.scoring.scores import scores_of, temper
from trainer.training.checkpoint import Checkpoint
from trainer.training.folds import OUT_OF_FOLD

MASK_THRESHOLD = 0.5


def choose(
    system: System, records: Sequence[Record], limit: int | None = None, folds: Sequence[Checkpoint] = ()
) -> tuple[Choices, list[Prediction]]:
    """Limits from the training pictures; temperature and operating points from pictures that the classifier never saw.

    Those are the validation split or, for a cross-fitted classifier, the folds.

    Args:
        system: the trained networks.
        records: the whole data set.
        limit: use only so many pictures of each split, for a trial.
        folds: see `trainer.training.folds.load_folds`.

    Returns:
        The choices, and the calibrated predictions that they rest on.
    """
    segmenter, classifier = (stage.input for stage in system.stages())
    training = select(records, "train", limit)
    mask = area_limits(true_areas(training), MASK_THRESHOLD)
    quality = quality_limits(measure_pictures(training, segmenter), segmenter.height // 2)
    validation = select(records, "val", limit)
    dermoscopy = fit_dermoscopy_rule(training, validation, segmenter)
    rules = Rules(segmenter, classifier, system.labels, mask, system.roi, quality, dermoscopy)
    if folds:
        found = list(predict_out_of_fold(folds, records, rules, system.networks(), limit, system.views))
    else:
        found = list(predict(validation, rules, system.networks()))
    unseen = {record.image_id for record in validation}
    mask = replace(mask, min_confidence=confidence_limit([p for p in found if p.image_id in unseen]))
    found = [refuse(p, mask) for p in found]
    split = OUT_OF_FOLD if folds else "val"
    calibration = fit_temperature(scores_of(_answered(found), system.labels, MELANOMA), split)
    found = [temper(p, calibration.temperature) for p in found]
    scores = scores_of(_answered(found), system.labels, MELANOMA)
    points = choose_operating_points(scores, split)
    return Choices(mask, quality, calibration, points, DEFAULT_POINT, dermoscopy), found


def _answered(predictions: Sequence[Prediction]) -> list[Prediction]:
    return [p for p in predictions if not p.reason]
