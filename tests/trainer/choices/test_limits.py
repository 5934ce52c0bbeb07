"""Limits of a usable picture and of a lesion, from what was seen."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from edge_infer.reasons import Reason
from edge_infer.rules import QualityLimits
from edge_infer.steps.quality import Quality, measure_quality, quality_problem
from tests.support.prediction_rows import row
from trainer.choices.limits import area_limits, confidence_limit, quality_limits, quality_limits_of_sources
from trainer.data.drawn import draw_picture

RNG = np.random.default_rng(8)


def test_the_least_certain_outlines_are_refused() -> None:
    rows = [replace(row("nv", {}), confidence=float(c)) for c in np.linspace(0.6, 1.0, 1001)]
    limit = confidence_limit([*rows, replace(row("nv", {}), area=0.0, confidence=0.0)])
    assert 0.6 < limit < 0.61
    assert sum(r.confidence < limit for r in rows) <= 6
    assert confidence_limit([]) == 0.0


@pytest.fixture(scope="module")
def drawn() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [cv2.resize(draw_picture(rng, 300, 400).image, (224, 224), interpolation=cv2.INTER_AREA) for _ in range(60)]


@pytest.fixture(scope="module")
def limits(drawn: list[np.ndarray]) -> QualityLimits:
    return quality_limits([measure_quality(picture) for picture in drawn], 112)


def test_limits_accept_what_was_seen_but_for_the_least_sharp(drawn: list[np.ndarray], limits: QualityLimits) -> None:
    problems = [quality_problem(measure_quality(picture), limits) for picture in drawn]
    assert sum(problem is not None for problem in problems) <= 1
    assert limits.min_side == 112


def test_limits_catch_darkness_and_overexposure(drawn: list[np.ndarray], limits: QualityLimits) -> None:
    for picture in drawn[:20]:
        dark = quality_problem(measure_quality((picture * 0.15).astype(np.uint8)), limits)
        assert dark is not None and dark[0] is Reason.TOO_DARK
        bright = np.clip(picture.astype(np.float32) * 0.1 + 240, 0, 255).astype(np.uint8)
        over = quality_problem(measure_quality(bright), limits)
        assert over is not None and over[0] is Reason.OVEREXPOSED


def test_area_limits_surround_the_training_masks() -> None:
    areas = RNG.uniform(0.01, 0.8, 5000)
    rule = area_limits(areas, 0.4)
    assert rule.threshold == 0.4
    assert rule.min_area_fraction < areas.min()
    assert 0.79 < rule.max_area_fraction < 0.81


def test_of_several_sources_the_loosest_decides_and_one_bad_picture_does_not() -> None:
    sharp = [Quality(150.0 + i % 20, 30.0, 0.02 + 1e-5 * i) for i in range(1000)]
    dim = [Quality(60.0 + i % 20, 20.0, 0.05) for i in range(1000)]
    limits = quality_limits_of_sources({"a": sharp, "b": dim}, 112)
    assert limits.min_luminance == pytest.approx(60, abs=0.5) and limits.max_luminance == pytest.approx(169, abs=0.5)
    assert limits.min_contrast == pytest.approx(20) and limits.min_sharpness == pytest.approx(0.02005, abs=1e-4)
    spoilt = quality_limits_of_sources({"a": [*sharp, Quality(1.0, 0.5, 1e-5)], "b": dim}, 112)
    assert spoilt.min_sharpness == pytest.approx(limits.min_sharpness, abs=2e-5)
    assert spoilt.min_luminance == limits.min_luminance
