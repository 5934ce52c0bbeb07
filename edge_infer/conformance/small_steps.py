"""Vectors of the single steps between decoding and the classifier."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_infer.conformance.pictures import disc, noise, pattern, probability_map, skin
from edge_infer.conformance.store import Vector
from edge_infer.rules import DermoscopyRule
from edge_infer.schema import dump

GREY_LEVEL = {"image": {"max_abs": 1.0, "max_share": 0.005}}
"""OpenCV's own arithmetic: only sums in float32 that end next to a half may be rounded otherwise."""
QUALITY = {
    "luminance": {"max_abs": 0.01},
    "contrast": {"max_abs": 0.01},
    "sharpness": {"max_relative": 0.001},
}
Case = tuple[str, str, str, dict[str, Any], dict[str, dict[str, float]]]
"""Name after the step, step, about, given, tolerance: what is expected is computed."""


def resize_cases() -> Iterator[Case]:
    """Every kind of resizing."""
    cases = (
        ("shrink", "both axes shrink by fractions: area average", (37, 53), (16, 21)),
        ("shrink-whole", "both axes shrink by whole numbers: area average", (48, 60), (16, 20)),
        ("shrink-one", "one axis shrinks, the other keeps its size: area average", (40, 24), (17, 24)),
        ("shrink-a-lot", "a picture many times larger", (150, 200), (8, 8)),
        ("grow", "both axes grow: bilinear", (13, 17), (31, 40)),
        ("grow-whole", "both axes grow by a whole number", (12, 16), (24, 32)),
        ("mixed", "one axis grows and one shrinks: bilinear on both", (40, 15), (20, 33)),
        ("mixed-other", "the other way round", (15, 40), (33, 20)),
        ("same", "same size: unchanged", (19, 23), (19, 23)),
        ("wide", "extreme aspect", (6, 180), (24, 24)),
        ("tall", "extreme aspect", (200, 5), (24, 24)),
        ("line", "one row", (1, 40), (1, 13)),
        ("pixel", "one pixel grows", (1, 1), (3, 4)),
    )
    for number, (name, about, size, target) in enumerate(cases):
        given = {"image": pattern(*size), "height": target[0], "width": target[1]}
        tolerance = {} if name in ("same", "pixel") else GREY_LEVEL
        yield name, "resize", about, given, tolerance
        if name in ("shrink", "grow", "mixed"):
            yield (
                f"{name}-noise",
                "resize",
                f"{about}, of noise",
                given | {"image": noise(number, *size, 3)},
                GREY_LEVEL,
            )


