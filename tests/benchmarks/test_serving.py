"""The load test of the service: what is turned away is told apart from what is lost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the extra [serve] is not installed")

from benchmarks.serving import Load, Served, load_test, to_json, to_row


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_every_request_ends_in_an_answer_or_is_turned_away(toy_bundle: Path, nevus_file: Path) -> None:
    picture = nevus_file.read_bytes()
    result = load_test([picture], bundle=str(toy_bundle), queue=1, seconds=1.0, loads=(1.0, 4.0))
    assert result.capacity > 1 and result.lost == 0
    for load in result.loads:
        assert load.sent == sum(load.codes.values()) and set(load.codes) <= {"200", "429", "503"}
        assert load.p50_ms is not None and load.p50_ms <= (load.p99_ms or 0)
    assert result.loads[1].codes["429"], "four times of what it can do, and one place to wait"
    assert json.loads(to_json(result))["loads"][0]["sent"] == result.loads[0].sent


def test_a_broken_connection_is_lost_and_memory_is_compared() -> None:
    load = Load(1.0, 10.0, 5, {"200": 3, "429": 1, "ReadError": 1}, 1, 1.0, 2.0, 3.0, 100.0)
    result = Served("toy 1", 1, 8, 10.0, 90.0, (load, replace(load, megabytes=103.0)), None)  # type: ignore[arg-type]
    assert result.lost == 2 and result.growth == pytest.approx(0.03)
    assert to_row(load) == "| 1x | 10.0 | 5 | 3 | 1 | 0 | 1 | 1 | 2 | 3 | 100 |"
