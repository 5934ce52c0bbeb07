"""A port that is off by one anywhere fails some vector: each step is broken on purpose, once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from edge_infer.bundle.store import DEFAULT_BUNDLE
from edge_infer.conformance import run
from edge_infer.conformance.store import Index, StepEntry, read_folder
from edge_infer.diagnoser import MELANOMA, NOT_MELANOMA, Diagnoser
from edge_infer.geometry import Box
from edge_infer.steps import crop, mask, quality, work
from tests.conftest import REPOSITORY

Replace = Callable[[Any], Any]


@pytest.fixture(scope="module")
def diagnoser() -> Iterator[Diagnoser]:
    with Diagnoser.load(REPOSITORY / "exported" / DEFAULT_BUNDLE, providers=["cpu"], threads=1) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def index() -> Index:
    return read_folder(REPOSITORY / "exported/conformance")


def failing(index: Index, diagnoser: Diagnoser, step: str) -> list[str]:
    """Names of the step's vectors that fail."""
    outcomes = [run.replay_vector(vector, diagnoser) for vector in index.vectors if vector.step == step]
    return [outcome.vector.name for outcome in outcomes if not outcome.passed]


def changed(name: str, change: Replace) -> Replace:
    """A step's function whose result of this name is changed."""

    def broken(step: Any) -> Any:
        def compute(given: Any, diagnoser: Any) -> Any:
            found = dict(step(given, diagnoser))
            if found.get(name) is not None:
                found[name] = change(found[name])
            return found

        return compute

    return broken


def shifted(image: Any) -> Any:
    return np.roll(image, 1, axis=1)


def brighter(image: Any) -> Any:
    return np.clip(image.astype(int) + 2, 0, 255).astype(np.uint8)


def other_box(place: int) -> Replace:
    return lambda box: [value + (i == place) for i, value in enumerate(box)]


RESULTS: dict[str, dict[str, Replace]] = {
    "header": {"one column more": changed("width", lambda width: width + 1)},
    "decode": {
        "shifted by a pixel": changed("image", shifted),
        "blue for red": changed("image", lambda image: image[..., ::-1]),
        "not turned": changed("image", lambda image: image[::-1]),
        "two levels brighter": changed("image", brighter),
        "phone shifted": changed("resized", shifted),
    },
    "resize": {"shifted": changed("image", shifted), "two levels brighter": changed("image", brighter)},
    "quality": {
        "luminance": changed("luminance", lambda value: value + 0.5),
        "sample deviation": changed("contrast", lambda value: value * math.sqrt(1920 / 1919) + 0.01),
        "sharpness": changed("sharpness", lambda value: value * 1.01),
    },
    "appearance": {
        "a measure": changed("measures", lambda values: [values[0] + 0.01, *values[1:]]),
        "order": changed("measures", lambda values: values[::-1]),
        "score": changed("score", lambda value: value + 0.1),
    },
    "clean_mask": {"shifted": changed("mask", shifted)},
    "confidence": {"wrong": changed("confidence", lambda value: value * 0.999)},
    "restore_mask": {"shifted": changed("mask", shifted), "rows": changed("mask", lambda m: np.roll(m, 1, axis=0))},
    "lesion_box": {f"edge {place}": changed("box", other_box(place)) for place in range(4)},
    "roi_box": {f"edge {place}": changed("box", other_box(place)) for place in range(4)},
    "crop": {"shifted": changed("image", shifted), "blue for red": changed("image", lambda image: image[..., ::-1])},
    "segment": {
        "wrong": changed("probability_map", lambda values: values * 0.9),
        "shifted": changed("probability_map", shifted),
    },
    "classify": {"next class": changed("probabilities", lambda row: np.roll(row, 1))},
    "diagnose": {
        "probability": changed("melanoma_probability", lambda value: value + 0.05),
        "size": changed("image_size", lambda size: size[::-1]),
    },
}


