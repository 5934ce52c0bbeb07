"""Does a bundle refuse what it should? From the stored measures of `trainer.scoring.trials`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_infer.bundle.manifest import Manifest
from edge_infer.rules import Metric
from edge_infer.steps.appearance import appearance_problem, familiarity_problem
from edge_infer.steps.quality import lesion_problem, quality_problem
from trainer.scoring.metrics import Roc, lesion_weights, mean_of, show, with_intervals
from trainer.scoring.predictions import Prediction
from trainer.scoring.trials import NEGATIVE, Trial


@dataclass(frozen=True)
class Refusals:
    """What a bundle refuses.

    Attributes:
        shares: share of the trials that get no probability, by what they are.
        detection: how well pictures of other things are told from the test pictures, with 95 % intervals by lesion and
            by source: AUROC of the score alone, shares refused by it and by any rule. Empty without such a score.
    """

    shares: dict[str, float]
    detection: dict[str, Metric]


def refused(trials: Sequence[Trial], manifest: Manifest) -> dict[str, float]:
    """Share of the trials that get no probability, by what they are."""
    shares: dict[str, list[bool]] = {}
    for trial in trials:
        shares.setdefault(trial.what, []).append(_is_refused(trial, manifest))
    return {f"{what} (n = {len(flags)})": sum(flags) / len(flags) for what, flags in shares.items()}


def detection(trials: Sequence[Trial], test: Sequence[Prediction], manifest: Manifest) -> dict[str, Metric]:
    """See `Refusals`; higher AUROC is better, and of dermoscopic pictures few should be refused."""
    if manifest.familiarity is not None:
        name, least = "familiarity", manifest.familiarity.threshold
    elif manifest.dermoscopy is not None:
        name, least = "dermoscopy", manifest.dermoscopy.min_score
    else:
        return {}
    others = [trial for trial in trials if trial.what.startswith(NEGATIVE) and getattr(trial, name) is not None]
    pictures = [p for p in test if getattr(p, name) is not None]
    if not others or not pictures:
        return {}
    score = np.array([getattr(one, name) for one in (*pictures, *others)], np.float64)
    genuine = np.arange(len(score)) < len(pictures)
    owners = [p.lesion_id for p in pictures] + [trial.image_id.partition("#")[0] for trial in others]
    unlike = score < least
    no_answer = np.array([bool(p.reason) for p in pictures] + [_is_refused(trial, manifest) for trial in others])
    measures = {
        "AUROC of the score": Roc(score, genuine).auc,
        "dermoscopic pictures refused for their look": mean_of(unlike, genuine),
        "dermoscopic pictures refused for any reason": mean_of(no_answer, genuine),
        "other pictures refused for their look": mean_of(unlike, ~genuine),
        "other pictures refused for any reason": mean_of(no_answer, ~genuine),
    }
    return with_intervals(measures, lesion_weights(owners))


def refusal_tables(refusals: Refusals) -> str:
    """Both as Markdown."""
    rows = [f"| {what} | {share:.1%} |" for what, share in refusals.shares.items()]
    parts = ["### What is refused\n", "\n".join(["| picture | refused |", "| --- | --- |", *rows]) + "\n"]
    if refusals.detection:
        rows = [f"| {name} | {show(metric, 4)} |" for name, metric in refusals.detection.items()]
        parts += [
            "Pictures of other things (photographs of libraries, charts and shapes drawn by code; none was used for "
            "fitting) against the test split, resampled by lesion and by source:\n",
            "\n".join(["| measure | value |", "| --- | --- |", *rows]) + "\n",
        ]
    return "\n".join(parts)


def _is_refused(trial: Trial, manifest: Manifest) -> bool:
    problem = quality_problem(trial.quality, manifest.quality)
    if problem is None and trial.dermoscopy is not None and manifest.dermoscopy is not None:
        problem = appearance_problem(trial.dermoscopy, manifest.dermoscopy)
    if problem is None and trial.familiarity is not None and manifest.familiarity is not None:
        problem = familiarity_problem(trial.familiarity, manifest.familiarity)
    if problem is None and trial.area is not None and trial.confidence is not None:
        problem = lesion_problem(trial.area, trial.confidence, manifest.mask)
    return problem is not None
