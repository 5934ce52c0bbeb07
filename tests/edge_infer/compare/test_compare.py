"""Two pictures of one lesion: moved, turned, scaled and grown by known amounts; and pictures that are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from edge_infer import Diagnoser
from edge_infer.cli.app import app
from edge_infer.compare.align import align
from edge_infer.compare.changes import compare
from edge_infer.compare.show import draw_comparison, to_text
from edge_infer.errors import NotComparableError

HEIGHT, WIDTH = 360, 480
Picture = NDArray[np.uint8]


def lesion(seed: int, factor: float = 1.0, colour: tuple[int, int, int] = (112, 72, 60)) -> Picture:
    """Skin with its own texture and a lesion in the middle; `factor` is of the lesion's area alone."""
    rng = np.random.default_rng(seed)
    grain = sum(cv2.GaussianBlur(rng.normal(0, 1, (HEIGHT, WIDTH)), (0, 0), s) * s * 9 for s in (1.5, 4, 9))
    skin = np.array((222, 176, 158)) + np.asarray(grain)[..., None]
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    axes = (round(90 * factor**0.5 * 16), round(62 * factor**0.5 * 16))
    cv2.ellipse(mask, (WIDTH * 8, HEIGHT * 8), axes, 25, 0, 360, 1, cv2.FILLED, shift=4)
    soft = cv2.GaussianBlur(mask.astype(np.float64), (0, 0), 1.5)[..., None]
    inner = np.array(colour) + 0.6 * np.asarray(grain)[..., None]
    return np.clip(skin * (1 - soft) + inner * soft, 0, 255).astype(np.uint8)


def moved(
    picture: Picture, degrees: float, scale: float, shift: tuple[float, float]
) -> tuple[Picture, NDArray[np.float64]]:
    """The same skin from another stand, with its own noise and light."""
    matrix = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), degrees, scale)
    matrix[:, 2] += shift
    turned = cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
    noise = np.random.default_rng(9).normal(0, 2, picture.shape)
    return np.clip(turned * 0.95 + noise, 0, 255).astype(np.uint8), matrix


@pytest.mark.parametrize(
    ("degrees", "scale", "shift"), [(0, 1.0, (0, 0)), (25, 1.0, (20, -15)), (-70, 0.8, (5, 10)), (10, 1.3, (-12, 8))]
)
def test_a_known_move_is_found(degrees: float, scale: float, shift: tuple[float, float]) -> None:
    first = lesion(1)
    second, matrix = moved(first, degrees, scale, shift)
    found = align(first, second)
    corners = np.array([[100, 80, 1], [380, 80, 1], [240, 280, 1]], np.float64)
    np.testing.assert_allclose(corners @ found.matrix.T, corners @ matrix.T, atol=1.5)
    assert found.scale == pytest.approx(scale, rel=0.01) and found.turn == pytest.approx(-degrees, abs=0.5)


def test_a_larger_picture_of_the_same_is_found() -> None:
    first = lesion(1)
    second = cv2.resize(first, (WIDTH * 2, HEIGHT * 2), interpolation=cv2.INTER_CUBIC)
    assert align(first, second).scale == pytest.approx(2, rel=0.01)
    assert align(second, first).scale == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize("pair", [(1, 2), (3, 4), (5, 6)])
def test_pictures_of_different_skin_are_refused(pair: tuple[int, int]) -> None:
    with pytest.raises(NotComparableError, match="cannot be aligned"):
        align(*(lesion(seed) for seed in pair))


def test_pictures_without_any_texture_are_refused() -> None:
    with pytest.raises(NotComparableError, match="points look alike"):
        align(np.full((200, 200, 3), 180, np.uint8), np.full((200, 200, 3), 170, np.uint8))


