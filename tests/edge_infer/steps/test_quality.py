from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_infer.reasons import Reason
from edge_infer.rules import QualityLimits
from edge_infer.steps.quality import measure_quality, quality_problem

LIMITS = QualityLimits(min_side=64, min_contrast=4, min_luminance=20, max_luminance=240, min_sharpness=0.02)


def texture(mean: float = 128, spread: float = 30) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    smooth = cv2.GaussianBlur(rng.normal(0, 1, (224, 224, 3)).astype(np.float32), (0, 0), 2)
    return np.clip(mean + spread * smooth / smooth.std(), 0, 255).astype(np.uint8)


def lesion() -> NDArray[np.uint8]:
    picture = np.full((224, 224, 3), 190, np.uint8)
    cv2.circle(picture, (112, 112), 60, (90, 60, 50), -1)
    return picture


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (texture(), None),
        (lesion(), None),
        (np.full((224, 224, 3), 120, np.uint8), Reason.BLANK),
        (np.zeros((224, 224, 3), np.uint8), Reason.BLANK),
        (texture(spread=1.5), Reason.UNIFORM),
        (texture(mean=8, spread=8), Reason.TOO_DARK),
        (texture(mean=253, spread=8), Reason.OVEREXPOSED),
        (cv2.GaussianBlur(lesion(), (0, 0), 12), Reason.BLURRED),
    ],
)
def test_each_defect_has_its_reason(picture: NDArray[np.uint8], reason: Reason | None) -> None:
    problem = quality_problem(measure_quality(picture), LIMITS)
    assert (problem[0] if problem else None) == reason
    assert problem is None or problem[1].endswith(".")


def test_sharpness_falls_with_blur_and_ignores_contrast() -> None:
    picture = texture()
    blurred = [measure_quality(cv2.GaussianBlur(picture, (0, 0), s)).sharpness for s in (0.5, 1, 2, 4)]
    assert blurred == sorted(blurred, reverse=True)
    faint = measure_quality(texture(spread=15)).sharpness
    assert faint == pytest.approx(measure_quality(picture).sharpness, rel=0.25)
