"""The short answer: only what is inside its gate counts, and the default stays unless another surely beats it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_infer.benchmark import quick
from edge_infer.benchmark.opening import OpenTarget, open_target
from edge_infer.benchmark.quick import Candidate, fastest_of, lines, options_of, quick_look, verdict
from edge_infer.benchmark.result_file import read_results
from edge_infer.benchmark.setting import Availability
from edge_infer.benchmark.stats import Interval
from edge_infer.benchmark.targets import Target, find_target
from edge_infer.bundle.store import Bundle, load_bundle
from edge_infer.errors import ProviderUnavailableError
from tests.conftest import REPOSITORY


def candidate(name: str, milliseconds: float | None, low: float = 1.0, why: str = "") -> Candidate:
    faster = None if name == "cpu" or milliseconds is None else Interval(low + 0.5, low, low + 1)
    return Candidate(find_target(name), milliseconds, faster, why)


def test_the_fastest_is_named_with_the_options_that_choose_it() -> None:
    said = verdict([candidate("cpu", 30.0), candidate("openvino-native:int8", 12.0, 2.2), candidate("cpu:int8", 15.0)])
    assert "OpenVINO, CPU, int8, 12 ms a picture" in said and "2.7 times as fast as the default" in said
    assert said.endswith("To use it: --provider openvino-native --variant int8.")


def test_the_default_stays_where_another_is_not_surely_faster() -> None:
    unsure = verdict([candidate("cpu", 30.0), candidate("openvino-native", 29.0, 0.9)])
    assert "Nothing here is surely faster" in unsure and "Nothing to change" in unsure
    assert "Nothing to change" in verdict([candidate("cpu", 30.0), candidate("cpu:int8", 40.0, 0.5)])
    assert "--provider cuda." in verdict([candidate("cpu", None, why="broken"), candidate("cuda", 3.0)])
    assert "doctor" in verdict([candidate("cpu", None, why="broken")])
    assert options_of(find_target("cpu")) == "--provider cpu"


class Slow:
    """An engine that takes its time, or shifts its answers."""

    def __init__(self, engine: object, seconds: float, shift: float) -> None:
        self.__dict__.update(vars(engine))
        self._engine, self._seconds, self._shift = engine, seconds, np.float32(shift)

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        time.sleep(self._seconds)
        return np.clip(self._engine.run(batch) + self._shift, 0, 1)  # type: ignore[attr-defined, no-any-return]

    def close(self) -> None:
        self._engine.close()  # type: ignore[attr-defined]


def test_what_is_outside_its_gate_or_does_not_start_gets_no_figure(
    toy_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opener(target: Target, bundle: Bundle, threads: int) -> OpenTarget:
        if target.name == "cuda":
            raise ProviderUnavailableError("no driver", "get one")
        seconds, shift = {"cpu": (0.02, 0.0), "xnnpack": (0.0, 0.0), "directml": (0.0, 0.4)}[target.name]
        opened = open_target(find_target("cpu"), bundle, threads, prove=False)
        engines = (Slow(opened.segmenter, seconds, shift), Slow(opened.classifier, seconds, shift))
        return OpenTarget(*engines, {}, {})  # type: ignore[arg-type]

    names = ("xnnpack", "directml", "cuda", "cpu")
    monkeypatch.setattr(quick, "discover", lambda bundle: [Availability(name, name, True, "") for name in names])
    found = quick_look(load_bundle(toy_bundle), 1, opener=opener)
    by_name = {item.target.name: item for item in found}
    assert found[0].target.name == "cpu" and found[0].milliseconds is not None
    assert "gate" in by_name["directml"].why and "no driver" in by_name["cuda"].why
    assert by_name["xnnpack"].faster is not None and by_name["xnnpack"].faster.low > 1
    assert lines(found)[-1].endswith("To use it: --provider xnnpack.")


def test_targets_beyond_the_time_are_named(toy_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("cpu", "cpu:int8")
    monkeypatch.setattr(quick, "OPENING_SECONDS", 0.0)
    monkeypatch.setattr(quick, "discover", lambda bundle: [Availability(name, name, True, "") for name in names])
    first, second = quick_look(load_bundle(toy_bundle), 1)
    assert first.milliseconds is not None and second.milliseconds is None and "--target cpu:int8" in second.why


def test_a_target_too_slow_for_the_time_is_named_and_the_others_are_measured(
    toy_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opener(target: Target, bundle: Bundle, threads: int) -> OpenTarget:
        opened = open_target(find_target("cpu"), bundle, threads, prove=False)
        seconds = 0.3 if target.name == "cuda" else 0.0
        slow = Slow(opened.segmenter, seconds, 0.0)
        return OpenTarget(slow, opened.classifier, {}, {})  # type: ignore[arg-type]

    names = ("cpu", "cuda", "xnnpack")
    monkeypatch.setattr(quick, "MEASURING_SECONDS", 1.0)
    monkeypatch.setattr(quick, "discover", lambda bundle: [Availability(name, name, True, "") for name in names])
    first, slow, other = quick_look(load_bundle(toy_bundle), 1, opener=opener)
    assert slow.milliseconds is None and "too slow" in slow.why and "--target cuda" in slow.why
    assert first.milliseconds is not None and other.milliseconds is not None


def test_a_whole_run_ends_with_the_same_verdict() -> None:
    results = read_results(REPOSITORY / "benchmarks" / "results" / "mobile-epyc-2cpu.json")
    row = results.rows[-1]
    assert row.single is not None
    half = replace(row.single, wall_ms=tuple(value / 2 for value in row.single.wall_ms))
    rows = (*results.rows, replace(row, target="openvino-native", single=half))
    assert fastest_of(replace(results, rows=rows)).endswith("To use it: --provider openvino-native.")
    outside = (*results.rows, replace(row, target="openvino-native", single=half, status="outside_gate"))
    assert "Nothing to change" in fastest_of(replace(results, rows=outside))
