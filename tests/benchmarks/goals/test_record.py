"""Goals: missed ones said as plainly as met ones; files that read back as written."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.goals import Goals, add_to_history, against_last, goal, markdown, write_goals
from benchmarks.goals.record import Limit
from edge_infer.benchmark.results import ResultsError
from edge_infer.benchmark.stats import Interval
from edge_infer.schema import dump, parse


@pytest.mark.parametrize(("relation", "value", "met"), [("<=", 0.5, True), ("<=", 1.5, False), (">=", 0.5, False)])
def test_a_goal_is_met_or_not(relation: str, value: float, met: bool) -> None:
    found = goal(Limit("x", relation, 1.0), Interval(value, value, value), "how", {})  # type: ignore[arg-type]
    assert found.met is met
    text = markdown(Goals(1, "", "", "", "", (), (found,)))
    assert ("**no**" in text) is not met
    assert goal(Limit("x", "<=", 1.0), None, "how", {}).met is None
    undefined = goal(Limit("x", ">=", 1.0), Interval(2.0, 1.0, float("nan")), "how", {})
    assert undefined.met is None and undefined.measured is None and "undefined" in undefined.how


def test_goals_file_round_trip(tmp_path: Path) -> None:
    one = goal(Limit("x", "<=", 1.0), Interval(0.5, 0.4, 0.6), "how", {"a_ms": [1.0, 2.0]})
    written = Goals(1, "now", "machine", "bundle", "pair", (1.0,), (one,))
    write_goals(tmp_path / "goals.json", written)
    assert parse(Goals, dump(written)) == written
    assert (tmp_path / "goals.json").read_text().endswith("}\n")
    assert "| x | <= 1 | 0.500 [0.400, 0.600] | yes |" in (tmp_path / "goals.md").read_text()


def test_history_compares_with_the_last_run_on_the_same_machine(tmp_path: Path) -> None:
    def run(day: int, machine: str, value: float | None) -> Goals:
        found = goal(Limit("x", ">=", 2.0), None if value is None else Interval(value, value, value), "how", {})
        return Goals(1, f"2026-01-{day:02d}T00:00:00+00:00", machine, "bundle", "pair", (), (found,))

    file = tmp_path / "history.csv"
    assert against_last(file, run(1, "here", 3.0)) == []
    for earlier in (run(1, "here", 1.0), run(2, "here", 2.0), run(3, "here", None), run(4, "there", 9.0)):
        add_to_history(file, earlier)
    [line] = against_last(file, run(5, "here", 3.0))
    assert "2 in" in line and "2026-01-02" in line and "now 3, 1.50x" in line
    assert against_last(file, run(5, "elsewhere", 3.0)) == []
    assert len(file.read_text().splitlines()) == 5

    file.write_text("a,b\n1,2\n")
    with pytest.raises(ResultsError, match="no history"):
        add_to_history(file, run(6, "here", 1.0))
