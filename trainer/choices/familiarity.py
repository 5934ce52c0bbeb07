"""Fits the score by which a segmenter tells whether a picture is like those that it learnt from, and its threshold.

One regularised logistic regression on the pooled features and their squares, so that a feature may speak against
dermoscopy on both sides. Each source of good pictures weighs the same, and all good ones as much as all others. The
threshold comes from validation pictures: the highest one that refuses no more than `REFUSED` of any source's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from trainer.errors import DataError
from trainer.models.familiarity import FamiliarityWeights
from trainer.scoring.familiarity import OTHERS, VARIED, Features, Floats

STRENGTH = 0.001
"""Inverse of the regularisation: features are as many as the pictures of a small source."""
CLIP = 6.0
"""A standardised feature counts up to this size: other pictures go far beyond, and say no more there."""
REFUSED = 0.01
"""Most that may be refused of any source's validation pictures."""
FEWEST = 100
"""A source with fewer validation pictures does not set the threshold: one of them would be more than `REFUSED`."""


@dataclass(frozen=True, eq=False)
class FamiliarityFit:
    """Weights and threshold, and what they were fitted on.

    Attributes:
        weights: of the score.
        threshold: pictures below it are refused.
        refused: by source, share of its validation pictures below the threshold.
        pictures: by source, how many training and validation pictures were used; `other` counts the others.
    """

    weights: FamiliarityWeights
    threshold: float
    refused: dict[str, float] = field(default_factory=dict)
    pictures: dict[str, dict[str, int]] = field(default_factory=dict)

    def record(self) -> dict[str, object]:
        """What the manifest's provenance says of the fit: plain values."""
        return {
            "fitted_on": self.pictures,
            "refused_of_validation": {source: round(share, 5) for source, share in self.refused.items()},
            "strength": STRENGTH,
            "features": len(self.weights.centre),
        }


def fit_familiarity(features: Features, strength: float = STRENGTH) -> FamiliarityFit:
    """Weights from changed copies of training pictures against others, the threshold from validation pictures.

    Raises:
        DataError: there are no good training pictures, no others, or no source has validation pictures.
    """
    weights = fit_weights(features, strength)
    threshold, refused = choose_threshold(features, weights)
    pictures = {
        source: {part: len(features.of(part, source)) for part in (VARIED, "val")} for source in features.sources
    }
    return FamiliarityFit(
        weights, threshold, refused, pictures | {"other": {part: len(features.of(part)) for part in OTHERS}}
    )


def fit_weights(
    features: Features,
    strength: float = STRENGTH,
    good_parts: Sequence[str] = (VARIED,),
    other_parts: Sequence[str] = OTHERS,
) -> FamiliarityWeights:
    """See `fit_familiarity`.

    Args:
        features: with these parts.
        strength: inverse of the regularisation, above 0.
        good_parts: what others are told from.
        other_parts: what they are told from.

    Raises:
        DataError: there are no good training pictures, or no others.
    """
    good, other = np.isin(features.parts, good_parts), np.isin(features.parts, other_parts)
    if not good.any() or not other.any():
        raise DataError("Familiarity needs pictures to be familiar with, and others.", "Check the data's train part.")
    used = good | other
    values, truth = features.values[used].astype(np.float64), good[used]
    share = _sample_weights(features.groups[used], truth)
    centre, scale = _standard(values, np.where(truth, share, 0.0))
    z = np.clip((values - centre) * scale, -CLIP, CLIP)
    squares = z**2
    middle, spread = _standard(squares, np.where(truth, share, 0.0))
    model = LogisticRegression(C=strength, max_iter=2000)
    model.fit(np.hstack((z, (squares - middle) * spread)), truth, sample_weight=share)
    weight, curve = np.split(model.coef_[0], 2)
    curve = curve * spread
    bias = float(model.intercept_[0]) - float((curve * middle).sum())
    return FamiliarityWeights(_single(centre), _single(scale), _single(weight), _single(curve), _figures(bias), CLIP)


def choose_threshold(features: Features, weights: FamiliarityWeights) -> tuple[float, dict[str, float]]:
    """The highest threshold that refuses at most `REFUSED` of every source's validation pictures, and what it refuses.

    Where no source has `FEWEST` of them, all that there are set it.

    Raises:
        DataError: no source has validation pictures.
    """
    held = {source: weights.score(features.of("val", source)) for source in features.sources}
    held = {source: scores for source, scores in held.items() if len(scores)}
    if not held:
        raise DataError("No source has validation pictures.", "The threshold of familiarity is set on them.")
    setting = {source: scores for source, scores in held.items() if len(scores) >= FEWEST} or held
    threshold = _figures(min(_lowest_kept(scores) for scores in setting.values()))
    return threshold, {source: refused_share(scores, threshold) for source, scores in held.items()}


def refused_share(scores: Floats, threshold: float) -> float:
    """Share of scores below a threshold."""
    return float((scores < threshold).mean())


def _lowest_kept(scores: Floats) -> float:
    """Midway between the score that is the last to be refused and the next one."""
    ranked = np.sort(scores.astype(np.float64))
    count = int(REFUSED * len(ranked))
    return float(ranked[0] - 0.05 * np.ptp(ranked)) if count == 0 else float((ranked[count - 1] + ranked[count]) / 2)


def _sample_weights(groups: NDArray[np.str_], good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Every source alike, every kind of other picture by the root of its count; both sides half of the sum."""
    weights = np.zeros(len(groups))
    for side in (good, ~good):
        for group in np.unique(groups[side]):
            rows = side & (groups == group)
            count = int(rows.sum())
            weights[rows] = 1 / count if side is good else 1 / np.sqrt(count)
        weights[side] *= len(groups) / 2 / weights[side].sum()
    return weights


def _standard(
    values: NDArray[np.float64], share: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted mean, and one over the weighted deviation, of each column; a column that is constant gets scale 0."""
    mean = np.average(values, axis=0, weights=share)
    deviation = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=share))
    return mean, np.where(deviation > 1e-4, 1 / np.maximum(deviation, 1e-4), 0.0)


def _single(values: NDArray[np.float64]) -> Floats:
    return values.astype(np.float32)


def _figures(value: float) -> float:
    return float(f"{float(value):.6g}")
