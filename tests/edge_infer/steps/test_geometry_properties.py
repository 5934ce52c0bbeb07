"""Whatever picture is accepted and whatever the segmenter answers: mask, boxes and crop hold what their rules say."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from edge_infer.geometry import Box
from edge_infer.rules import InputSpec, MaskRule, Outside, QualityLimits, RoiRule
from edge_infer.steps.crop import crop_roi, lesion_box, roi_box
from edge_infer.steps.work import StepRules, examine, locate

SIDES = st.integers(1, 90)
OUTSIDE = st.sampled_from(["pad", "clip", "cap", "reflect"])


@st.composite
def situations(draw: st.DrawFn) -> tuple[NDArray[np.uint8], NDArray[np.float32], StepRules]:
    """A picture, a probability map at the segmenter's size, and a bundle's rules."""
    picture = draw(hnp.arrays(np.uint8, st.tuples(SIDES, SIDES, st.just(3))))
    height, width, size = draw(st.integers(8, 40)), draw(st.integers(8, 40)), draw(st.integers(8, 40))
    probability = draw(hnp.arrays(np.float32, (height, width), elements=st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0])))
    rules = StepRules(
        segmenter=InputSpec("a", height, width),
        classifier=InputSpec("b", size, size),
        quality=QualityLimits(1, 0.0, 0.0, 255.0, 0.0),
        dermoscopy=None,
        mask=MaskRule(draw(st.sampled_from([0.1, 0.5, 0.95])), 0.0, 1.0, 0.0),
        roi=RoiRule(draw(st.sampled_from(["keep", "zero"])), draw(st.floats(0, 1)), draw(OUTSIDE)),
    )
    return picture, probability, rules


@given(situations())
@settings(max_examples=400, deadline=None)
def test_mask_box_and_crop_hold_for_any_picture(
    situation: tuple[NDArray[np.uint8], NDArray[np.float32], StepRules],
) -> None:
    picture, probability, rules = situation
    work = examine(picture, rules, 10**6)
    work.problem = None
    locate(work, probability, rules)
    if work.mask is None:
        assert work.problem is not None and work.roi is None and work.lesion_box is None
        return
    height, width = picture.shape[:2]
    assert work.mask.shape == (height, width) and set(np.unique(work.mask)) <= {0, 1}
    box = work.lesion_box
    assert box is not None and 0 <= box.x0 < box.x1 <= width and 0 <= box.y0 < box.y1 <= height
    inside = work.mask[box.y0 : box.y1, box.x0 : box.x1]
    assert inside.sum() == work.mask.sum()
    assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
    assert work.area == work.mask.sum() / work.mask.size and work.confidence is not None
    if work.problem is None:
        size = rules.classifier.height
        assert work.roi is not None and work.roi.shape == (size, size, 3) and work.roi.dtype == np.uint8
        assert work.roi_box is not None and not work.roi.flags.writeable


@st.composite
def boxes(draw: st.DrawFn) -> tuple[Box, int, int]:
    """A box inside a picture, and the picture's height and width."""
    height, width = draw(SIDES), draw(SIDES)
    y0, x0 = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    return Box(x0, y0, draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))), height, width


@given(boxes(), st.floats(0, 4), OUTSIDE)
@settings(max_examples=500, deadline=None)
def test_the_square_is_where_its_rule_says(situation: tuple[Box, int, int], margin: float, outside: Outside) -> None:
    lesion, height, width = situation
    side = math.ceil(round(max(lesion.x1 - lesion.x0, lesion.y1 - lesion.y0) * (1 + 2 * margin), 6))
    box = roi_box(lesion, height, width, margin, outside)
    across, down = box.x1 - box.x0, box.y1 - box.y0
    if outside == "clip":
        assert (across, down) == (min(side, width), min(side, height))
    else:
        wanted = min(side, height, width) if outside == "cap" else side
        assert across == down == wanted
    for low, high, limit, start, end in (
        (box.x0, box.x1, width, lesion.x0, lesion.x1),
        (box.y0, box.y1, height, lesion.y0, lesion.y1),
    ):
        if high - low <= limit:
            assert low >= 0 and high <= limit
        else:
            assert low <= 0 and high >= limit
        if outside != "cap":
            assert low <= start and end <= high  # nothing of the lesion is cut off


@given(boxes(), OUTSIDE, st.sampled_from(["keep", "zero"]), st.integers(0, 2**32 - 1))
@settings(max_examples=300, deadline=None)
def test_the_crop_is_the_picture_there_and_what_the_rule_says_outside(
    situation: tuple[Box, int, int], outside: Outside, background: str, seed: int
) -> None:
    lesion, height, width = situation
    picture = np.random.default_rng(seed).integers(1, 256, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), np.uint8)
    mask[lesion.y0 : lesion.y1, lesion.x0 : lesion.x1] = 1
    assert lesion_box(mask) == lesion
    box = roi_box(lesion, height, width, 0.3, outside)
    rows, columns = box.y1 - box.y0, box.x1 - box.x0
    if rows != columns:
        return  # clipped and then stretched
    rule = RoiRule(background, 0.3, outside)  # type: ignore[arg-type]
    crop = crop_roi(picture, mask, box, rule, rows)  # at its own size nothing is resized
    source = picture * mask[..., None] if background == "zero" else picture

    def mirrored(i: int, limit: int) -> int:
        i %= 2 * limit
        return i if i < limit else 2 * limit - 1 - i

    for row in range(0, rows, max(1, rows // 7)):
        for column in range(0, columns, max(1, columns // 7)):
            y, x = box.y0 + row, box.x0 + column
            if 0 <= y < height and 0 <= x < width:
                expected = source[y, x]
            elif outside == "reflect":
                expected = source[mirrored(y, height), mirrored(x, width)]
            else:
                expected = np.zeros(3, np.uint8)
            np.testing.assert_array_equal(crop[row, column], expected)
