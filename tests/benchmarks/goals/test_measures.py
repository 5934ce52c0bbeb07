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
    many_pictures,
    memory,
    outside_networks,
)
from edge_infer.benchmark.measure import Effort, Pulse
from edge_infer.benchmark.results import Latency, Results, Row
from edge_infer.bundle.store import Bundle


def row(name: str, milliseconds: float, status: str = "ok") -> Row:
    latency = Latency(1, (milliseconds,) * 10, (milliseconds,) * 10, tuple(range(10)), {}, {})
    return Row(name, "", status, 1, single=latency)  # type: ignore[arg-type]


def test_speed_ups_come_from_the_peers_run(device_results: Results) -> None:
    rows = (
        row("torch-eager", 400),
        row("ours", 100),
        row("ours-openvino", 80),
        row("openvino-int8", 84),
        row("shipped", 16, "outside_gate"),
        row("shipped-openvino", 16, "failed"),
    )
    pair, bare, shipped = from_peers(replace(device_results, rows=rows))
    assert pair.met is True and pair.measured is not None and pair.measured.value == pytest.approx(5)
    assert "ours 4.00" in pair.how and "ours-openvino 5.00" in pair.how
    assert bare.met is True and bare.measured is not None and bare.measured.value == pytest.approx(1.05)
    assert "ours 0.84" in bare.how
    assert shipped.met is None and "withheld" in shipped.how
    both = (rows[0], row("shipped", 20), row("shipped-openvino", 16))
    (best,) = from_peers(replace(device_results, rows=both))
    assert best.measured is not None and best.measured.value == pytest.approx(25) and "shipped 20.00" in best.how
    without = from_peers(replace(device_results, rows=rows[1:3]))
    assert [found.met for found in without] == [None, None] and "no baseline" in without[0].how


def test_time_outside_the_networks_is_told_in_milliseconds(bundle: Bundle, pictures: list[bytes]) -> None:
    found = outside_networks(bundle, pictures, Effort(1, 10, 0.0, 2), Pulse())
    assert found.measured is not None and 0.1 < found.measured.value < 1000
    assert found.measured.value == pytest.approx(np.median(found.samples["outside_ms"]), rel=1e-4)
    assert "decode" in found.how


def test_a_large_picture_is_compared_with_pillow(bundle: Bundle, pictures: list[bytes]) -> None:
    milliseconds, found = large_picture(bundle, pictures[0], 4)
    assert found.measured is not None and 0.01 < found.measured.value < 2
    assert len(found.samples["ours_ms"]) == len(found.samples["pillow_ms"]) == 4
    assert milliseconds.measured is not None
    assert milliseconds.measured.value == pytest.approx(np.median(found.samples["ours_ms"]), rel=1e-4)


def test_enlarged_pictures_have_the_size(pictures: list[bytes]) -> None:
    image = cv2.imdecode(np.frombuffer(enlarge(pictures[0], 90, 120), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None and image.shape == (90, 120, 3)


def test_many_pictures_and_memory(bundle: Bundle, pictures: list[bytes]) -> None:
    found = many_pictures(bundle, pictures, 0.6, Pulse())
    assert found.measured is not None and 0.1 < found.measured.value < 10
    rates = {name: np.asarray(values) for name, values in found.samples.items()}
    assert len(rates["ours_per_second"]) == len(rates["processes_per_second"]) == 6
    steady = memory(bundle, pictures, 10, lambda text: None)
    assert steady.met is None and "not measured" in steady.how


def test_cold_start_of_the_command_line(bundle: Bundle, nevus_file: Path, tmp_path: Path) -> None:
    found = cold_start(bundle, nevus_file, 4)
    assert found.measured is not None and found.measured.value > 1
    (tmp_path / "no.png").write_bytes(b"no picture")
    assert cold_start(bundle, tmp_path / "no.png", 4).measured is None
