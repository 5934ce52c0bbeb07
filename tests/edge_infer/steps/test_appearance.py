"""The measures by hand, and the score that refuses a picture."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_infer.reasons import Reason
from edge_infer.rules import APPEARANCE_MEASURES, DermoscopyRule, Term
from edge_infer.steps.appearance import Appearance, appearance_problem, dermoscopy_score, measure_appearance
from trainer.data.drawn import draw_picture


def port(image: NDArray[np.uint8]) -> dict[str, float]:
    """`exported/README.md`, step 3, in plain numpy."""
    red, green, blue = np.moveaxis(np.log(image.astype(float) + 8), 2, 0)
    weighted = image.astype(float) @ np.array([0.299, 0.587, 0.114])
    grey = np.round(weighted)
    rg, gb = red - green, green - blue
    found = {
        "red_green": rg.mean(),
        "red_green_spread": rg.std(),
        "green_blue": gb.mean(),
        "green_blue_spread": gb.std(),
        "shading": ((rg - rg.mean()) * (green - green.mean())).mean() / (green.var() + 1e-4),
        "brightness": grey.mean(),
        "contrast": grey.std(),
    }
    current, left = grey, grey.var()
    for k in range(1, 6):
        rows, columns = (size // 2 for size in current.shape)
        current = current[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2).mean((1, 3))
        found[f"octave_{k}"] = np.log((max(left - current.var(), 0) + 0.05) / (grey.var() + 1))
        left = current.var()
    steps = np.abs(np.r_[np.diff(grey, axis=0).ravel(), np.diff(grey, axis=1).ravel()])
    found["flat"] = (steps == 0).mean()
    found["peaked"] = np.log((steps**2).mean() + 1e-3) - np.log(steps.mean() ** 2 + 1e-3)
    return {name: float(value) for name, value in found.items()}


@pytest.mark.parametrize("kind", ["mel", "nv", "bkl", "skin"])
def test_the_measures_are_those_of_the_readme(kind: str) -> None:
    image = draw_picture(np.random.default_rng(3), 224, 224, kind).image
    assert measure_appearance(image)._asdict() == pytest.approx(port(image), rel=2e-3, abs=2e-3)


def test_the_manifest_names_the_measures() -> None:
    assert Appearance._fields == APPEARANCE_MEASURES


@pytest.mark.parametrize("value", [0, 120, 255])
def test_a_blank_picture_has_finite_measures(value: int) -> None:
    measures = measure_appearance(np.full((64, 64, 3), value, np.uint8))
    assert np.isfinite(measures).all() and measures.flat == 1


def test_the_score_is_clipped_and_decides() -> None:
    rule = DermoscopyRule({"flat": Term(0.5, 0.1, 2.0, -1.0)}, clip=3.0, intercept=1.0, min_score=-5.0)

    def score(flat: float) -> float:
        return dermoscopy_score(measure_appearance(np.zeros((64, 64, 3), np.uint8))._replace(flat=flat), rule)

    assert score(0.5) == 1 and score(0.6) == pytest.approx(2.0)
    assert score(0.8) == score(1.0) == pytest.approx(1 + 6 - 9)
    assert appearance_problem(-5.0, rule) is None
    problem = appearance_problem(-5.1, rule)
    assert problem is not None and problem[0] == Reason.NOT_DERMOSCOPY
