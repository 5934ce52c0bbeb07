"""Figures on drawn pictures: files that open, the right cases, maps that follow the evidence."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from edge_infer.bundle.store import read_manifest
from tests.trainer.papers.test_compare import prediction
from trainer.cli import app as cli
from trainer.cli import bundle as bundle_commands
from trainer.data.ham10000 import Record
from trainer.data.splits import standard_split
from trainer.errors import DataError, MissingPackageError
from trainer.figures.attention import attention_maps, last_feature_map
from trainer.figures.cases import extremes, look, mistakes, open_bundle, open_checkpoints
from trainer.figures.panels import draw_panels
from trainer.papers.predictions import reference_masks
from trainer.recipe import Recipe
from trainer.scoring.ledger import LEDGER, decisions_hash, readings
from trainer.scoring.predict import predict
from trainer.scoring.predictions import read_predictions, write_predictions
from trainer.training.checkpoint import FORMAT, Checkpoint, build_model

MakeRecipe = Callable[..., Recipe]


class Corner(nn.Module):
    """Evidence for class 1 is bright red in a picture's upper left quarter, whatever the rest shows."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 2, 1, bias=False)
        with torch.no_grad():
            self.features.weight.copy_(torch.tensor([[0.0, 1, 0], [1, -1, -1]]).reshape(2, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return torch.relu(self.features(images)).mean((2, 3))


def test_attention_lies_on_the_evidence(toy_recipe: MakeRecipe) -> None:
    pytest.importorskip("pytorch_grad_cam")
    recipe = toy_recipe("resnet34-binary", size=32)
    crop = np.full((32, 32, 3), 90, np.uint8)
    crop[4:12, 4:12] = (255, 0, 0)
    maps = attention_maps(Checkpoint(Corner().eval(), recipe, 1, {}), [crop, crop[::-1].copy()], 1)
    assert maps.shape == (2, 32, 32) and maps.max() == pytest.approx(1, abs=1e-3)
    assert maps[0, 4:12, 4:12].mean() > 0.8 and maps[0, 16:, 16:].mean() < 0.1
    np.testing.assert_allclose(maps[1], maps[0][::-1], atol=0.05)
    with pytest.raises(DataError, match="does not classify"):
        attention_maps(Checkpoint(Corner().eval(), toy_recipe("unet"), 1, {}), [crop], 0)


@pytest.mark.parametrize(
    ("name", "expected"), [("resnet34-binary", "layer4"), ("simple-cnn", "8"), ("xception", "act4")]
)
def test_the_last_feature_map_is_found(name: str, expected: str, toy_recipe: MakeRecipe) -> None:
    model = build_model(toy_recipe(name)).eval()
    assert last_feature_map(model, torch.zeros(1, 3, 96, 96)) is dict(model.named_modules())[expected]


def test_missing_package_is_a_typed_error(toy_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("pytorch_grad_cam"):
            raise ImportError("no grad-cam here")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingPackageError, match="grad-cam") as raised:
        attention_maps(Checkpoint(Corner(), toy_recipe("resnet34-binary"), 1, {}), [], 1)
    assert "pip install" in raised.value.remedy


def test_extremes_by_hand() -> None:
    found = [prediction(i, 10 * i, 5, 5, 100) for i in range(1, 8)]
    chosen = extremes(found, 1)
    assert chosen == {"best": ["i7"], "median": ["i4"], "worst": ["i1"]}
    assert extremes(found, 2)["worst"] == ["i1", "i2"]
    with pytest.raises(DataError, match="are needed"):
        extremes(found, 3)


def test_mistakes_by_hand() -> None:
    named = [("mel", 0.1, ""), ("mel", 0.8, ""), ("nv", 0.7, ""), ("nv", 0.2, ""), ("mel", 0.0, "blurred")]
    found = [
        replace(prediction(i, 10 * (i + 1), 5, 5, 100), dx=dx, reason=reason, probabilities={"mel": p, "nv": 1 - p})
        for i, (dx, p, reason) in enumerate(named)
    ]
    chosen = mistakes(found, 1)
    assert chosen == {"missed": ["i0"], "false alarm": ["i2"], "outline": ["i0"], "refused": ["i4"]}
    assert mistakes(found, 9)["missed"] == ["i0", "i1"]
    with pytest.raises(DataError, match="No prediction"):
        mistakes([replace(item, dx="") for item in found], 1)


def test_a_picture_without_a_mask_is_shown_too(drawn_records: list[Record], toy_bundle: Path, tmp_path: Path) -> None:
    seer = open_bundle(str(toy_bundle))
    case = look(replace(drawn_records[0], mask_path=None), seer)
    assert case.truth is None and case.dice is None
    draw_panels(tmp_path / "panels.png", [("missed", case)], seer)
    assert cv2.imread(str(tmp_path / "panels.png")) is not None


def test_a_case_agrees_with_the_evaluation(drawn_records: list[Record], toy_bundle: Path) -> None:
    seer = open_bundle(str(toy_bundle))
    assert seer.classify is not None
    records = standard_split(drawn_records)["test"][:3]
    from trainer.scoring.networks import Networks

    expected = predict(records, seer.rules, Networks(seer.segment, seer.classify), progress=False)
    for record, known in zip(records, expected, strict=True):
        case = look(record, seer)
        assert case.dice == pytest.approx(known.clean.dice if known.clean else None)
        assert case.probabilities == pytest.approx(known.probabilities)


def test_commands_draw_files_that_open_and_enter_looks_at_test(
    drawn_folder: Path,
    drawn_records: list[Record],
    toy_bundle: Path,
    toy_recipe: MakeRecipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from trainer.papers.predictions import predict_masks

    monkeypatch.setattr(bundle_commands, "RESULTS", tmp_path)

    def entered() -> list[tuple[str, int, str]]:
        """Command, pictures and hash of each line."""
        lines = readings(tmp_path / LEDGER)
        return [(line.command.rpartition(" ")[2], line.pictures["ham10000"], line.hash) for line in lines]

    def shape(name: str) -> tuple[int, ...]:
        image = cv2.imread(str(tmp_path / name))
        assert image is not None, name
        return tuple(image.shape)

    def run(*arguments: object) -> None:
        done = CliRunner().invoke(cli.app, ["figures", *map(str, arguments)])
        assert done.exit_code == 0, (done.output, done.exception)

    test = [replace(r, split="test") for r in standard_split(drawn_records)["test"]]
    seer = open_bundle(str(toy_bundle))
    found = predict_masks(reference_masks("ellipse", test), test)
    rng = np.random.default_rng(0)
    scored = [replace(p, probabilities={"other": 1 - s, "mel": s}) for p, s in zip(found, rng.random(99), strict=False)]
    write_predictions(tmp_path / "masks.parquet", scored)
    assert seer.name == "bundle toy" and read_predictions(tmp_path / "masks.parquet")

    data = ("--data", drawn_folder)
    run("panels", *data, "--bundle", toy_bundle, "--count", 1, "--out", tmp_path / "one.png")
    run("panels", *data, "--bundle", toy_bundle, "--count", 2, "--out", tmp_path / "two.png")
    assert shape("two.png")[0] > 1.4 * shape("one.png")[0]
    assert entered() == [], "no look at test so far"
    whose = decisions_hash(read_manifest(toy_bundle).manifest)
    run("panels", *data, "--bundle", toy_bundle, "--split", "test", "--count", 2, "--out", tmp_path / "seen.png",
        "--reason", "a slide")  # fmt: skip
    assert entered() == [("panels", 2, whose)] and readings(tmp_path / LEDGER)[0].reason == "a slide"
    named = [part for record in test[-3:] for part in ("--image", record.image_id)]
    run("panels", *data, "--segmenter", toy_bundle, *named, "--out", tmp_path / "named.png")
    assert entered()[1][:2] == ("panels", 3)
    run("extremes", *data, "--segmenter", toy_bundle, "--predictions", tmp_path / "masks.parquet", "--count", 1,
        "--out", tmp_path / "extremes.png")  # fmt: skip
    shape("extremes.png")
    assert entered()[2][:2] == ("extremes", 3)
    run("mistakes", *data, "--bundle", toy_bundle, "--predictions", tmp_path / "masks.parquet", "--count", 1,
        "--out", tmp_path / "mistakes.png")  # fmt: skip
    shape("mistakes.png")
    command, count, identity = entered()[3]
    assert command == "mistakes" and 1 <= count <= 3 and identity == whose
    run("curves", tmp_path / "masks.parquet", "--out", tmp_path / "curves", "--resamples", 20)
    shape("curves/roc.png")
    shape("curves/reliability.png")
    assert len(entered()) == 4, "stored predictions are no pictures"

    pytest.importorskip("pytorch_grad_cam")
    recipe = toy_recipe("simple-cnn", size=32)
    content = {"format": FORMAT, "recipe": recipe.to_dict(), "epoch": 1, "metrics": {"auc": 0.5}}
    torch.save(content | {"weights": build_model(recipe).state_dict()}, tmp_path / "best.pt")
    run("grad-cam", *data, "--classifier", tmp_path / "best.pt", "--count", 2, "--out", tmp_path / "cam.png")
    shape("cam.png")
    assert len(entered()) == 4
    run("grad-cam", *data, "--classifier", tmp_path / "best.pt", "--split", "test", "--count", 2, "--out",
        tmp_path / "cam.png")  # fmt: skip
    assert entered()[4][:2] == ("grad-cam", 2)
    with pytest.raises(DataError, match="does not segment"):
        open_checkpoints(str(tmp_path / "best.pt"), None)
    wrong = CliRunner().invoke(cli.app, ["figures", "panels", *map(str, data), "--out", str(tmp_path / "x.png")])
    assert "not clear whose" in str(wrong.exception)
