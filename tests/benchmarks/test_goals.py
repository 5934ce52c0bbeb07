"""Goals: numerators over denominators, missed ones said as plainly as met ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import goals as g
from edge_infer.benchmark.measure import Effort, Pulse
from edge_infer.benchmark.results import Latency, Ratio, Results, Row
from edge_infer.benchmark.runners import load_pictures
from edge_infer.benchmark.stats import Interval
from edge_infer.bundle.store import Bundle, load_bundle
from edge_infer.schema import dump, parse


@pytest.fixture(scope="module")
def bundle(toy_bundle: Path) -> Bundle:
    return load_bundle(toy_bundle)


@pytest.fixture(scope="module")
def pictures(bundle: Bundle) -> list[bytes]:
    return load_pictures((), bundle)[0]


@pytest.mark.parametrize(("relation", "value", "met"), [("<=", 0.5, True), ("<=", 1.5, False), (">=", 0.5, False)])
def test_a_goal_is_met_or_not(relation: str, value: float, met: bool) -> None:
    found = g.goal("x", relation, 1.0, Interval(value, value, value), "how", {})  # type: ignore[arg-type]
    assert found.met is met
    text = g.markdown(g.Goals(1, "", "", "", "", (), (found,)))
    assert ("**no**" in text) is not met
    assert g.goal("x", "<=", 1.0, None, "how", {}).met is None
    undefined = g.goal("x", ">=", 1.0, Interval(2.0, 1.0, float("nan")), "how", {})
    assert undefined.met is None and undefined.measured is None and "undefined" in undefined.how


def test_speed_ups_come_from_the_peers_run(device_results: Results) -> None:
    latency = Latency(1, (1.0,), (1.0,), (0,), {}, {})
    rows = tuple(Row(name, "", "ok", 1, single=latency) for name in ("ours", "shipped", "torch-eager"))
    ratios = (
        Ratio("SingleStream p50", "ours", 1, "torch-eager", 1, Interval(5.5, 5.4, 5.6)),
        Ratio("SingleStream p50", "ours", 2, "torch-eager", 2, Interval(9.9, 9.9, 9.9)),
        Ratio("SingleStream p50", "shipped", 1, "torch-eager", 1, None, "shipped is outside its accuracy gate"),
    )
    ours, shipped = g.from_peers(replace(device_results, rows=rows, ratios=ratios))
    assert ours.met is True and ours.measured is not None and ours.measured.value == 5.5
    assert shipped.met is None and "outside its accuracy gate" in shipped.how


def test_time_outside_the_networks_is_most_of_a_toy(bundle: Bundle, pictures: list[bytes]) -> None:
    found = g.outside_networks(bundle, pictures, Effort(1, 10, 0.0, 2), Pulse())
    assert found.met is False and found.measured is not None and 0.3 < found.measured.value < 1


def test_a_large_picture_is_compared_with_pillow(bundle: Bundle, pictures: list[bytes]) -> None:
    found = g.large_picture(bundle, pictures[0], 4)
    assert found.measured is not None and 0.01 < found.measured.value < 2
    assert len(found.samples["ours_ms"]) == len(found.samples["pillow_ms"]) == 4


def test_enlarged_pictures_have_the_size(pictures: list[bytes]) -> None:
    image = cv2.imdecode(np.frombuffer(g.enlarge(pictures[0], 90, 120), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None and image.shape == (90, 120, 3)


def test_two_threads_and_memory(bundle: Bundle, pictures: list[bytes]) -> None:
    found = g.two_threads(bundle, pictures, "toy", 0.2, Pulse(), batch_size=2)
    assert found.measured is not None and "two callers of one thread" in found.how
    rates = {name: np.asarray(values) for name, values in found.samples.items()}
    ways = [rates[way].mean() / rates["one_per_second"].mean() for way in ("inside_per_second", "callers_per_second")]
    assert found.measured.value == pytest.approx(max(ways), rel=0.2)
    assert len(found.samples["callers_per_second"]) == 5
    steady = g.memory(bundle, pictures, 10, lambda text: None)
    assert steady.met is None and "not measured" in steady.how


def test_cold_start_of_the_command_line(bundle: Bundle, nevus_file: Path, tmp_path: Path) -> None:
    found = g.cold_start(bundle, nevus_file, 4)
    assert found.measured is not None and found.measured.value > 1
    (tmp_path / "no.png").write_bytes(b"no picture")
    assert g.cold_start(bundle, tmp_path / "no.png", 4).measured is None


def test_goals_file_round_trip(tmp_path: Path) -> None:
    one = g.goal("x", "<=", 1.0, Interval(0.5, 0.4, 0.6), "how", {"a_ms": [1.0, 2.0]})
    written = g.Goals(1, "now", "machine", "bundle", "pair", (1.0,), (one,))
    g.write_goals(tmp_path / "goals.json", written)
    assert parse(g.Goals, dump(written)) == written
    assert (tmp_path / "goals.json").read_text().endswith("}\n")
    assert "| x | <= 1 | 0.500 [0.400, 0.600] | yes |" in (tmp_path / "goals.md").read_text()


def test_one_run_names_every_goal_and_a_failure_takes_no_other_with_it(
    toy_bundle: Path, pictures: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(g, "_LARGE", (300, 400))
    monkeypatch.setattr(g, "_SIZES", ((225, 300), (300, 225)))

    def pair() -> dict[str, Path]:
        raise RuntimeError("no exporter here")

    kept: list[int] = []
    settings = g.Settings(rounds=4, seconds=0.5, memory_pictures=3)
    picture = tmp_path / "nevus.jpg"
    picture.write_bytes(pictures[0])
    found = g.measure_goals(
        load_bundle(toy_bundle),
        pair,
        [picture],
        settings,
        lambda text: None,
        lambda goals: kept.append(len(goals.goals)),
    )
    measured = [item.measured is not None for item in found.goals]
    assert (
        measured[:4] == [False, False, True, True] and measured[5:] == [False, False] and kept == [1, 2, 3, 4, 5, 6, 7]
    )
    assert "no exporter here" in found.goals[0].how and parse(g.Goals, dump(found)) == found