def quality_cases() -> Iterator[Case]:
    """Measures of usable, dark, bright, flat and blank pictures."""
    picture = skin(40, 48)
    ramp = np.repeat(np.arange(0, 48, dtype=np.uint8)[None, :, None] * np.uint8(5), 40, 0).repeat(3, 2)
    cases: tuple[tuple[str, str, NDArray[np.uint8]], ...] = (
        ("skin", "a lesion on skin", picture),
        ("dark", "a dark picture", picture // 6),
        ("bright", "a bright picture", 255 - (255 - picture) // 6),
        ("flat", "hardly any contrast", 120 + picture // 32),
        ("blank", "all pixels equal: contrast and sharpness are 0", np.full((40, 48, 3), 77, np.uint8)),
        ("noise", "colour noise: the weights and rounding of grey", noise(5, 40, 48, 3)),
        ("ramp", "a ramp: the border's mirrored neighbours are what is left", ramp),
        ("red", "a red picture", pattern(40, 48) * np.array([1, 0, 0], np.uint8)),
        ("green", "a green picture", pattern(40, 48) * np.array([0, 1, 0], np.uint8)),
        ("blue", "a blue picture", pattern(40, 48) * np.array([0, 0, 1], np.uint8)),
    )
    for name, about, image in cases:
        yield name, "quality", about, {"image": image}, QUALITY


def appearance_cases(rule: DermoscopyRule) -> Iterator[Case]:
    """Every measure, and the bundle's score."""
    pictures: tuple[tuple[str, str, NDArray[np.uint8]], ...] = (
        ("skin", "a lesion on skin", skin(64, 72)),
        ("odd", "odd sizes: a fraction of a pixel is dropped at each halving", skin(67, 75)),
        ("noise", "colour noise", noise(9, 64, 64, 3)),
        ("pattern", "stripes", pattern(64, 80)),
        ("flat", "all pixels equal", np.full((64, 64, 3), 140, np.uint8)),
    )
    tolerance = {"measures": {"max_abs": 0.002}, "score": {"max_abs": 0.05}}
    for name, about, image in pictures:
        yield name, "appearance", about, {"image": image, "rule": dump(rule)}, tolerance
    for name, score in (("at-least", rule.min_score), ("below", math.nextafter(rule.min_score, -math.inf))):
        given = {"score": score, "min_score": rule.min_score}
        yield name, "appearance_problem", "at the limit is usable, below is not", given, {}


def mask_cases(threshold: float) -> Iterator[Case]:
    """Clean-up, confidence and the way to the picture's size."""
    rng = np.random.default_rng(11)
    ring = disc(30, 36, (14, 17), 10) & ~disc(30, 36, (14, 17), 5)
    island = ring | disc(30, 36, (14, 17), 2)
    dots = np.zeros((30, 36), bool)
    dots[5, 5] = dots[20, 30] = True
    squares = np.zeros((30, 36), bool)
    squares[2:8, 3:9] = squares[2:8, 20:26] = squares[18:24, 10:16] = True
    diagonal = np.eye(30, 36, dtype=bool) | disc(30, 36, (25, 6), 4)
    corner = np.zeros((30, 36), bool)
    corner[0:9, 28:36] = True
    open_ring = disc(30, 36, (0, 17), 12) & ~disc(30, 36, (0, 17), 7)
    many_pixels = np.zeros((30, 36), bool)
    many_pixels[2, :] = many_pixels[:, 2] = True
    many_pixels[20:25, 20:25] = True
    cases: tuple[tuple[str, str, NDArray[np.bool_]], ...] = (
        ("disc", "one region", disc(30, 36, (12, 20), 8)),
        ("holes", "a ring: its hole is filled", ring),
        ("island", "a region inside another one's hole: filled over", island),
        ("ties", "three equal squares: the one whose first pixel comes last in reading order stays", squares),
        ("dots", "single pixels have area 0: the last one stays", dots),
        ("diagonal", "a diagonal line is one 8-connected region of area 0; the disc is larger", diagonal),
        ("fewer-pixels", "a long thin corner has more pixels and less area than the square", many_pixels),
        ("corner", "a region at the picture's corner", corner),
        ("border", "a ring that is open at the border: its inside is not filled", open_ring),
        ("full", "everything is lesion", np.ones((30, 36), bool)),
        ("empty", "nothing is lesion", np.zeros((30, 36), bool)),
        ("noise", "many regions", rng.random((30, 36)) < 0.42),
        ("dense-noise", "regions with many holes", rng.random((30, 36)) < 0.58),
    )
    for name, about, inside in cases:
        given = {"probability_map": probability_map(inside), "threshold": threshold}
        yield name, "clean_mask", about, given, {}
    limit = np.float32(threshold)
    at = np.full((8, 9), np.nextafter(limit, np.float32(0)), np.float32)
    at[2:6, 3:7] = limit if float(limit) >= threshold else np.nextafter(limit, np.float32(1))
    yield (
        "threshold",
        "clean_mask",
        "at the threshold is lesion, just below is not",
        {
            "probability_map": at,
            "threshold": threshold,
        },
        {},
    )
    soft = np.linspace(0.2, 1, 30 * 36, dtype=np.float32).reshape(30, 36)
    for name, inside in (("disc", disc(30, 36, (12, 20), 8)), ("empty", np.zeros((30, 36), bool))):
        given = {"probability_map": soft, "mask": inside.astype(np.uint8)}
        yield (
            name,
            "confidence",
            "mean probability inside; 0 for an empty mask",
            given,
            {"confidence": {"max_abs": 1e-5}},
        )
    blob = disc(30, 36, (12, 20), 8).astype(np.uint8)
    for name, size in (("grow", (75, 100)), ("shrink", (14, 17)), ("mixed", (60, 20)), ("same", (30, 36))):
        given = {"mask": blob, "height": size[0], "width": size[1]}
        tolerance = {} if name == "same" else {"mask": {"max_share": 0.003}}
        yield name, "restore_mask", "0/255, resized, values from 128 on", given, tolerance
    for name, inside in (
        ("disc", disc(30, 36, (12, 20), 8)),
        ("pixel", dots & (np.arange(36) == 5)),
        ("corner", corner),
        ("full", np.ones((30, 36), bool)),
        ("empty", np.zeros((30, 36), bool)),
    ):
        yield name, "lesion_box", "smallest rectangle; null for an empty mask", {"mask": inside.astype(np.uint8)}, {}


def crop_cases(margin: float, background: str) -> Iterator[Case]:
    """Squares inside, shifted back and larger than the picture, by every rule for what lies outside."""
    places = (
        ("inside", "well inside", [30, 20, 50, 36], 80, 100),
        ("odd", "odd sums round down", [31, 20, 50, 37], 81, 101),
        ("left-top", "shifted back from the left and top edge", [0, 1, 22, 18], 80, 100),
        ("right-bottom", "shifted back from the right and bottom edge", [78, 66, 100, 80], 80, 100),
        ("tall-in-wide", "taller than fits once the margin is added", [40, 2, 60, 79], 80, 100),
        ("larger", "larger than the picture on both axes", [1, 2, 98, 79], 80, 100),
        ("one-pixel", "a lesion of one pixel", [5, 7, 6, 8], 80, 100),
        ("rounding", "100 * 1.1 is 110.00000000000001 in floats, and the side 110", [10, 10, 110, 60], 200, 220),
    )
    for name, about, box, height, width in places:
        for outside in ("pad", "clip", "cap", "reflect"):
            given = {"box": box, "height": height, "width": width, "outside": outside}
            used = 0.05 if name == "rounding" else margin
            yield f"{name}-{outside}", "roi_box", about, given | {"margin": used}, {}
    for fraction in (0.0, 0.1, 0.5):
        given = {"box": [30, 20, 51, 36], "height": 80, "width": 100, "outside": "pad", "margin": fraction}
        yield f"margin-{fraction:g}", "roi_box", "another margin", given, {}
    image, mask = pattern(40, 50), disc(40, 50, (20, 24), 15).astype(np.uint8)
    boxes = (
        ("inside", "shrinks", [8, 4, 44, 40], 20),
        ("same", "no resizing", [10, 6, 34, 30], 24),
        ("grows", "a small crop grows", [20, 15, 33, 28], 24),
        ("leaves-rows", "leaves the picture above and below", [2, -5, 50, 43], 24),
        ("leaves-all", "leaves the picture on all sides", [-4, -9, 56, 51], 24),
        ("rectangle", "a rectangle, as `clip` leaves it, is stretched", [0, 3, 50, 31], 24),
    )
    for name, about, box, size in boxes:
        for ground in ("keep", "zero"):
            for outside in ("pad", "reflect") if name.startswith("leaves") else ("pad",):
                if ground != background and name in ("grows", "rectangle"):
                    continue
                given = {"image": image, "mask": mask, "box": box, "size": size}
                rule = {"background": ground, "outside": outside}
                yield f"{name}-{ground}-{outside}", "crop", about, given | rule, {} if name == "same" else GREY_LEVEL


def computed(case: Case, expect: dict[str, Any]) -> Vector:
    """A case with its results."""
    name, step, about, given, tolerance = case
    return Vector(f"{step}/{name}", step, about, given, expect, tolerance)
