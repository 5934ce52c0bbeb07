"""The command line: trains, continues, and explains a mistake in one line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trainer.cli import app as cli
from trainer.cli import bundle as bundle_commands
from trainer.errors import TrainerError
from trainer.recipe import load_recipe, save_recipe
from trainer.scoring.ledger import LEDGER, readings


@pytest.fixture
def toy_toml(tmp_path: Path) -> Path:
    """The mobile classifier's recipe at 32 pixels."""
    recipe = load_recipe("mobile-classifier")
    data = dataclasses.replace(recipe.data, size=32)
    path = tmp_path / "toy.toml"
    save_recipe(dataclasses.replace(recipe, data=data, folds=2, members=1), path)
    return path


def test_train_and_continue(toy_toml: Path, drawn_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ["train", str(toy_toml), "--data", str(drawn_folder), "--out", str(out), "--epochs", "2"]
    arguments += ["--limit", "10", "--fold", "2", "--threads", "1", "--cache", str(tmp_path / "cache")]
    first = CliRunner().invoke(cli.app, [*arguments, "--stop-after", "1"])
    assert first.exit_code == 0, first.output
    second = CliRunner().invoke(cli.app, arguments)
    assert second.exit_code == 0, second.output
    assert "of 2" in second.output
    files = {"best.pt", "last.pt", "history.csv", "curves.png", "recipe.json", "run.json", "tensorboard"}
    assert {path.name for path in out.iterdir()} == files
    assert len((out / "history.csv").read_text().splitlines()) == 3


def test_a_split_that_draws_from_test_is_entered_before_training(
    toy_toml: Path, drawn_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_commands, "RESULTS", tmp_path)
    whole = tmp_path / "whole.toml"
    save_recipe(dataclasses.replace(load_recipe(str(toy_toml)), folds=0), whole)
    arguments = ["train", str(whole), "--data", str(drawn_folder), "--epochs", "1", "--limit", "10"]
    arguments += ["--threads", "1", "--cache", str(tmp_path / "cache"), "--out"]
    trained = CliRunner().invoke(cli.app, [*arguments, str(tmp_path / "column")])
    assert trained.exit_code == 0, trained.output
    assert not readings(tmp_path / LEDGER), "the column's train and val hold nothing of test"
    drawn = [*arguments, str(tmp_path / "drawn"), "--split", "lesion-60-20-20"]
    for _ in range(2):
        trained = CliRunner().invoke(cli.app, drawn)
        assert trained.exit_code == 0, trained.output
    (line,) = readings(tmp_path / LEDGER)
    assert line.command == "python -m trainer train" and line.what == str(tmp_path / "drawn")
    assert 0 < line.pictures["ham10000"] < 20


def test_expected_errors_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = [
        "trainer",
        "train",
        "mobile-classifier",
        "--data",
        str(tmp_path / "none"),
        "--out",
        str(tmp_path / "run"),
    ]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    message = capsys.readouterr().err.strip()
    assert len(message.splitlines()) == 1
    assert str(tmp_path / "none") in message


def test_help_names_every_command() -> None:
    shown = CliRunner().invoke(cli.app, ["--help"]).output
    for command in ("train", "models", "preview", "data", "export"):
        assert command in shown


def test_only_training_is_shared_by_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainerError, match="2 processes of 'models'"):
        CliRunner().invoke(cli.app, ["models"], catch_exceptions=False)
