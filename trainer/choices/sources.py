"""What each picture counts where choices rest on several sources: every source alike, at one share of melanoma."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.errors import DataError
from trainer.scoring.metrics import Bools, Floats, decision_measures, lesion_weights, show, with_intervals
from trainer.scoring.scores import Scores


def equal_weights(sources: Sequence[str], positive: Bools, prior: float) -> Floats:
    """Weights that sum to 1, under which every source counts the same and shows melanoma with this share.

    A melanoma of source s counts prior / (S n+), any other lesion (1 - prior) / (S n-), with S sources and n+ melanomas
    and n- other pictures of s. A loss so weighted is the mean over the sources of what each would be if its share of
    melanoma were the prior (importance weights under label shift; Saerens, Latinne and Decaestecker, 2002).

    Args:
        sources: of each picture, length n.
        positive: whether it shows melanoma, shape (n,).
        prior: 0..1, exclusive.

    Raises:
        DataError: a source has no melanoma, or nothing else.
    """
    names = np.asarray(sources)
    weights = np.zeros(len(names))
    for name in dict.fromkeys(sources):
        own = names == name
        for chosen, share in ((own & positive, prior), (own & ~positive, 1 - prior)):
            if not chosen.any():
                what = "other lesions" if positive[own].all() else "melanoma"
                raise DataError(
                    f"The unseen pictures of {name} show no {what}.", "Calibrate on sources that show both, or on more."
                )
            weights[chosen] = share / chosen.sum()
    return np.asarray(weights / len(set(sources)))


def mean_share(sources: Sequence[str], positive: Bools) -> float:
    """The mean over the sources of their share of melanoma, to four digits."""
    names = np.asarray(sources)
    return round(float(np.mean([positive[names == name].mean() for name in dict.fromkeys(sources)])), 4)


def held_by_source(scores: Scores, threshold: float) -> str:
    """What a threshold holds on each source's pictures, with 95 % intervals by lesion, in words."""
    names = np.asarray(scores.sources)
    parts = []
    for name in dict.fromkeys(scores.sources):
        own = names == name
        lesions = [lesion for lesion, chosen in zip(scores.lesions, own, strict=True) if chosen]
        measures = decision_measures(scores.score[own] >= threshold, scores.positive[own])
        found = with_intervals({key: measures[key] for key in ("sensitivity", "specificity")}, lesion_weights(lesions))
        parts.append(f"{name} " + ", ".join(f"{key} {show(metric, 2)}" for key, metric in found.items()))
    return "; ".join(parts)
