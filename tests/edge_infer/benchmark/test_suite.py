"""The benchmark's honesty: what fails is a failed row, what deviates gets no ratio, and figures follow from samples."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edge_infer.benchmark import opening, probe, suite, targets
from edge_infer.benchmark import results as r
from edge_infer.benchmark.accuracy import auc_score, dice_score
from edge_infer.benchmark.cold import child_command, measure_cold
from edge_infer.benchmark.hardware import ProcessorTimes, conditions, describe_machine, processor_times
from edge_infer.benchmark.measure import Effort, Pulse, RunnerError, last_over_first, measure_latency, measure_offline
from edge_infer.benchmark.opening import OpenTarget, discover, open_target, placement_of
from edge_infer.benchmark.plan import Plan
from edge_infer.benchmark.result_file import read_results, write_results
from edge_infer.benchmark.runners import LocalRunner, Sample, Segment, load_pictures
from edge_infer.benchmark.stability import judge_stability
from edge_infer.benchmark.stats import interval_of, ratio_of_medians, ratio_of_rates
from edge_infer.benchmark.suite import run_suite
from edge_infer.benchmark.table import format_results
from edge_infer.benchmark.targets import Target, find_target
from edge_infer.bundle.store import Bundle, load_bundle
from edge_infer.engines.base import Engine
from edge_infer.engines.onnx import OnnxEngine
from edge_infer.errors import ImageError, InferenceError, ProviderUnavailableError
from edge_infer.schema import SchemaError, dump, parse

QUICK = Plan(
    threads=(1,),
    batch_sizes=(1,),
    effort=Effort(warmup=1, runs=12, seconds=0.0, block=2),
    offline_seconds=0.05,
    cold_starts=0,
    probe_seconds=0.01,
)


@pytest.fixture(scope="module")
def bundle(toy_bundle: Path) -> Bundle:
    return load_bundle(toy_bundle)


@pytest.fixture(scope="module")
def measured(bundle: Bundle) -> r.Results:
    """A whole run on the CPU, with a target that is not installed here beside it."""
    return run_suite(bundle, replace(QUICK, targets=("cpu", "directml"), sustained_minutes=0.002, cold_starts=1))


class Bent:
    """An engine that adds an error to another engine's answers, or fails after some calls."""

    def __init__(self, engine: Engine, error: float = 0.0, fails_after: int | None = None) -> None:
        self._engine, self._error, self._left = engine, error, fails_after
        self.provider, self.metadata = engine.provider, engine.metadata
        self.input_shape, self.warnings = engine.input_shape, engine.warnings
        self.outputs = engine.outputs

    def run_named(self, batch: NDArray[np.uint8], names: Sequence[str]) -> tuple[NDArray[np.float32], ...]:
        return self._engine.run_named(batch, names)

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise InferenceError("the accelerator went away")
        found = self._engine.run(batch)
        return np.clip(np.roll(found, 1, axis=1) * self._error + found * (1 - self._error), 0, 1).astype(np.float32)

    def close(self) -> None:
        self._engine.close()


def bending(error: float = 0.0, fails_after: int | None = None) -> suite.Opener:
    """Opens `xnnpack` as a CPU engine whose classifier is bent, and everything else as it is."""

    def opener(target: Target, bundle: Bundle, threads: int) -> OpenTarget:
        opened = open_target(find_target("cpu"), bundle, threads)
        if target.name == "cpu":
            return opened
        return replace(opened, classifier=Bent(opened.classifier, error, fails_after))

    return opener


def test_a_run_measures_every_scenario(measured: r.Results, bundle: Bundle) -> None:
    row = measured.row("cpu", 1)
    assert row is not None and row.status == "ok"
    assert row.single is not None and len(row.single.wall_ms) == 12
    assert set(row.single.stages_ms) == {*r.STAGES, "outside_networks"}
    assert row.multi is not None and row.multi.size == 8
    assert {part.workers for part in row.offline} >= {1}
    assert row.sustained is not None and len(row.sustained.wall_ms) >= 10
    assert row.cold is not None and row.cold.process_ms[0] > row.cold.load_ms[0] > 0
    assert row.placement == {"CPUExecutionProvider": 1.0}
    assert row.accuracy is not None and row.accuracy.passed
    assert measured.bundle.sha256 == bundle.sha256
    assert measured.machine.usable_processors >= 1