@pytest.mark.parametrize("factor", [1.0, 1.5, 0.7])
def test_growth_is_measured_whatever_the_camera_did(toy_bundle: Path, factor: float) -> None:
    first = lesion(1)
    second, _ = moved(lesion(1, factor), 15, 0.9, (8, -6))
    with Diagnoser.load(toy_bundle, measurements=True) as diagnoser:
        answers = [
            diagnoser.diagnose(picture, mm_per_pixel=mm) for picture, mm in ((first, 0.02), (second, 0.02 / 0.9))
        ]
    found = compare(answers[0], answers[1], (first, second))
    assert found.area_ratio == pytest.approx(factor, rel=0.06)
    assert found.pixel_area_ratio == pytest.approx(factor * 0.81, rel=0.06)
    assert found.area_ratio_mm == pytest.approx(factor, rel=0.06)
    assert abs(found.changes["asymmetry_major"]) < 0.05
    before, after = (answer.melanoma_probability for answer in answers)
    assert before is not None and after is not None and found.probability == pytest.approx(after - before)
    if factor == 1:
        assert found.outline_overlap > 0.95
    elif factor > 1:
        assert found.new_share == pytest.approx(1 - 1 / factor, abs=0.05) and found.lost_share < 0.03
    else:
        assert found.lost_share == pytest.approx(1 - factor, abs=0.05) and found.new_share < 0.05


def test_a_change_of_colour_is_told(toy_bundle: Path) -> None:
    first, second = lesion(1), lesion(1, colour=(40, 32, 34))
    with Diagnoser.load(toy_bundle, measurements=True) as diagnoser:
        found = compare(diagnoser.diagnose(first), diagnoser.diagnose(second), (first, second))
    assert found.colours["black"] > 0.5 and found.colours["dark brown"] < -0.3
    assert "black +" in to_text(found)


def test_a_refused_picture_is_not_compared(toy_bundle: Path) -> None:
    first, bare = lesion(1), np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    with Diagnoser.load(toy_bundle, measurements=True) as diagnoser:
        answers = diagnoser.diagnose(first), diagnoser.diagnose(bare)
    with pytest.raises(NotComparableError, match="second picture has no answer"):
        compare(*answers, (first, bare))


def test_the_side_by_side_picture_lays_the_first_on_the_second(toy_bundle: Path) -> None:
    first = lesion(1)
    second, _ = moved(first, 40, 0.8, (10, 0))
    with Diagnoser.load(toy_bundle, measurements=True) as diagnoser:
        found = compare(diagnoser.diagnose(first), diagnoser.diagnose(second), (first, second))
    drawn = draw_comparison(found, (first, second))
    left, right = drawn[:480, :640].astype(int), drawn[:480, 652:].astype(int)
    inside = np.s_[180:300, 230:410]
    assert np.abs(left[inside] - right[inside]).mean() < 20, "the lesion lies at the same place in both"
    assert left[2:30, 2:30].max() == 0, "what the first does not show is black"
    plain = draw_comparison(replace(found, second=replace(found.second, mask=None)), (first, second))
    assert (plain[:480, :640] == drawn[:480, :640]).all() and (plain[:480, 652:] != drawn[:480, 652:]).any()


def test_the_command_compares_saves_and_refuses(toy_bundle: Path, tmp_path: Path) -> None:
    first = lesion(1)
    second, _ = moved(lesion(1, 1.5), 15, 1.0, (8, -6))
    for name, picture in (("a", first), ("b", second), ("other", lesion(2))):
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), picture[..., ::-1])
    runner, bundle = CliRunner(), ["--bundle", str(toy_bundle)]
    a, b, other = (str(tmp_path / f"{name}.png") for name in ("a", "b", "other"))
    done = runner.invoke(app, ["compare", a, b, *bundle, "--json", "--save", str(tmp_path / "out/both.png")])
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert record["changes"]["area_ratio"] == pytest.approx(1.5, rel=0.06)
    assert record["changes"]["area_ratio_mm"] is None
    assert record["first"]["measurements"]["values"]["diameter_px"]["unit"] == "px"
    assert cv2.imread(str(tmp_path / "out/both.png")) is not None
    words = runner.invoke(app, ["compare", a, b, *bundle, "--mm-per-pixel", "0.02"]).stdout
    assert "in mm^2" in words and "No change is no" in words and "not a medical device" in words.lower()
    refused = runner.invoke(app, ["compare", a, other, *bundle])
    assert refused.exit_code == 1 and "not-comparable" in refused.output
    own = runner.invoke(app, ["compare", a, b, *bundle, "--save", a])
    assert own.exit_code == 2 and "one of the given pictures" in own.output
