"""Reports: unlike things are refused, every row appears, figures are the files' own."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.compare import COLUMNS, caveats, load_files, records
from benchmarks.plots import Bars as Bar
from benchmarks.plots import curves, distributions, scatter, stacked_bars
from benchmarks.report import csv_text, html_page, markdown
from edge_infer.benchmark.result_file import write_results
from edge_infer.benchmark.results import Results, ResultsError
from tests.conftest import REPOSITORY


def test_one_line_a_device_and_target(result_files: tuple[Path, Path]) -> None:
    files = load_files(result_files)
    rows = list(csv.DictReader(io.StringIO(csv_text(files))))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["target"], row["status"]) for row in rows] == [("cpu", "ok"), ("cuda", "failed")] * 2
    assert len({row["device"] for row in rows}) == 2
    assert float(rows[2]["p50_ms"]) == pytest.approx(3 * float(rows[0]["p50_ms"]), rel=1e-4)
    assert rows[1]["p50_ms"] == "" and "CUDAExecutionProvider" in rows[1]["why"]


def test_markdown_holds_the_same_figures(result_files: tuple[Path, Path]) -> None:
    files = load_files(result_files)
    text = markdown(files)
    first = records(files)[0]
    assert first.p50_ms is not None and f"{first.p50_ms:.4g}" in text
    tables = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert len(tables) == 3
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    assert "## Failed" in text and "Pretend<Mac>" in text


def test_different_bundles_are_refused_unless_told(
    result_files: tuple[Path, Path], device_results: Results, tmp_path: Path
) -> None:
    other = replace(device_results, bundle=replace(device_results.bundle, sha256="0" * 64))
    write_results(tmp_path / "other.json", other)
    paths = [result_files[0], tmp_path / "other.json"]
    with pytest.raises(ResultsError, match="different bundles"):
        load_files(paths)
    files = load_files(paths, allow_different_bundles=True)
    assert any("different networks" in text for text in caveats(files))
    refused = CliRunner().invoke(app, ["report", *map(str, paths), "-o", str(tmp_path / "out")])
    assert isinstance(refused.exception, ResultsError) and not (tmp_path / "out").exists()
    done = CliRunner().invoke(
        app, ["report", *map(str, paths), "-o", str(tmp_path / "out"), "--allow-different-bundles"]
    )
    assert done.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.csv", "report.html", "report.md"]


def test_different_pictures_are_told(result_files: tuple[Path, Path], device_results: Results, tmp_path: Path) -> None:
    other = replace(device_results, pictures=replace(device_results.pictures, sha256="1" * 64))
    write_results(tmp_path / "other.json", other)
    assert any("different pictures" in text for text in caveats(load_files([result_files[0], tmp_path / "other.json"])))


def test_the_missing_neural_engine_is_said_plainly(result_files: tuple[Path, Path]) -> None:
    here = caveats(load_files(result_files[:1]))
    assert any("Neural Engine" in text and "edge-infer benchmark" in text for text in here)
    assert not any("No file here was measured" in text for text in caveats(load_files(result_files)))


def test_no_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="no result file"):
        load_files([tmp_path])
    (tmp_path / "a.json").write_text(json.dumps({"schema_version": 0}))
    with pytest.raises(ResultsError, match="schema version 0"):
        load_files([tmp_path])


def test_the_page_is_self_contained_and_escaped(result_files: tuple[Path, Path]) -> None:
    page = html_page(load_files(result_files))
    assert not re.search(r"(?:src|href)\s*=|@import|url\(", page)
    assert "Pretend<Mac>" not in page and "Pretend&lt;Mac&gt;" in page
    assert page.count("<svg") == 4


@pytest.mark.parametrize(
    "svg",
    [
        distributions([("a<b", [1.0, 2.0, 9.0]), ("c", [5.0])], "ms"),
        distributions([("same", [2.0, 2.0])], "ms"),
        stacked_bars(["x", "y"], [Bar("a & b", (1.0, 2.0)), Bar("c", (0.0, 0.5))], "ms"),
        scatter([("one", 10.0, 0.0)], "pictures/s", "change"),
        curves([("a", [0.0, 1.0], [3.0, 4.0])], "s", "rate"),
    ],
)
def test_plots_are_well_formed_and_inside_their_frame(svg: str) -> None:
    root = ElementTree.fromstring(svg)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for element in root.iter():
        for key, limit in (("x", width), ("cx", width), ("y", height), ("cy", height)):
            if key in element.attrib:
                assert 0 <= float(element.attrib[key]) <= limit


def test_a_distribution_shows_every_sample() -> None:
    samples = [float(i) for i in range(1, 1001)]
    ticks = re.search(r'<path d="([^"]*)" class="ticks"', distributions([("a", samples)], "ms"))
    assert ticks is not None and ticks.group(1).count("M") == 1000


def test_an_axis_of_shares_ends_at_one() -> None:
    drawn = scatter([("one", 10.0, 0.944), ("two", 20.0, 0.99)], "pictures/s", "AUC")
    assert ">1</text>" in drawn and ">1.0" not in drawn
    assert ">2.1</text>" in scatter([("one", 10.0, 1.0), ("two", 20.0, 2.0)], "pictures/s", "change")


def test_the_stored_results_are_read_from_their_folder() -> None:
    files = load_files([REPOSITORY / "benchmarks/results"], allow_different_bundles=True)
    assert files and not [file.path.name for file in files if file.path.name.startswith(("goals", "batch", "serve"))]