def test_wall_time_covers_the_stages(measured: r.Results) -> None:
    row = measured.row("cpu", 1)
    assert row is not None and row.single is not None
    for i, wall in enumerate(row.single.wall_ms):
        stages = {name: row.single.stages_ms[name][i] for name in r.STAGES}
        assert 0 < sum(stages.values()) <= wall
        outside = row.single.stages_ms["outside_networks"][i]
        assert wall - stages["segment"] - stages["classify"] <= outside < wall


def test_the_table_says_how_many_callers_the_best_throughput_took(measured: r.Results) -> None:
    row = measured.row("cpu", 1)
    assert row is not None
    best = replace(row.offline[0], workers=2, pictures_per_second=1234.0)
    shown = format_results(replace(measured, rows=(replace(row, offline=(*row.offline, best)),)))
    assert "1234 by 2 callers" in shown


def test_a_requested_target_that_is_not_here_is_a_failed_row_without_figures(measured: r.Results) -> None:
    row = next(row for row in measured.rows if row.target == "directml")
    assert row.status == "failed"
    assert "DmlExecutionProvider" in row.error and "edge-infer[directml]" in row.error
    assert (row.single, row.multi, row.offline, row.cold, row.accuracy) == (None, None, (), None, None)


def test_an_unknown_target_is_refused_with_the_nearest_name(bundle: Bundle) -> None:
    with pytest.raises(ProviderUnavailableError, match="openvino-cpu"):
        run_suite(bundle, replace(QUICK, targets=("openvinocpu",)))


def test_a_target_outside_its_gate_gets_no_ratio(bundle: Bundle) -> None:
    results = run_suite(bundle, replace(QUICK, targets=("cpu", "xnnpack")), opener=bending(error=0.5))
    row = results.row("xnnpack", 1)
    assert row is not None and row.status == "outside_gate" and row.single is not None
    ratios = [item for item in results.ratios if item.target == "xnnpack"]
    assert [item.ratio for item in ratios] == [None] and "gate" in ratios[0].withheld
    assert "OUTSIDE GATE" in format_results(results)


def test_a_target_inside_its_gate_gets_one(bundle: Bundle) -> None:
    results = run_suite(bundle, replace(QUICK, targets=("cpu", "xnnpack")), opener=bending())
    ratio = next(item for item in results.ratios if item.target == "xnnpack" and item.measure == "SingleStream p50")
    assert ratio.ratio is not None and ratio.ratio.low <= ratio.ratio.value <= ratio.ratio.high


def test_a_target_that_fails_midway_loses_its_row_and_the_others_go_on(bundle: Bundle) -> None:
    plan = replace(QUICK, targets=("cpu", "xnnpack"))
    results = run_suite(bundle, plan, opener=bending(fails_after=14))
    row, other = results.row("xnnpack", 1), results.row("cpu", 1)
    assert row is not None and row.status == "failed" and row.single is None and "went away" in row.error
    assert other is not None and other.status == "ok" and other.single is not None


def test_a_provider_that_runs_no_node_is_refused(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "profile_placement", lambda *_: {"OtherExecutionProvider": 12.0})
    with pytest.raises(ProviderUnavailableError, match="ran no node of the segmenter"):
        open_target(find_target("cpu"), bundle, 1)


def test_placement_adds_up_node_time_by_provider() -> None:
    events = [
        {"cat": "Session", "dur": 99, "args": {}},
        {"cat": "Node", "dur": 30, "args": {"provider": "A"}},
        {"cat": "Node", "dur": 0, "args": {"provider": "A"}},
        {"cat": "Node", "dur": 10, "args": {"provider": "B"}},
        {"cat": "Node", "dur": 5, "args": {}},
    ]
    assert placement_of(events) == {"A": 30.5, "B": 10}


def test_every_unavailable_target_says_why(bundle: Bundle) -> None:
    found = {entry.target: entry for entry in discover(bundle)}
    assert found["cpu"].available and not found["cpu"].reason
    assert len(found) == len(targets.CATALOGUE)
    assert all(entry.reason for entry in found.values() if not entry.available)