@pytest.mark.parametrize(("step", "name"), [(step, name) for step, ways in RESULTS.items() for name in ways])
def test_a_wrong_result_fails(
    step: str, name: str, index: Index, diagnoser: Diagnoser, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not any(vector.step == step for vector in index.vectors):
        pytest.skip(f"the shipped bundle has no step {step}")
    entry, function = run.STEPS[step]
    monkeypatch.setitem(run.STEPS, step, (entry, RESULTS[step][name](function)))
    assert failing(index, diagnoser, step)


def _open_floor(function: Any) -> Any:
    """`<` for `<=` and the other way round: a limit itself is refused."""

    def broken(*arguments: Any) -> Any:
        limits = arguments[-1]
        names = [name for name in vars(limits) if name.startswith("min_")]
        stricter = type(limits)(
            **vars(limits) | {name: np.nextafter(getattr(limits, name), math.inf) for name in names}
        )
        return function(*arguments[:-1], stricter)

    return broken


def _open_ceiling(function: Any) -> Any:
    def broken(*arguments: Any) -> Any:
        limits = arguments[-1]
        names = [name for name in vars(limits) if name.startswith("max_")]
        stricter = type(limits)(**vars(limits) | {name: np.nextafter(getattr(limits, name), 0) for name in names})
        return function(*arguments[:-1], stricter)

    return broken


def _clean_mask_above(probability: Any, threshold: float) -> Any:
    return mask.largest_region((probability > threshold).astype(np.uint8))


def _clean_mask_unfilled(probability: Any, threshold: float) -> Any:
    return mask.clean_mask(probability, threshold) & (probability >= threshold)


def _clean_mask_four(probability: Any, threshold: float) -> Any:
    """Regions of 4 neighbours, the largest by its number of pixels."""
    inside = (probability >= threshold).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=4)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])) if count > 1 else 1
    return mask.largest_region((labels == largest).astype(np.uint8))


def _clean_mask_first(probability: Any, threshold: float) -> Any:
    """The first of equal regions."""
    flipped = mask.clean_mask(np.ascontiguousarray(probability[::-1, ::-1]), threshold)
    return np.ascontiguousarray(flipped[::-1, ::-1])


def _restore_127(small: Any, height: int, width: int) -> Any:
    return (run.resize(small * np.uint8(255), height, width) >= 96).astype(np.uint8)


def _resize_always(interpolation: int) -> Any:
    def broken(image: Any, height: int, width: int) -> Any:
        return cv2.resize(image, (width, height), interpolation=interpolation)

    return broken


def _roi_floor(lesion: Box, height: int, width: int, margin: float, outside: Any = "pad") -> Box:
    """The side is rounded down."""
    box = crop.roi_box(lesion, height, width, margin, outside)
    return Box(box.x0, box.y0, box.x1 - 1, box.y1 - 1)


def _roi_unrounded(lesion: Box, height: int, width: int, margin: float, outside: Any = "pad") -> Box:
    side = math.ceil(max(lesion.x1 - lesion.x0, lesion.y1 - lesion.y0) * (1 + 2 * margin))
    box = crop.roi_box(lesion, height, width, margin, outside)
    return Box(box.x0, box.y0, box.x0 + side, box.y0 + side) if outside in ("pad", "reflect") else box


def _roi_upwards(lesion: Box, height: int, width: int, margin: float, outside: Any = "pad") -> Box:
    """Odd sums are rounded up."""
    return crop.roi_box(Box(lesion.x0 + 1, lesion.y0 + 1, lesion.x1, lesion.y1), height, width, margin, outside)


def _reflect_without_edge(image: Any, lesion: Any, box: Box, rule: Any, size: int) -> Any:
    if rule.outside != "reflect":
        return crop.crop_roi(image, lesion, box, rule, size)
    height, width = image.shape[:2]
    edges = (max(-box.y0, 0), max(box.y1 - height, 0), max(-box.x0, 0), max(box.x1 - width, 0))
    wide = cv2.copyMakeBorder(image, *edges, borderType=cv2.BORDER_REFLECT_101)
    y, x = box.y0 + edges[0], box.x0 + edges[2]
    return run.resize(wide[y : y + box.y1 - box.y0, x : x + box.x1 - box.x0], size, size)


