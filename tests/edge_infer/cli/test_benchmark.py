"""`edge-infer benchmark` as people and scripts call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_infer.benchmark.result_file import read_results
from edge_infer.benchmark.results import Results
from edge_infer.benchmark.targets import CATALOGUE
from edge_infer.cli.app import app
from edge_infer.schema import parse

QUICK = ["--threads", "1", "--batch-size", "1", "--runs", "10", "--seconds", "0.05", "--cold", "0"]


def test_a_table_for_people_and_a_file_for_the_report(toy_bundle: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "here.json"
    done = CliRunner().invoke(
        app, ["benchmark", "--bundle", str(toy_bundle), "--target", "cpu", *QUICK, "-o", str(output)]
    )
    assert done.exit_code == 0, done.output
    assert "p50 ms" in done.stdout and "Not available here: " in done.stdout
    assert "The default is the fastest here" in done.stdout
    assert read_results(output).rows[0].target == "cpu"


def test_json_alone_on_stdout(toy_bundle: Path) -> None:
    done = CliRunner().invoke(
        app, ["benchmark", "--bundle", str(toy_bundle), "--target", "cpu", *QUICK, "--format", "json"]
    )
    assert done.exit_code == 0
    assert parse(Results, json.loads(done.stdout)).rows[0].status == "ok"


def test_a_failed_row_is_exit_code_3_and_the_file_is_written(toy_bundle: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.json"
    arguments = ["benchmark", "--bundle", str(toy_bundle), "--target", "qnn-htp", *QUICK, "-o", str(output)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 3
    assert "FAILED" in done.stdout and "QNNExecutionProvider" in done.stdout
    assert "Nothing here runs this bundle inside its gate" in done.stdout
    assert read_results(output).rows[0].status == "failed"


def test_targets_are_listed_with_reasons(toy_bundle: Path) -> None:
    done = CliRunner().invoke(app, ["benchmark", "--bundle", str(toy_bundle), "--list-targets"])
    lines = done.stdout.splitlines()
    assert done.exit_code == 0 and len(lines) == len(CATALOGUE)
    assert lines[0].split() == ["cpu", "available"]
    assert all("available" in line or "no: " in line for line in lines)


def test_labelled_pictures_are_of_val_unless_a_split_is_named(toy_bundle: Path, tmp_path: Path) -> None:
    from trainer.data.drawn import draw_dataset

    draw_dataset(tmp_path / "drawn", 24, seed=5, height=96, width=128)
    arguments = ["benchmark", "--bundle", str(toy_bundle), "--target", "cpu", *QUICK, "--data", str(tmp_path / "drawn")]

    def data(*extra: str) -> str:
        done = CliRunner().invoke(app, [*arguments, *extra, "--format", "json"])
        assert done.exit_code == 0, done.output
        accuracy = parse(Results, json.loads(done.stdout)).rows[0].accuracy
        assert accuracy is not None and accuracy.labelled is not None
        return accuracy.labelled.data.partition(",")[0]

    assert data() == "val"
    assert data("--split", "train") == "train"
    table = tmp_path / "drawn/metadata.csv"
    table.write_text(table.read_text(encoding="utf-8").replace(",val\n", ",train\n"), encoding="utf-8")
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 3 and "no split 'val'" in refused.stderr and "it has: test, train" in refused.stderr


@pytest.mark.parametrize(
    ("extra", "code"),
    [(["--target", "gpu"], 3), (["--runs", "0"], 2), (["--pictures", "no-such-folder"], 2), (["--data", "."], 3)],
)
def test_wrong_usage_has_an_exit_code(toy_bundle: Path, extra: list[str], code: int) -> None:
    assert CliRunner().invoke(app, ["benchmark", "--bundle", str(toy_bundle), *extra]).exit_code == code