def test_labelled_pictures_add_accuracy(bundle: Bundle, tmp_path: Path) -> None:
    from trainer.data.drawn import draw_dataset

    draw_dataset(tmp_path / "drawn", 24, seed=5, height=120, width=160)
    results = run_suite(
        bundle, replace(QUICK, targets=("cpu", "xnnpack"), data=tmp_path / "drawn", split="train"), opener=bending(0.0)
    )
    row = results.row("xnnpack", 1)
    assert row is not None and row.accuracy is not None and row.accuracy.labelled is not None
    assert row.accuracy.labelled.flipped == 0.0 and row.accuracy.labelled.dice > 0.5
    assert row.accuracy.labelled.reference == "the same bundle, cpu"


def test_file_round_trip(measured: r.Results, tmp_path: Path) -> None:
    write_results(tmp_path / "a.json", measured)
    again = read_results(tmp_path / "a.json")
    assert again.bundle == measured.bundle
    assert again.rows[0].single is not None and measured.rows[0].single is not None
    assert again.rows[0].single.wall_ms == pytest.approx(measured.rows[0].single.wall_ms, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(schema_version=99), "schema version"),
        (lambda data: data["rows"][0]["single"]["wall_ms"].__setitem__(slice(None), [1.0] * 12), "percentiles"),
        (lambda data: data["rows"][0]["single"]["cpu_ms"].pop(), "different lengths"),
        (lambda data: data["rows"][0]["offline"][0].update(pictures_per_second=1e6), "throughput"),
        (lambda data: data["rows"][0]["accuracy"].update(passed=False), "outside its gate"),
        (lambda data: data["rows"][1].update(accuracy=data["rows"][0]["accuracy"]), "failed and has figures"),
        (lambda data: data.update(hostname="x"), "hostname"),
    ],
)
def test_a_doctored_file_is_refused(measured: r.Results, tmp_path: Path, change: object, message: str) -> None:
    data = json.loads(json.dumps(dump(measured)))
    change(data)  # type: ignore[operator]
    (tmp_path / "a.json").write_text(json.dumps(data))
    with pytest.raises(r.ResultsError, match=message):
        read_results(tmp_path / "a.json")


def test_the_file_names_no_host_user_or_folder(measured: r.Results, toy_bundle: Path) -> None:
    import getpass
    import platform

    text = json.dumps(dump(measured.machine)) + json.dumps(dump(measured.pictures)) + json.dumps(dump(measured.bundle))
    assert str(toy_bundle.parent) not in text
    assert platform.node() not in text
    assert f'"{getpass.getuser()}"' not in text


class Scripted:
    """A runner whose samples are given."""

    def __init__(self, name: str, log: list[tuple[str, int]], fails: bool = False) -> None:
        self.name, self._log, self._fails = name, log, fails

    def query(self, first: int, size: int) -> Sample:
        if self._fails:
            raise InferenceError("broken")
        self._log.append((self.name, first))
        return Sample(1.0 + len(self._log) % 3, 1.0, {})

    def segment(self, seconds: float, batch_size: int, workers: int) -> Segment:
        self._log.append((self.name, workers))
        return Segment(10 * workers, 2.0, 1.0)

    def statuses(self) -> dict[str, int]:
        return {}


def test_targets_take_turns_on_the_same_pictures() -> None:
    log: list[tuple[str, int]] = []
    effort, pulse = Effort(warmup=0, runs=12, seconds=0.0, block=2), Pulse()
    found = measure_latency([Scripted("a", log), Scripted("b", log)], 1, effort, pulse)
    assert [name for name, _ in log[:8]] == list("aabbbbaa")
    assert [first for name, first in log if name == "a"] == [first for name, first in log if name == "b"]
    assert found["a"].rounds == found["b"].rounds and len(found["a"].wall_ms) == 12
    assert len(pulse.samples) == 6


def test_a_failing_runner_is_named() -> None:
    with pytest.raises(RunnerError) as caught:
        measure_latency([Scripted("a", []), Scripted("b", [], fails=True)], 1, Effort(1, 4, 0.0, 2), Pulse())
    assert caught.value.name == "b" and isinstance(caught.value.__cause__, InferenceError)


def test_offline_counts_workers() -> None:
    log: list[tuple[str, int]] = []
    runner = Scripted("a", log)
    one, two = measure_offline([runner, runner], 8, [1, 1], [1, 2], 1.0, Pulse())
    assert (one.pictures_per_second, two.pictures_per_second) == (5.0, 10.0)
    assert two.workers == 2 and len(two.segment_pictures) == 5


