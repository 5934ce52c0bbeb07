"""One run of all goals."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.goals import Goals, Settings, measure_goals, measures
from edge_infer.bundle.store import load_bundle
from edge_infer.schema import dump, parse


def test_one_run_names_every_goal_and_a_failure_takes_no_other_with_it(
    toy_bundle: Path, pictures: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measures, "_LARGE", (300, 400))
    monkeypatch.setattr(measures, "_SIZES", ((225, 300), (300, 225)))

    def pair() -> dict[str, Path]:
        raise RuntimeError("no exporter here")

    kept: list[int] = []
    settings = Settings(rounds=4, seconds=0.5, memory_pictures=3)
    picture = tmp_path / "nevus.jpg"
    picture.write_bytes(pictures[0])
    found = measure_goals(
        load_bundle(toy_bundle),
        pair,
        [picture],
        settings,
        lambda text: None,
        lambda goals: kept.append(len(goals.goals)),
    )
    measured = [item.measured is not None for item in found.goals]
    assert measured == [False, False, False, True, True, True, True, True, False] and kept == [3, 4, 6, 7, 8, 9]
    assert len({item.name for item in found.goals}) == 9
    assert all("no exporter here" in item.how for item in found.goals[:3]) and parse(Goals, dump(found)) == found


def test_a_part_is_measured_alone(toy_bundle: Path, pictures: list[bytes], tmp_path: Path) -> None:
    picture = tmp_path / "nevus.jpg"
    picture.write_bytes(pictures[0])
    settings = Settings(rounds=4, memory_pictures=3, parts=("memory",))
    found = measure_goals(load_bundle(toy_bundle), dict, [picture], settings, lambda text: None)
    assert [item.name for item in found.goals] == [measures.MEMORY.name]


def test_a_part_that_is_none_is_refused() -> None:
    result = CliRunner().invoke(app, ["goals", "--only", "large", "--only", "lunch"])
    assert result.exit_code == 2 and "lunch" in result.output
