"""What happens where the crop leaves the picture: four rules, and the first one as it always was."""

from __future__ import annotations

import math
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from edge_infer import Diagnoser
from edge_infer.cli.app import app
from edge_infer.geometry import Box
from edge_infer.rules import Outside, RoiRule
from edge_infer.schema import parse
from edge_infer.steps.crop import crop_roi, roi_box
from edge_infer.steps.resize import resize
from tests.support.toy_bundle import write_toy_bundle

RULES: tuple[Outside, ...] = get_args(Outside)
sides = st.integers(2, 300)


def numbered(height: int, width: int) -> np.ndarray:
    """A picture whose pixels are all above 0 and differ from their neighbours."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows % 200 + 20, columns % 200 + 20, (rows + columns) % 200 + 20], -1).astype(np.uint8)


@st.composite
def lesions(draw: st.DrawFn) -> tuple[int, int, Box, float]:
    height, width = draw(sides), draw(sides)
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    box = Box(x0, y0, draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height)))
    return height, width, box, draw(st.sampled_from([0.0, 0.1, 0.25, 0.5]))


def test_a_manifest_without_the_key_pads() -> None:
    assert parse(RoiRule, {"background": "keep", "margin": 0.25}) == RoiRule("keep", 0.25, "pad")


@given(lesions())
@settings(max_examples=200, deadline=None)
def test_rules_agree_wherever_the_square_fits(drawn: tuple[int, int, Box, float]) -> None:
    height, width, lesion, margin = drawn
    padded = roi_box(lesion, height, width, margin)
    boxes = {rule: roi_box(lesion, height, width, margin, rule) for rule in RULES}
    assert boxes["pad"] == boxes["reflect"] == padded
    if padded.x1 - padded.x0 <= min(height, width):
        assert set(boxes.values()) == {padded}


@given(lesions())
@settings(max_examples=200, deadline=None)
def test_a_clipped_box_is_the_part_of_the_square_inside(drawn: tuple[int, int, Box, float]) -> None:
    height, width, lesion, margin = drawn
    padded, box = roi_box(lesion, height, width, margin), roi_box(lesion, height, width, margin, "clip")
    assert 0 <= box.x0 <= lesion.x0 < lesion.x1 <= box.x1 <= width
    assert 0 <= box.y0 <= lesion.y0 < lesion.y1 <= box.y1 <= height
    side = padded.x1 - padded.x0
    assert box.x1 - box.x0 == min(side, width) and box.y1 - box.y0 == min(side, height)


@given(lesions())
@settings(max_examples=200, deadline=None)
def test_a_capped_box_is_a_square_inside_the_picture(drawn: tuple[int, int, Box, float]) -> None:
    height, width, lesion, margin = drawn
    box = roi_box(lesion, height, width, margin, "cap")
    longest = max(lesion.x1 - lesion.x0, lesion.y1 - lesion.y0)
    side = min(math.ceil(round(longest * (1 + 2 * margin), 6)), height, width)
    assert (box.x1 - box.x0, box.y1 - box.y0) == (side, side)
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


@pytest.mark.parametrize("rule", RULES)
def test_only_padding_shows_black(rule: Outside) -> None:
    image, mask = numbered(60, 100), np.ones((60, 100), np.uint8)
    box = roi_box(Box(10, 5, 90, 55), 60, 100, 0.25, rule)
    crop = crop_roi(image, mask, box, RoiRule("keep", 0.25, rule), 96)
    assert crop.shape == (96, 96, 3) and crop.flags.c_contiguous
    assert (crop.min() == 0) == (rule == "pad")


def test_reflection_mirrors_at_the_edge() -> None:
    image, mask = numbered(60, 100), np.ones((60, 100), np.uint8)
    box = roi_box(Box(0, 0, 100, 60), 60, 100, 0.0, "reflect")
    assert box == Box(0, -20, 100, 80)
    crop = crop_roi(image, mask, box, RoiRule("keep", 0.0, "reflect"), 100)
    np.testing.assert_array_equal(crop[20:80], image)
    np.testing.assert_array_equal(crop[:20], image[:20][::-1])
    np.testing.assert_array_equal(crop[80:], image[40:][::-1])


def test_a_clipped_crop_is_stretched_to_the_square() -> None:
    image, mask = numbered(60, 100), np.ones((60, 100), np.uint8)
    box = roi_box(Box(0, 0, 100, 60), 60, 100, 0.25, "clip")
    assert box == Box(0, 0, 100, 60)
    crop = crop_roi(image, mask, box, RoiRule("keep", 0.25, "clip"), 48)
    np.testing.assert_array_equal(crop, resize(image, 48, 48))


@pytest.mark.parametrize("background", ["keep", "zero"])
@given(drawn=lesions())
@settings(max_examples=100, deadline=None)
def test_padding_gives_the_bytes_that_it_always_gave(background: str, drawn: tuple[int, int, Box, float]) -> None:
    height, width, lesion, margin = drawn
    image, mask = numbered(height, width), np.zeros((height, width), np.uint8)
    mask[lesion.y0 : lesion.y1, lesion.x0 : lesion.x1] = 1
    box = roi_box(lesion, height, width, margin)
    source = image * mask[..., None] if background == "zero" else image
    side = box.x1 - box.x0
    canvas = np.zeros((height + 2 * side, width + 2 * side, 3), np.uint8)
    canvas[side : side + height, side : side + width] = source
    cut = canvas[box.y0 + side : box.y1 + side, box.x0 + side : box.x1 + side]
    rule = RoiRule(background, margin)  # type: ignore[arg-type]
    np.testing.assert_array_equal(crop_roi(image, mask, box, rule, 32), resize(cut, 32, 32))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("factor", [1, 5])
def test_the_runtime_follows_its_manifest(rule: Outside, factor: int, nevus: np.ndarray, tmp_path: Path) -> None:
    roi = RoiRule("keep", 1.2, rule)
    bundle = write_toy_bundle(tmp_path / rule, roi=roi)
    large = cv2.resize(nevus, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    with Diagnoser.load(bundle, providers=["cpu"]) as diagnoser:
        size = diagnoser.manifest.classifier.input.height
        found = diagnoser.diagnose(cv2.imencode(".jpg", large[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes())
    assert found.lesion_box is not None and found.roi is not None and found.mask is not None
    height, width = large.shape[:2]
    box = roi_box(found.lesion_box, height, width, 1.2, rule)
    assert found.roi_box == box
    assert (box.x0 < 0 or box.y0 < 0) == (rule in ("pad", "reflect"))
    expected = crop_roi(large, found.mask, box, roi, size)
    assert np.abs(found.roi.astype(int) - expected).mean() < 4


def test_inspect_says_what_happens_at_the_edge(tmp_path: Path) -> None:
    for rule in RULES:
        bundle = write_toy_bundle(tmp_path / rule, roi=RoiRule("keep", 0.2, rule))
        shown = CliRunner().invoke(app, ["inspect", str(bundle)])
        assert shown.exit_code == 0, shown.output
        assert ("where it leaves the picture" in shown.stdout) == (rule != "pad")