def test_minimum_seconds_are_kept(bundle: Bundle) -> None:
    class Slow(Scripted):
        def query(self, first: int, size: int) -> Sample:
            return Sample(20.0, 1.0, {})

    found = measure_latency([Slow("a", [])], 1, Effort(0, 1, 1.0, 5), Pulse())
    assert sum(found["a"].wall_ms) >= 1000


def test_local_runner_diagnoses_in_several_threads(bundle: Bundle) -> None:
    encoded, described = load_pictures((), bundle)
    engines = [OnnxEngine(bundle.file(stage, "onnx"), providers=["cpu"], threads=1) for stage in targets.STAGES]
    runner = LocalRunner("a", bundle, engines[0], engines[1], encoded, 1)
    done = runner.segment(0.2, 2, 2)
    assert done.pictures >= 2 and done.seconds >= 0.2 and described.sizes == ("600x450: 2",)
    assert runner.statuses() == {"ok": 2}


def test_pictures_without_a_probability_are_told(bundle: Bundle, tmp_path: Path) -> None:
    skin = np.full((120, 160, 3), 180, np.uint8)
    assert cv2.imwrite(str(tmp_path / "skin.png"), skin)
    results = run_suite(bundle, replace(QUICK, targets=("cpu",), pictures=(tmp_path,)))
    assert results.rows[0].statuses == {"indeterminate": 1}
    assert any("1 of 1 pictures got no probability" in note for note in results.rows[0].notes)


