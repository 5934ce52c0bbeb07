"""Who else is in a batch, and in which place, never changes an answer, least of all one at the threshold itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_infer import Diagnoser
from edge_infer.rules import OperatingPoint
from tests.support.toy_bundle import write_toy_bundle
from trainer.data.drawn import draw_picture


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    drawn = [draw_picture(np.random.default_rng(seed), 96, 128, kind).image for seed, kind in ((1, "nv"), (2, "mel"))]
    blank = np.full((96, 128, 3), 128, np.uint8)
    return [*drawn, drawn[0][:, ::-1].copy(), blank, np.zeros((8, 8, 3), np.uint8)]


@pytest.fixture(scope="module")
def at_the_threshold(
    toy_bundle: Path, pictures: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Diagnoser, Diagnoser]]:
    """Two Diagnosers whose thresholds are the first picture's own probability, and the next larger number."""
    with Diagnoser.load(toy_bundle, threads=1) as diagnoser:
        probability = diagnoser.diagnose(pictures[0]).melanoma_probability
    assert probability is not None
    point = OperatingPoint("balanced", probability, "its own probability", "for tests", "nothing")
    points = (point, dataclasses.replace(point, threshold=float(np.nextafter(probability, 1))))
    folder = tmp_path_factory.mktemp("thresholds")
    bundles = [write_toy_bundle(folder / f"b{i}", operating_points=(one,)) for i, one in enumerate(points)]
    with Diagnoser.load(bundles[0], threads=2) as at, Diagnoser.load(bundles[1], threads=2) as above:
        yield at, above


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    neighbours=st.lists(st.integers(0, 4), max_size=11),
    place=st.integers(0, 11),
    batch=st.integers(1, 9),
    workers=st.integers(1, 3),
)
def test_a_decision_at_the_threshold_never_depends_on_neighbours(
    at_the_threshold: tuple[Diagnoser, Diagnoser],
    pictures: list[np.ndarray],
    neighbours: list[int],
    place: int,
    batch: int,
    workers: int,
) -> None:
    place = min(place, len(neighbours))
    together = [pictures[i] for i in neighbours]
    together.insert(place, pictures[0])
    at, above = at_the_threshold
    for diagnoser, label in ((at, "melanoma"), (above, "not melanoma")):
        answers = list(diagnoser.diagnose_many(together, batch, workers))
        alone = diagnoser.diagnose(pictures[0])
        assert alone.label == label
        assert answers[place].melanoma_probability == alone.melanoma_probability
        assert answers[place].label == alone.label
