"""Limits of a usable picture and of a lesion, from the training pictures."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

import numpy as np

from edge_infer.rules import MaskRule, QualityLimits
from edge_infer.steps.quality import Quality
from trainer.scoring.metrics import Floats
from trainer.scoring.predictions import Prediction

LIMIT_MARGIN = 0.25


DARKER, FLATTER, NEARER_WHITE, BLURRED = 2**1.5, 4.0, 4.0, 12.0
"""So many times darker, flatter, nearer to white, or less sharp than usual is refused; see `quality_limits`."""


REFUSED_OF_A_SOURCE = 0.005
"""At most so many of a source's training pictures are refused by one of these limits."""


REFUSED_LARGE_AREA = 0.001


REFUSED_CONFIDENCE = 0.0025


def quality_limits(seen: Mapping[str, Sequence[Quality]], min_side: int) -> QualityLimits:
    """Limits at a distance from what is usual in each source: outside them a picture is unlike any learned from.

    Usual is a source's median: a stop and a half darker, two stops flatter, two stops nearer to white, or a twelfth as
    sharp is refused, but no more than `REFUSED_OF_A_SOURCE` by one limit. The loosest of the sources decides. Medians
    of sources lie closer together than their tails do, so these limits hold in a source that they were not fitted to,
    and the tail of a small source is its two or three worst pictures.

    Args:
        seen: measures of the training pictures by source; without those whose pictures are smaller than the product
            takes, which are as smooth as a blurred picture.
        min_side: smallest usable shorter side in pixels.
    """
    each = [np.array([list(item) for item in measures], np.float64).T for measures in seen.values()]
    return QualityLimits(
        min_side=min_side,
        min_contrast=_round(min(_floor(contrast, FLATTER) for _, contrast, _ in each)),
        min_luminance=_round(min(_floor(luminance, DARKER) for luminance, _, _ in each)),
        max_luminance=_round(255 - min(_floor(255 - luminance, NEARER_WHITE) for luminance, _, _ in each)),
        min_sharpness=_round(min(_floor(sharpness, BLURRED) for _, _, sharpness in each)),
    )


def quality_by_source(
    seen: Iterable[tuple[str, Quality]], exempt: Sequence[str], validated: Container[str]
) -> dict[str, list[Quality]]:
    """What `quality_limits` is fitted to: the sources that have a say, or all where there is no such.

    Args:
        seen: source and measures of the training pictures.
        exempt: sources that are scored at any size, and have no say.
        validated: sources with validation pictures. The others, which only train, have no say either: the loosest
            source decides, and nobody would see what their say lets pass.
    """
    found: dict[str, list[Quality]] = {}
    for source, quality in seen:
        found.setdefault(source, []).append(quality)
    return {name: each for name, each in found.items() if name not in exempt and name in validated} or found


def _floor(values: Floats, times: float) -> float:
    return float(min(np.median(values) / times, np.quantile(values, REFUSED_OF_A_SOURCE)))


def area_limits(areas: Floats, threshold: float) -> MaskRule:
    """Area limits from the training masks.

    A lesion a quarter smaller than the smallest seen is refused, and one that fills the picture more than all but one
    in a thousand: its border is out of sight.
    """
    return MaskRule(
        threshold, _round(areas.min() * (1 - LIMIT_MARGIN)), _round(np.quantile(areas, 1 - REFUSED_LARGE_AREA))
    )


def confidence_limit(found: Sequence[Prediction]) -> float:
    """The least mean probability inside an outline: the least certain in four hundred of these pictures are refused.

    Dermoscopic pictures all show a lesion, so what lies below is mostly skin that was taken for one.
    """
    outlined = [p.confidence for p in found if p.area > 0]
    return _round(float(np.quantile(outlined, REFUSED_CONFIDENCE))) if outlined else 0.0


def _between(low: float, high: float) -> float:
    return _inside((float(low) + float(high)) / 2)


def _inside(threshold: float) -> float:
    return min(max(threshold, 1e-6), 1 - 1e-6)


def _round(value: float) -> float:
    return float(f"{value:.3g}")