def test_a_picture_that_cannot_be_read_stops_the_benchmark(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    with pytest.raises(ImageError):
        run_suite(bundle, replace(QUICK, targets=("cpu",), pictures=(tmp_path,)))
    with pytest.raises(r.ResultsError, match="no picture"):
        (tmp_path / "broken.jpg").rename(tmp_path / "broken.txt")
        run_suite(bundle, replace(QUICK, targets=("cpu",), pictures=(tmp_path,)))


def test_cold_starts_are_whole_processes(toy_bundle: Path, nevus_file: Path) -> None:
    good = child_command(toy_bundle, "cpu", 1, nevus_file)
    found = measure_cold({"good": good, "bad": child_command(toy_bundle, "directml", 1, nevus_file)}, 1)
    assert set(found) == {"good"}
    cold = found["good"]
    assert cold.process_ms[0] >= cold.import_ms[0] + cold.load_ms[0] + cold.first_ms[0]
    assert cold.bare_ms[0] > 0 and cold.peak_memory_bytes[0] > 20e6


@pytest.mark.parametrize(("count", "expected"), [(562, {"p50", "p90"}), (563, {"p50", "p90", "p99"}), (7, set())])
def test_a_percentile_needs_enough_samples(count: int, expected: set[str]) -> None:
    assert set(r.percentiles_of(tuple(np.random.default_rng(0).random(count)))) == expected


def test_percentile_intervals_cover_the_truth() -> None:
    random = np.random.default_rng(1)
    hits = 0
    for _ in range(300):
        found = interval_of(random.exponential(size=200).tolist(), 0.9)
        assert found is not None
        hits += found.low <= np.log(10) <= found.high
    assert 0.90 <= hits / 300 <= 0.99


def test_ratio_intervals_widen_with_the_machines_mood() -> None:
    random = np.random.default_rng(2)
    rounds = [i // 5 for i in range(100)]
    fast = random.normal(10, 0.1, 100)
    mood = np.repeat(random.uniform(0.7, 1.3, 20), 5)
    steady = ratio_of_medians((fast * 3).tolist(), rounds, fast.tolist(), rounds)
    moody = ratio_of_medians((fast * 3 * mood).tolist(), rounds, fast.tolist(), rounds)
    assert steady is not None and moody is not None
    assert steady.value == pytest.approx(3, rel=0.01)
    assert moody.high - moody.low > 5 * (steady.high - steady.low)
    assert ratio_of_medians([1, 1], [0, 1], [1, 1], [0, 1]) is None


def test_ratio_of_rates() -> None:
    found = ratio_of_rates([10, 10, 10, 10], [20, 20, 20, 24])
    assert found is not None and found.value == pytest.approx(2.1) and found.low <= 2.1 <= found.high
    assert ratio_of_rates([10, 10], [20, 20]) is None


def test_sustained_load_that_throttles_shows() -> None:
    steady = [i * 0.1 for i in range(1, 101)]
    slowing = [i * 0.05 for i in range(1, 101)] + [5 + i * 0.5 for i in range(1, 11)]
    assert last_over_first(steady, 10.0) == pytest.approx(1.0, abs=0.1)
    assert last_over_first(slowing, 10.0) < 0.2


def test_peak_probe_counts_operations() -> None:
    peak = probe.probe_peak("float32", 1, side=64, seconds=0.01)
    assert peak.gops == pytest.approx(2 * 64**3 / min(peak.samples_ms) / 1e6)
    assert len(peak.samples_ms) >= 5
    assert probe.probe_peak("int8", 1, side=64, seconds=0.01).gops > 0


@pytest.mark.parametrize(
    ("stored", "operator", "kinds"),
    [
        (probe.FLOAT32_PRODUCT, "MatMul", (TensorProto.FLOAT,) * 3),
        (probe.INT8_PRODUCT, "MatMulInteger", (TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32)),
    ],
)
def test_probe_models_are_what_they_say(stored: bytes, operator: str, kinds: tuple[int, int, int]) -> None:
    a, b, c = (helper.make_tensor_value_info(n, k, ["n", "n"]) for n, k in zip("abc", kinds, strict=True))
    graph = helper.make_graph([helper.make_node(operator, ["a", "b"], ["c"])], "p", [a, b], [c])
    expected = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert onnx.load_from_string(stored).graph == expected.graph


def test_a_busy_machine_is_reported() -> None:
    calm = replace(conditions(), load_average=0.0, power_source="mains")
    quiet = judge_stability([1.0] * 10, ProcessorTimes(0, 0, 0), ProcessorTimes(50, 0, 100), 50, calm)
    assert quiet.warnings == () and quiet.other_share == 0
    loud = judge_stability(
        [1.0] * 5 + [2.0] * 5,
        ProcessorTimes(0, 0, 0),
        ProcessorTimes(80, 5, 100),
        50,
        replace(calm, load_average=9.0, power_source="battery"),
    )
    assert loud.other_share == pytest.approx(0.3) and loud.stolen_share == pytest.approx(0.05)
    words = " ".join(loud.warnings)
    assert all(word in words for word in ("unsteady", "Other processes used 30%", "hypervisor", "busy", "battery"))


def test_processor_times_grow() -> None:
    first = processor_times()
    if first is None:
        pytest.skip("this system has no /proc/stat")
    end = time.perf_counter() + 0.1
    while time.perf_counter() < end:
        pass
    second = processor_times()
    assert second is not None and second.total > first.total and second.busy > first.busy


def test_peak_memory_is_the_childs_own(toy_bundle: Path, nevus_file: Path) -> None:
    ballast = np.ones(100_000_000)
    cold = measure_cold({"a": child_command(toy_bundle, "cpu", 1, nevus_file)}, 1)["a"]
    assert cold.peak_memory_bytes[0] < ballast.nbytes / 2


def test_machine_facts_parse_back() -> None:
    now = conditions()
    machine = describe_machine(now, now)
    assert parse(r.Machine, dump(machine)) == machine
    assert machine.logical_processors >= machine.usable_processors >= 1
    assert {"numpy", "opencv"} <= set(machine.packages)
    with pytest.raises(SchemaError):
        parse(r.Machine, {**dump(machine), "user": "x"})


def test_dice_and_auc_agree_with_scikit_learn() -> None:
    from sklearn.metrics import f1_score, roc_auc_score

    random = np.random.default_rng(3)
    truth, scores = random.random(200) < 0.3, np.round(random.random(200), 1)
    assert auc_score(scores.tolist(), truth.tolist()) == pytest.approx(roc_auc_score(truth, scores))
    assert auc_score([0.1, 0.2], [True, True]) is None
    guess = random.random(200) < 0.4
    assert dice_score(truth, guess) == pytest.approx(f1_score(truth, guess))
    assert dice_score(np.zeros(3, bool), np.zeros(3, bool)) == 1.0


def test_attained_share_uses_as_many_threads_as_were_at_work(measured: r.Results) -> None:
    row = measured.row("cpu", 1)
    assert row is not None
    part = r.Throughput(8, 1, 2, (10,), (1.0,), (1.0,), 10.0)
    peaks = [r.Peak("float32", n, 64, 100.0 * n, (1.0,)) for n in (1, 2)]
    assert probe.attained_share(replace(row, offline=(part,)), peaks, 4.0) == {"float32": pytest.approx(0.2)}
    assert probe.attained_share(row, peaks, None) == {}
