"""The figures of one row, as tables and reports show them."""

from __future__ import annotations

from edge_infer.benchmark.accuracy import end_to_end_change
from edge_infer.benchmark.figures import figures_of
from edge_infer.benchmark.results import Accuracy, Check, Cold, Latency, Row, Throughput
from edge_infer.benchmark.stats import Interval


def throughput(rate: float, workers: int) -> Throughput:
    return Throughput(1, 1, workers, (10,), (10 / rate,), (1.0,), rate)


def test_figures_of_a_full_row() -> None:
    p50, p90 = Interval(2.0, 1.5, 2.5), Interval(3.0, 2.9, 3.1)
    single = Latency(1, (1.0, 2.0, 9.0), (5.0, 7.0, 6.0), (0, 1, 2), {}, {"p50": p50, "p90": p90})
    multi = Latency(8, (40.0,), (40.0,), (0,), {}, {"p50": Interval(40.0, 39.0, 41.0)})
    cold = Cold((100.0, 300.0, 200.0), (50.0,), (9.0,), (20.0, 10.0, 30.0), (4.0, 5.0, 6.0), (3_000_000, 1_000_000))
    fast = throughput(9.0, 2)
    found = figures_of(
        Row("cpu", "CPU", "ok", 1, single=single, multi=multi, offline=(throughput(4.0, 1), fast), cold=cold)
    )
    assert (found.p50, found.p90, found.p99) == (p50, p90, None)
    assert (found.cpu_ms, found.multi_p50_ms, found.offline) == (6.0, 40.0, fast)
    assert (found.cold_ms, found.load_ms, found.first_ms, found.peak_memory_mb) == (200.0, 20.0, 5.0, 2.0)


def test_a_failed_row_has_no_figures() -> None:
    assert set(vars(figures_of(Row("cpu", "CPU", "failed", 1, error="gone"))).values()) == {None}


def test_memory_may_be_unknown_where_cold_starts_were_timed() -> None:
    cold = Cold((1.0,), (1.0,), (1.0,), (1.0,), (1.0,), ())
    found = figures_of(Row("cpu", "CPU", "ok", 1, cold=cold))
    assert found.peak_memory_mb is None and found.cold_ms == 1.0


def test_the_change_of_the_whole_path_is_found_among_the_checks() -> None:
    crop = Check("probabilities: max |Δ|", 0.5, "<=", 1.0, True)
    whole = Check("probabilities (end to end): max |Δ|", 0.25, "<=", 1.0, True)
    assert end_to_end_change(Accuracy((crop, whole), None, True)) == 0.25
    assert end_to_end_change(Accuracy((crop,), None, True)) is None
    assert end_to_end_change(None) is None
