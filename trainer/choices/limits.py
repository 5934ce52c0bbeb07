"""Limits of a usable picture and of a lesion, from the training pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edge_infer.rules import MaskRule, QualityLimits
from edge_infer.steps.quality import Quality
from trainer.scoring.metrics import Floats
from trainer.scoring.predictions import Prediction

LIMIT_MARGIN, BRIGHTNESS_MARGIN = 0.25, 0.05


REFUSED_SHARPNESS = 0.0025


REFUSED_LIGHT, REFUSED_SHARPNESS_OF_ONE = 0.0025, 0.005


REFUSED_LARGE_AREA = 0.001


REFUSED_CONFIDENCE = 0.0025


def quality_limits(seen: Sequence[Quality], min_side: int) -> QualityLimits:
    """Limits around what the training pictures show; outside them a picture is unlike any that was learned from.

    Brightness and contrast are refused beyond the extremes seen, with a margin of a twentieth of the way to black or to
    white, and of a quarter of the way to no contrast at all.
    Sharpness has no such gap, as the blurriest training pictures are themselves as smooth as a blurred one: the least
    sharp in four hundred are refused.

    Args:
        seen: measures of the training pictures.
        min_side: smallest usable shorter side in pixels.
    """
    luminance, contrast, sharpness = (np.array(column) for column in zip(*seen, strict=True))
    return QualityLimits(
        min_side=min_side,
        min_contrast=_round(contrast.min() * (1 - LIMIT_MARGIN)),
        min_luminance=_round(luminance.min() * (1 - BRIGHTNESS_MARGIN)),
        max_luminance=_round(luminance.max() + BRIGHTNESS_MARGIN * (255 - luminance.max())),
        min_sharpness=_round(np.quantile(sharpness, REFUSED_SHARPNESS)),
    )


def quality_limits_of_sources(seen: Mapping[str, Sequence[Quality]], min_side: int) -> QualityLimits:
    """Limits around what the training pictures of several sources show.

    Of each source the darkest, the brightest, the flattest one in four hundred and the least sharp one in two hundred
    would be refused; the loosest of the sources decides. The extremes of many thousand pictures, as of one source,
    would be those of a single bad picture.

    Args:
        seen: measures of the training pictures by source; without those whose pictures are smaller than the product
            takes, which are as smooth as a blurred picture.
        min_side: smallest usable shorter side in pixels.
    """
    each = [np.array([list(item) for item in measures], np.float64).T for measures in seen.values()]
    return QualityLimits(
        min_side=min_side,
        min_contrast=_round(min(np.quantile(contrast, REFUSED_LIGHT) for _, contrast, _ in each)),
        min_luminance=_round(min(np.quantile(luminance, REFUSED_LIGHT) for luminance, _, _ in each)),
        max_luminance=_round(max(np.quantile(luminance, 1 - REFUSED_LIGHT) for luminance, _, _ in each)),
        min_sharpness=_round(min(np.quantile(sharpness, REFUSED_SHARPNESS_OF_ONE) for _, _, sharpness in each)),
    )


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
