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
from trainer.choices.limits import (
    REFUSED_OF_A_SOURCE,
    area_limits,
    confidence_limit,
    quality_by_source,
    quality_limits,
)
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
    return quality_limits({"drawn": [measure_quality(picture) for picture in drawn]}, 112)


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


def source(luminance: float, contrast: float, sharpness: float, count: int = 1000) -> list[Quality]:
    """Pictures within a fifth of these medians."""
    return [Quality(*(np.array([luminance, contrast, sharpness]) * f)) for f in np.linspace(0.8, 1.2, count)]


def test_limits_lie_at_a_distance_from_the_median_of_the_loosest_source() -> None:
    limits = quality_limits({"bright": source(160, 24, 0.12), "dim": source(120, 32, 0.24)}, 112)
    assert limits.min_luminance == pytest.approx(120 / 2**1.5, rel=0.01)
    assert limits.max_luminance == pytest.approx(255 - 95 / 4, abs=1)
    assert limits.min_contrast == pytest.approx(6, rel=0.01) and limits.min_sharpness == pytest.approx(0.01, rel=0.01)


def test_a_few_bad_pictures_decide_nothing() -> None:
    seen = {"a": source(150, 30, 0.1), "b": source(140, 20, 0.2)}
    bad = [Quality(1.0, 0.5, 1e-5), Quality(254.0, 0.5, 1e-5)]
    spoilt = quality_limits(seen | {"b": [*seen["b"], *bad]}, 112)
    clean = quality_limits(seen, 112)
    for name in ("min_luminance", "max_luminance", "min_contrast", "min_sharpness"):
        assert getattr(spoilt, name) == pytest.approx(getattr(clean, name), rel=0.01)


def test_a_source_with_long_tails_loses_few_pictures_to_each_limit() -> None:
    values = np.geomspace(0.001, 1, 1001)
    seen = [Quality(120 * v, 60 * v, 0.2 * v) for v in values]
    limits = quality_limits({"a": seen, "b": source(250, 120, 5)}, 112)
    for name, position in (("min_luminance", 0), ("min_contrast", 1), ("min_sharpness", 2)):
        refused = np.mean([q[position] < getattr(limits, name) for q in seen])
        assert refused == pytest.approx(REFUSED_OF_A_SOURCE, abs=0.001)


def test_sources_of_any_size_have_no_say_unless_they_are_all_there_is() -> None:
    dim, usual = Quality(50.0, 10.0, 0.01), Quality(150.0, 30.0, 0.1)
    assert quality_by_source([("tiny", dim), ("a", usual)], ["tiny"], {"tiny", "a"}) == {"a": [usual]}
    assert quality_by_source([("tiny", dim)], ["tiny"], {"tiny"}) == {"tiny": [dim]}


def test_a_source_without_validation_pictures_has_no_say() -> None:
    dim, usual = Quality(50.0, 10.0, 0.01), Quality(150.0, 30.0, 0.1)
    assert quality_by_source([("a", usual), ("b", dim)], [], {"a"}) == {"a": [usual]}
    assert quality_by_source([("a", usual), ("b", dim)], [], {"a", "b"}) == {"a": [usual], "b": [dim]}
    assert quality_by_source([("b", dim)], [], set()) == {"b": [dim]}
