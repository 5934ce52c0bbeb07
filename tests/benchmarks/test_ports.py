"""Comparisons of ports: which pictures, what the tables say, and that a report of another bundle is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.ports import flips
from benchmarks.ports.answers import Compared, Pair
from benchmarks.ports.answers import table as answers_table
from benchmarks.ports.choose import chosen
from benchmarks.ports.deviations import ReportError, read_report, table
from edge_infer.conformance.store import BundleEntry, Index, StepEntry, Vector

INDEX = Index(
    1,
    BundleEntry("toy", "1.0.0", "a" * 64),
    {"crop": StepEntry("", "nothing"), "decode": StepEntry("", "decoder")},
    tuple(Vector(f"{step}/{name}", step, "", {}, {}) for step in ("crop", "decode") for name in ("one", "two")),
)


def report(tmp_path: Path, **changes: object) -> Path:
    """As a port's runner writes it."""
    lines = [
        {"name": "crop/one", "step": "crop", "status": "passed", "deviations": {"image.max_abs": 0.0}},
        {"name": "crop/two", "step": "crop", "status": "failed", "deviations": {"image.max_abs": 2.0}},
        {"name": "decode/one", "step": "decode", "status": "passed", "deviations": {"image.mean_abs": 0.0}},
        {"name": "decode/two", "step": "decode", "status": "left out", "deviations": {}},
    ]
    data = {"port": "here", "runtime": "1", "engine": None, "bundle_sha256": "a" * 64, "vectors": lines} | changes
    path = tmp_path / "report.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_pictures_are_spread_over_their_names(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"{number}.jpg").touch()
    (tmp_path / "notes.txt").touch()
    assert [path.stem for path in chosen([tmp_path], 5)] == ["0", "2", "4", "6", "8"]
    assert len(chosen([tmp_path], 100)) == 10


def test_the_table_has_the_largest_deviation_and_what_was_left_out(tmp_path: Path) -> None:
    text = table(INDEX, [read_report(report(tmp_path), INDEX)])
    assert "| crop | 2 | image 2, **1 failed** |" in text
    assert "| decode | 2 | equal; 1 left out |" in text
    assert "2 passed, 1 failed, 1 left out" in text


@pytest.mark.parametrize("changes", [{"bundle_sha256": "b" * 64}, {"vectors": [{}]}, {"vectors": 1}])
def test_other_reports_are_refused(changes: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(ReportError):
        read_report(report(tmp_path, **changes), INDEX)


def test_answers_that_differ_are_named() -> None:
    same = Pair("a.jpg", ("ok", None, "melanoma"), ("ok", None, "melanoma"), 0.001, True)
    moved = Pair("b.jpg", ("ok", None, "melanoma"), ("ok", None, "melanoma"), 0.02, True)
    other = Pair("c.jpg", ("ok", None, "melanoma"), ("ok", None, "not melanoma"), 0.002, False)
    text = answers_table([Compared("toy", "a" * 64, (same, moved, other))])
    assert "| 3 | 3 | 1 | 1 | 0.02 |" in text
    assert "b.jpg" in text and "c.jpg" in text and "a.jpg" not in text


def test_pictures_are_enlarged_and_flips_counted(
    toy_bundle: Path, nevus_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flips, "LARGE", 600_000)
    (found, whole) = flips.count_flips([toy_bundle], [nevus_file], lambda _: None, (64, 5000))
    (twice,) = found.pictures
    assert whole.pictures[0].moved == 0
    assert twice.full.image_size == twice.reduced.image_size
    assert twice.full.image_size[0] * twice.full.image_size[1] == pytest.approx(600_000, rel=0.01)
    point = found.manifest.operating_points[0]
    beyond = (
        replace(twice.full, melanoma_probability=point.threshold),
        replace(twice.full, melanoma_probability=point.threshold - 0.001),
    )
    moved = replace(found, pictures=(flips.Twice("a.jpg", *beyond),))
    text = flips.table([found, moved])
    assert "`toy`" in text and f"| a.jpg | `toy` | 64 | {point.name} |" in text and moved.flipped(point.name) == 1
    assert "a.jpg" not in flips.table([found])