def _background_kept(image: Any, lesion: Any, box: Box, rule: Any, size: int) -> Any:
    return crop.crop_roi(image, np.ones_like(lesion), box, rule, size)


def _decide_above(probability: float, point: Any, band: Any) -> Any:
    """Melanoma only above the threshold, where a probability can lie on it; limits of a band belong to it."""
    if band is not None and np.float32(band.low) <= np.float32(probability) <= np.float32(band.high):
        return run_decide(np.nextafter(band.low, 1), point, band)
    nearest = np.nextafter(np.float32(point.threshold), np.float32(1))
    return (MELANOMA if probability > nearest else NOT_MELANOMA), None


def _corrected_otherwise(row: Any, melanoma: int, ratio: float) -> Any:
    """Every class divided by the whole first: right, and rounded otherwise than the threshold."""
    p = float(row[melanoma])
    result = row / (ratio * p + (1 - p))
    result[melanoma] *= ratio
    return result


run_decide = run.decide

FUNCTIONS: dict[str, tuple[str, Replace]] = {
    "quality floors": ("picture_problem", _open_floor(quality.picture_problem)),
    "quality ceiling": ("picture_problem", _open_ceiling(quality.picture_problem)),
    "lesion floors": ("lesion_problem", _open_floor(quality.lesion_problem)),
    "lesion ceiling": ("lesion_problem", _open_ceiling(quality.lesion_problem)),
    "threshold itself is background": ("clean_mask", _clean_mask_above),
    "holes stay": ("clean_mask", _clean_mask_unfilled),
    "pixels counted, 4 neighbours": ("clean_mask", _clean_mask_four),
    "first of equal regions": ("clean_mask", _clean_mask_first),
    "another level of the restored mask": ("restore_mask", _restore_127),
    "always bilinear": ("resize", _resize_always(cv2.INTER_LINEAR)),
    "always area": ("resize", _resize_always(cv2.INTER_AREA)),
    "always nearest": ("resize", _resize_always(cv2.INTER_NEAREST)),
    "side rounded down": ("roi_box", _roi_floor),
    "side not rounded to six decimals": ("roi_box", _roi_unrounded),
    "odd sums rounded up": ("roi_box", _roi_upwards),
    "mirrored without the edge": ("crop_roi", _reflect_without_edge),
    "background kept": ("crop_roi", _background_kept),
    "decisions": ("decide", _decide_above),
    "prevalence rounded otherwise": ("correct_classes", _corrected_otherwise),
}
STEP_OF = {"crop_roi": "crop", "correct_classes": "decide"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_wrong_function_fails(name: str, index: Index, diagnoser: Diagnoser, monkeypatch: pytest.MonkeyPatch) -> None:
    function, broken = FUNCTIONS[name]
    monkeypatch.setattr(run, function, broken)
    assert failing(index, diagnoser, STEP_OF.get(function, function))


PATHS: dict[str, tuple[str, Any]] = {
    "quality after the networks": ("picture_problem", lambda *_: None),
    "no lesion limits": ("lesion_problem", lambda area, *_: None),
    "no clean-up": ("clean_mask", lambda p, threshold: (p >= threshold).astype(np.uint8)),
    "confidence over the whole map": ("lesion_confidence", lambda p, _: float(p.mean())),
    "crop from a shifted box": ("roi_box", _roi_upwards),
    "mask ignored": ("crop_roi", _background_kept),
}


@pytest.mark.parametrize("name", PATHS)
def test_a_way_with_a_wrong_step_fails(
    name: str, index: Index, diagnoser: Diagnoser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, *PATHS[name])
    assert failing(index, diagnoser, "path")


def test_every_step_is_broken_by_some_test() -> None:
    broken = {*RESULTS, *(STEP_OF.get(function, function) for function, _ in FUNCTIONS.values()), "path"}
    assert broken | {"appearance_problem"} == set(run.STEPS)
    assert all(isinstance(entry, StepEntry) for entry, _ in run.STEPS.values())
