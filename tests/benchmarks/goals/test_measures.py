"""Measures of the goals: numerators over denominators."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.goals.measures import (
    cold_start,
    enlarge,
    from_peers,
    large_picture,
    memory,
    outside_networks,
    two_threads,
)
from edge_infer.benchmark.measure import Effort, Pulse
from edge_infer.benchmark.results import Latency, Ratio, Results, Row
from edge_infer.benchmark.stats import Interval
from edge_infer.bundle.store import Bundle


def test_speed_ups_come_from_the_peers_run(device_results: Results) -> None:
    latency = Latency(1, (1.0,), (1.0,), (0,), {}, {})
    rows = tuple(Row(name, "", "ok", 1, single=latency) for name in ("ours", "shipped", "torch-eager"))
    ratios = (
        Ratio("SingleStream p50", "ours", 1, "torch-eager", 1, Interval(5.5, 5.4, 5.6)),
        Ratio("SingleStream p50", "ours", 2, "torch-eager", 2, Interval(9.9, 9.9, 9.9)),
        Ratio("SingleStream p50", "shipped", 1, "torch-eager", 1, None, "shipped is outside its accuracy gate"),
    )
    ours, shipped = from_peers(replace(device_results, rows=rows, ratios=ratios))
    assert ours.met is True and ours.measured is not None and ours.measured.value == 5.5
    assert shipped.met is None and "outside its accuracy gate" in shipped.how


def test_time_outside_the_networks_is_most_of_a_toy(bundle: Bundle, pictures: list[bytes]) -> None:
    found = outside_networks(bundle, pictures, Effort(1, 10, 0.0, 2), Pulse())
    assert found.met is False and found.measured is not None and 0.3 < found.measured.value < 1


def test_a_large_picture_is_compared_with_pillow(bundle: Bundle, pictures: list[bytes]) -> None:
    found = large_picture(bundle, pictures[0], 4)
    assert found.measured is not None and 0.01 < found.measured.value < 2
    assert len(found.samples["ours_ms"]) == len(found.samples["pillow_ms"]) == 4


def test_enlarged_pictures_have_the_size(pictures: list[bytes]) -> None:
    image = cv2.imdecode(np.frombuffer(enlarge(pictures[0], 90, 120), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None and image.shape == (90, 120, 3)


def test_two_threads_and_memory(bundle: Bundle, pictures: list[bytes]) -> None:
    found = two_threads(bundle, pictures, "toy", 0.2, Pulse(), batch_size=2)
    assert found.measured is not None and "two callers of one thread" in found.how
    rates = {name: np.asarray(values) for name, values in found.samples.items()}
    ways = [rates[way].mean() / rates["one_per_second"].mean() for way in ("inside_per_second", "callers_per_second")]
    assert found.measured.value == pytest.approx(max(ways), rel=0.2)
    assert len(found.samples["callers_per_second"]) == 5
    steady = memory(bundle, pictures, 10, lambda text: None)
    assert steady.met is None and "not measured" in steady.how


def test_cold_start_of_the_command_line(bundle: Bundle, nevus_file: Path, tmp_path: Path) -> None:
    found = cold_start(bundle, nevus_file, 4)
    assert found.measured is not None and found.measured.value > 1
    (tmp_path / "no.png").write_bytes(b"no picture")
    assert cold_start(bundle, tmp_path / "no.png", 4).measured is None
