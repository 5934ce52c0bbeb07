"""The loop: it learns, it resumes exactly, and its files are what they say."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from trainer.data.ham10000 import DX, Record
from trainer.data.splits import standard_split
from trainer.errors import CheckpointError
from trainer.recipe import AugmentConfig, OptimConfig, Recipe, load_recipe
from trainer.training.checkpoint import build_model, class_names, init_weights, load_checkpoint, read_file
from trainer.training.loop import WeightAverage, rate_factor, train, validate
from trainer.training.precision import keep_strided_depthwise_in_float32
from trainer.training.tasks import Batch, monitored, picture_scores, serving_data, summarise

STAGES = ["mobile-segmenter", "mobile-classifier"]
MakeRecipe = Callable[..., Recipe]


def run(recipe: Recipe, records: list[Record], out: Path, cache: Path, **options: Any) -> list[dict[str, float]]:
    parts = standard_split(records)
    train(recipe, parts["train"], parts["val"], out, cache=cache, **options)
    with (out / "history.csv").open(newline="") as stream:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]


@pytest.mark.parametrize("name", STAGES)
def test_training_lowers_the_loss(
    name: str, toy_recipe: MakeRecipe, drawn_records: list[Record], toy_cache: Path, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(toy_recipe(name, epochs=6, learning_rate=2e-3), augment=AugmentConfig())
    history = run(recipe, drawn_records, tmp_path, toy_cache)
    assert history[-1]["train_loss"] < 0.85 * history[0]["train_loss"]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", STAGES)
def test_resumed_run_equals_an_uninterrupted_one(
    name: str, toy_recipe: MakeRecipe, drawn_records: list[Record], toy_cache: Path, tmp_path: Path
) -> None:
    recipe = toy_recipe(name, epochs=3)
    straight = run(recipe, drawn_records, tmp_path / "straight", toy_cache)
    assert len(run(recipe, drawn_records, tmp_path / "broken", toy_cache, stop_after=1)) == 1
    torch.manual_seed(999)  # whatever happened in between
    resumed = run(recipe, drawn_records, tmp_path / "broken", toy_cache)
    assert [row["train_loss"] for row in resumed] == [row["train_loss"] for row in straight]
    one, other = read_file(tmp_path / "straight/last.pt"), read_file(tmp_path / "broken/last.pt")
    for key in ("model", "weights"):
        assert one[key].keys() == other[key].keys()
        assert all(torch.equal(one[key][name], other[key][name]) for name in one[key])
    assert any(not torch.equal(one["model"][name], one["weights"][name]) for name in one["model"])


@pytest.mark.parametrize("name", STAGES)
def test_checkpoint_gives_the_network_that_was_validated(
    name: str, toy_recipe: MakeRecipe, drawn_records: list[Record], toy_cache: Path, tmp_path: Path
) -> None:
    recipe = toy_recipe(name, epochs=2, precision="float32")
    run(recipe, drawn_records, tmp_path, toy_cache)
    checkpoint = load_checkpoint(tmp_path / "last.pt")
    assert checkpoint.recipe == recipe
    assert not checkpoint.model.training
    data = serving_data(recipe, standard_split(drawn_records)["val"], toy_cache)
    measured = validate(recipe, checkpoint.model, data)
    assert measured["val_loss"] == pytest.approx(checkpoint.metrics["val_loss"], rel=1e-4)


def test_another_recipe_does_not_continue_a_run(
    toy_recipe: MakeRecipe, drawn_records: list[Record], toy_cache: Path, tmp_path: Path
) -> None:
    run(toy_recipe("mobile-classifier", epochs=1), drawn_records, tmp_path, toy_cache)
    longer = toy_recipe("mobile-classifier", epochs=2)
    with pytest.raises(CheckpointError, match="another recipe"):
        run(longer, drawn_records, tmp_path, toy_cache)
    assert len(run(longer, drawn_records, tmp_path, toy_cache, resume=False)) == 2


def test_small_size_comes_first(
    toy_recipe: MakeRecipe, drawn_records: list[Record], toy_cache: Path, tmp_path: Path
) -> None:
    recipe = toy_recipe("mobile-classifier", epochs=4)
    recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, small_size=32, small_share=0.5))
    history = run(recipe, drawn_records, tmp_path, toy_cache)
    assert [row["size"] for row in history] == [32, 32, 64, 64]


def test_patience_stops_early(
    toy_recipe: MakeRecipe, drawn_records: list[Record], toy_cache: Path, tmp_path: Path
) -> None:
    still = toy_recipe("mobile-segmenter", epochs=9, patience=2, learning_rate=1e-12, ema=0.0)
    frozen = dataclasses.replace(still, optim=dataclasses.replace(still.optim, weight_decay=0.0))
    history = run(frozen, drawn_records, tmp_path, toy_cache)
    assert len(history) < 9
    best = read_file(tmp_path / "best.pt")["epoch"]
    assert len(history) == best + 2


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "noise.pt").write_bytes(b"noise")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pt")
    for name, hint in (("noise.pt", "cannot be read"), ("other.pt", "no checkpoint"), ("none.pt", "no file")):
        with pytest.raises(CheckpointError, match=hint):
            load_checkpoint(tmp_path / name)


def test_partial_weights_are_loaded_and_named(toy_recipe: MakeRecipe, tmp_path: Path) -> None:
    classifier = build_model(toy_recipe("mobile-classifier"))
    backbone = {name: value for name, value in classifier.state_dict().items() if name.startswith("features.")}
    torch.save({name: value.half() for name, value in backbone.items()}, tmp_path / "backbone.pth")
    other = build_model(toy_recipe("mobile-classifier"))
    report = init_weights(other, tmp_path / "backbone.pth")
    assert report.fresh == ("classifier.1.weight", "classifier.1.bias")
    assert report.unused == ()
    assert "classifier" in report.describe()
    for name, value in backbone.items():
        assert torch.equal(other.state_dict()[name], value.half().to(value.dtype))

    segmenter = build_model(toy_recipe("mobile-segmenter"))
    report = init_weights(segmenter, tmp_path / "backbone.pth")
    name = "features.3.conv.0.0.weight"
    assert torch.equal(segmenter.state_dict()[f"encoder.{name}"], backbone[name].half().float())
    assert all(fresh.startswith(("decoder.", "head.")) for fresh in report.fresh)
    assert {unused.rpartition(".")[0] for unused in report.unused} == {"features.18.0", "features.18.1"}


def test_weights_that_do_not_fit_are_refused(toy_recipe: MakeRecipe, tmp_path: Path) -> None:
    model = build_model(toy_recipe("mobile-classifier"))
    torch.save({"stem.weight": torch.zeros(1)}, tmp_path / "foreign.pth")
    with pytest.raises(CheckpointError, match="no tensor has a name"):
        init_weights(model, tmp_path / "foreign.pth")
    torch.save({"classifier.1.bias": torch.zeros(3)}, tmp_path / "shape.pth")
    with pytest.raises(CheckpointError, match=r"classifier\.1\.bias has shape \(3,\), and the network \(7,\)"):
        init_weights(model, tmp_path / "shape.pth")


def test_init_weights_reach_the_run(
    toy_recipe: MakeRecipe,
    drawn_records: list[Record],
    toy_cache: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = toy_recipe("mobile-classifier", epochs=1, learning_rate=1e-12)
    torch.save({"classifier.1.bias": torch.arange(7.0)}, tmp_path / "bias.pth")
    run(recipe, drawn_records, tmp_path / "run", toy_cache, weights=tmp_path / "bias.pth")
    assert "1 tensors loaded" in capsys.readouterr().err
    bias = load_checkpoint(tmp_path / "run/last.pt").model.state_dict()["classifier.1.bias"]
    torch.testing.assert_close(bias, torch.arange(7.0), atol=1e-4, rtol=0)


@pytest.mark.parametrize("schedule", ["cosine", "poly"])
def test_schedule_climbs_to_its_peak_and_falls_to_zero(schedule: str) -> None:
    config = OptimConfig(1, 1, 1.0, schedule=schedule, warmup=0.2)  # type: ignore[arg-type]
    rates = [rate_factor(step, 100, config) for step in range(101)]
    assert rates[0] == pytest.approx(1 / 25)
    assert rates[20] == pytest.approx(1)
    assert rates[100] == pytest.approx(0, abs=1e-12)
    assert np.all(np.diff(rates[:21]) > 0)
    assert np.all(np.diff(rates[20:]) < 0)
    half = {"cosine": 0.5, "poly": 0.5**0.9}[schedule]
    assert rates[60] == pytest.approx(half)


def test_weight_average_is_the_recurrence() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 0.0)
    average, expected = WeightAverage(model, 0.5), 0.0
    for step in range(1, 12):
        nn.init.constant_(model.weight, float(step))
        average.update(model)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert float(average.weights["weight"]) == pytest.approx(expected)


def test_float32_depthwise_computes_the_same() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8), nn.Conv2d(8, 4, 1))
    kept = nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8), nn.Conv2d(8, 4, 1))
    kept.load_state_dict(plain.state_dict())
    keep_strided_depthwise_in_float32(kept)
    assert kept.state_dict().keys() == plain.state_dict().keys()
    values = torch.randn(2, 8, 9, 9)
    assert torch.equal(kept(values), plain(values))
    with torch.autocast("cpu", torch.bfloat16):
        assert kept[0](values).dtype == torch.float32
        assert kept[1](kept[0](values)).dtype == torch.bfloat16


def test_float32_depthwise_keeps_a_convolution_that_pads_itself() -> None:
    class Padded(nn.Conv2d):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return super().forward(nn.functional.pad(input, (2, 2, 2, 2)))

    kept = nn.Sequential(Padded(8, 8, 5, stride=2, groups=8))
    values = torch.randn(2, 8, 2, 2)
    expected = kept(values)
    keep_strided_depthwise_in_float32(kept)
    assert torch.equal(kept(values), expected)


def scores(recipe: Recipe, outputs: Any, masks: torch.Tensor | None, labels: torch.Tensor | None) -> dict[str, float]:
    batch = Batch(torch.zeros(1), masks, labels, None)
    return summarise(recipe, picture_scores(recipe, outputs, batch))


def test_metrics_by_hand(toy_recipe: MakeRecipe) -> None:
    segmenter, classifier = toy_recipe("mobile-segmenter"), toy_recipe("mobile-classifier")
    logits = torch.tensor([[1.0, 1, -1, -1], [-1, -1, -1, -1], [1, -1, -1, -1]]).view(3, 1, 2, 2)
    masks = torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]).view(3, 1, 2, 2)
    found = scores(segmenter, logits, masks, None)
    assert found["dice"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found["jaccard"] == pytest.approx((1 / 2 + 1 + 0) / 3)

    melanoma = DX.index("mel")
    logits = torch.zeros(4, 7)
    logits[:, melanoma] = torch.tensor([2.0, -1.0, 1.0, 0.5])
    labels = torch.tensor([melanoma, 0, 0, melanoma])
    found = scores(classifier, logits, None, labels)
    assert found["auc_melanoma"] == pytest.approx(3 / 4)  # of the four pairs one is ranked wrongly
    assert found["accuracy"] == pytest.approx(3 / 4)
    assert math.isnan(scores(classifier, logits, None, torch.zeros(4, dtype=torch.int64))["auc_melanoma"])
    assert class_names(classifier) == DX


def test_joint_metrics_cover_both_outputs() -> None:
    recipe = load_recipe("clnet-keratosis")
    masks = torch.ones(2, 1, 2, 2)
    found = scores(recipe, (masks * 9, torch.tensor([[0.0, 1.0], [1.0, 0.0]])), masks, torch.tensor([1, 0]))
    assert found == {"dice": 1, "jaccard": 1, "auc_keratosis": 1, "accuracy": 1}
    assert monitored(recipe) == "auc_keratosis"
