"""The end of a fixed schedule is kept, validation is no more often than asked for, and short runs average sensibly."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from trainer.data.ham10000 import Record
from trainer.data.splits import standard_split
from trainer.data.transforms import normalize, to_float
from trainer.errors import RecipeError
from trainer.models.segmentation.style import StyledNorm, in_styles
from trainer.models.serving import ServingSegmenter
from trainer.recipe import AugmentConfig, ModelConfig, Normalization, Recipe, recipe_from_dict
from trainer.training.checkpoint import build_model, init_weights, load_checkpoint
from trainer.training.loop import WeightAverage, sampling_order, train
from trainer.training.losses import FocalLoss, PartlyKnown
from trainer.training.tasks import training_data

MakeRecipe = Callable[..., Recipe]


def run(recipe: Recipe, records: list[Record], out: Path, cache: Path, **options: Any) -> list[dict[str, str]]:
    parts = standard_split(records)
    train(recipe, parts["train"], parts["val"], out, cache=cache, **options)
    with (out / "history.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_last_epoch_is_kept_and_alone_validated(
    toy_recipe: MakeRecipe, drawn_records: list[Record], toy_cache: Path, tmp_path: Path
) -> None:
    recipe = toy_recipe("mobile-segmenter", epochs=3, keep="last", validate_every=0, learning_rate=1.0)
    rows = run(recipe, drawn_records, tmp_path, toy_cache)
    assert [bool(row["dice"]) for row in rows] == [False, False, True]
    assert load_checkpoint(tmp_path / "best.pt").epoch == 3


def test_every_second_epoch_is_validated_and_the_last(
    toy_recipe: MakeRecipe, drawn_records: list[Record], toy_cache: Path, tmp_path: Path
) -> None:
    recipe = toy_recipe("mobile-segmenter", epochs=3, keep="last", validate_every=2)
    rows = run(recipe, drawn_records, tmp_path, toy_cache, stop_after=2)
    assert [bool(row["dice"]) for row in rows] == [False, True]
    rows = run(recipe, drawn_records, tmp_path, toy_cache)
    assert [bool(row["dice"]) for row in rows] == [False, True, True]


@pytest.mark.parametrize(
    ("optim", "named"),
    [
        ({"validate_every": 0}, "optim.keep is 'best'"),
        ({"keep": "last", "patience": 3}, "optim.patience"),
        ({"ema_ramp": 1.0}, "ema_ramp"),
    ],
)
def test_contradictions_are_refused(toy_recipe: MakeRecipe, optim: dict[str, Any], named: str) -> None:
    plain = toy_recipe("mobile-segmenter").to_dict()
    plain["optim"] |= optim
    with pytest.raises(RecipeError, match=named):
        recipe_from_dict(plain)


def test_an_average_never_covers_more_than_its_run() -> None:
    for ramp in (2.0, 5.0, 10.0):
        average = WeightAverage(nn.Linear(1, 1), 0.998, ramp)
        for steps in (3, 30, 300, 30_000):
            covered = int(average.describe(steps).rsplit(" ", 1)[1])
            assert 1 <= covered <= min(steps, 500)
    short, long = (int(WeightAverage(nn.Linear(1, 1), 0.998, r).describe(300).rsplit(" ", 1)[1]) for r in (10, 4))
    assert (short, long) == (34, 101)


def test_a_ramped_average_of_a_ramp_lies_within_its_cover() -> None:
    layer = nn.Linear(1, 1, bias=False)
    average = WeightAverage(layer, 0.998, 5.0)
    for step in range(300):
        nn.init.constant_(layer.weight, float(step))
        average.update(layer)
    mean_age = 299 - float(average.weights["weight"])
    assert 40 < mean_age < 80  # 300 / 4 steps, a fifth less as young averages forget faster


def test_a_picture_left_over_joins_the_batch_before(
    toy_recipe: MakeRecipe, drawn_records: list[Record], toy_cache: Path, tmp_path: Path
) -> None:
    recipe = toy_recipe("resnet34-binary", size=32, epochs=1, batch_size=4)
    records = [record for record in drawn_records if record.split == "train"][:9]
    train(recipe, records, [], tmp_path, cache=toy_cache)
    assert load_checkpoint(tmp_path / "best.pt").epoch == 1


def test_partly_known_pictures_are_not_melanoma_and_nothing_more() -> None:
    loss = PartlyKnown(FocalLoss(0.0), melanoma=1)
    logits = torch.tensor([[0.3, 2.0, -1.0], [1.0, 0.5, 0.0]])
    stated = loss(logits, torch.tensor([0, 2]))
    assert stated == FocalLoss(0.0)(logits, torch.tensor([0, 2]))
    mixed = loss(logits, torch.tensor([-1, 2]))
    expected = -torch.log(1 - logits[0].softmax(0)[1]) - torch.log_softmax(logits[1], 0)[2]
    assert mixed == pytest.approx(float(expected) / 2, abs=1e-6)
    moved = logits[:1].clone().requires_grad_()
    loss(moved, torch.tensor([-1])).backward()
    assert moved.grad is not None
    assert moved.grad[0, 1] > 0 and (moved.grad[0, [0, 2]] < 0).all()


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite2"])
def test_lite_starts_from_zeros_with_pretrained_features(name: str, toy_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = dataclasses.replace(toy_recipe("mobile-classifier", size=32), model=ModelConfig(name))
    model = build_model(recipe).eval()
    assert not model(torch.randn(2, 3, 32, 32)).any()
    without_head = {key: value for key, value in model.state_dict().items() if not key.startswith("classifier")}
    torch.save(without_head, tmp_path / "weights.pth")
    report = init_weights(model, tmp_path / "weights.pth")
    assert report.fresh == ("classifier.weight", "classifier.bias") and not report.unused


def test_lite_as_an_encoder_takes_the_same_weights(toy_recipe: MakeRecipe, tmp_path: Path) -> None:
    classifier = build_model(
        dataclasses.replace(toy_recipe("mobile-classifier"), model=ModelConfig("efficientnet_lite0"))
    )
    torch.save(classifier.state_dict(), tmp_path / "weights.pth")
    recipe = dataclasses.replace(toy_recipe("mobile-segmenter"), model=ModelConfig("unet_efficientnet_lite0"))
    segmenter = build_model(recipe)
    report = init_weights(segmenter, tmp_path / "weights.pth")
    assert not [name for name in report.fresh if name.startswith("encoder")]
    assert segmenter.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 1, 64, 64)


def styled(make: MakeRecipe, name: str = "mobile-segmenter", **augment: Any) -> Recipe:
    recipe = make(name, epochs=2)
    data = dataclasses.replace(recipe.data, styles=("ham10000", "msk-uda"))
    return dataclasses.replace(recipe, data=data, augment=AugmentConfig(**augment))


@pytest.mark.parametrize("name", ["mobile-segmenter", "reference-segmenter"])
def test_the_first_style_is_the_plain_network(toy_recipe: MakeRecipe, name: str) -> None:
    recipe = styled(toy_recipe, name)
    torch.manual_seed(0)
    model = build_model(recipe).eval()
    norms = [module for module in model.modules() if isinstance(module, StyledNorm)]
    assert len(norms) == 2
    for norm in norms:
        nn.init.normal_(norm.offset)
    picture = torch.randn(2, 3, 64, 64)
    plain = build_model(dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, styles=()))).eval()
    own = {key: value for key, value in model.state_dict().items() if not key.endswith(".offset")}
    plain.load_state_dict(own)
    assert torch.equal(model(picture), plain(picture))
    both = model(picture, torch.tensor([0, 1]))
    assert torch.equal(both[0], plain(picture)[0]) and not torch.allclose(both[1], plain(picture)[1])
    with in_styles(model, torch.tensor([1, 1])):
        assert torch.equal(model(picture)[1], both[1])
    assert torch.equal(model(picture), plain(picture))


@pytest.mark.parametrize("name", ["mobile-segmenter", "reference-segmenter"])
def test_what_is_served_has_the_first_style_alone(toy_recipe: MakeRecipe, name: str) -> None:
    recipe = styled(toy_recipe, name)
    torch.manual_seed(0)
    model = build_model(recipe).eval()
    for module in model.modules():
        if isinstance(module, StyledNorm):
            nn.init.normal_(module.offset)
            nn.init.normal_(module.running_mean)
    picture = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    expected = torch.sigmoid(model(normalize(to_float(picture), recipe.normalization)))[:, 0]
    serving = ServingSegmenter(model, recipe.normalization)
    assert not [name for name in serving.state_dict() if name.endswith("offset")]
    torch.testing.assert_close(serving(picture), expected, atol=1e-5, rtol=1e-4)


def test_styles_are_learnt_from_the_source_of_the_mask(
    toy_recipe: MakeRecipe, drawn_records: list[Record], toy_cache: Path, tmp_path: Path
) -> None:
    recipe = styled(toy_recipe)
    records = [
        dataclasses.replace(record, source=("ham10000", "msk-uda", "bcn")[number % 3])
        for number, record in enumerate(drawn_records)
    ]
    data = training_data(recipe, records, toy_cache)
    assert data.styles is not None
    assert data.styles.tolist() == [(0, 1, 0)[number % 3] for number in range(len(records))]
    train(recipe, records, records[:4], tmp_path, cache=toy_cache)
    offsets = [
        value for name, value in load_checkpoint(tmp_path / "best.pt").model.state_dict().items() if "offset" in name
    ]
    assert all(value.shape[0] == 1 and value.abs().max() > 0 for value in offsets)


def test_sources_are_drawn_as_their_chances_say(
    toy_recipe: MakeRecipe, drawn_records: list[Record], toy_cache: Path
) -> None:
    recipe = toy_recipe("mobile-segmenter")
    data = dataclasses.replace(recipe.data, sampling="sources", epoch_pictures=4000, source_power=0.0)
    recipe = dataclasses.replace(recipe, data=data, normalization=Normalization())
    records = [
        dataclasses.replace(record, source="a" if number < 5 else "b") for number, record in enumerate(drawn_records)
    ]
    torch.manual_seed(0)
    order = sampling_order(recipe, training_data(recipe, records, toy_cache))
    assert len(order) == 4000
    assert np.mean(order < 5) == pytest.approx(0.5, abs=0.03)
