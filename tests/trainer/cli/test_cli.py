"""The command line: trains, continues, and explains a mistake in one line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trainer.cli import app as cli
from trainer.errors import TrainerError
from trainer.recipe import load_recipe, save_recipe


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
