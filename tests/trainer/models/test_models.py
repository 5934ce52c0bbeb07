"""Every system of the recipes: the right output, and steps that lower its loss."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from trainer.data.ham10000 import Record
from trainer.errors import ModelError
from trainer.models import create, entries
from trainer.models.complexity import measure, measure_module
from trainer.recipe import AugmentConfig, Recipe, load_recipe, recipe_names
from trainer.training.checkpoint import build_model, class_names
from trainer.training.loop import training_batch
from trainer.training.tasks import Objective, split_outputs, training_data

SHIPPED = [name for name in recipe_names() if not re.match("mobile-(seg|class)", name)]  # those two: test_training.py
SIZES = {"inception-v3": 80}  # five reductions without padding need more than 64 pixels
HEAVY = ("clnet-", "resnet", "unet-", "xception", "efficientnet-b3", "densenet")


def shrink(name: str) -> Recipe:
    """The recipe at toy size; hand-written networks also get narrow."""
    recipe = load_recipe(name)
    size = SIZES.get(name, 32 if name.startswith(HEAVY) else 64)
    narrow: dict[str, dict[str, object]] = {
        "unetplusplus": {"width": 8},
        "unet": {"width_divisor": 8},
        "resunet": {"widths": [16, 32, 64, 128]},
    }
    options = recipe.model.options | narrow.get(recipe.model.name, {})
    return dataclasses.replace(
        recipe,
        model=dataclasses.replace(recipe.model, options=options),
        data=dataclasses.replace(recipe.data, size=size, cache_size=None, cache_margin=None),
        augment=AugmentConfig(),
        optim=dataclasses.replace(recipe.optim, precision="float32"),
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_steps_lower_the_loss(name: str, drawn_records: list[Record], toy_cache: Path) -> None:
    recipe = shrink(name)
    torch.manual_seed(0)
    data = training_data(recipe, drawn_records, toy_cache)
    batch = training_batch(recipe, data, torch.arange(0, 24, 6).numpy(), recipe.data.size, "cpu")
    model = build_model(recipe).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.eval()  # four pictures are too few for losses under dropout to be compared
    objective = Objective(recipe)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(6):
        loss = objective(model(*batch.inputs()), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert min(losses[1:]) < 0.98 * losses[0]

    model.eval()
    with torch.inference_mode():
        outputs = model(*batch.inputs())
    mask_logits, class_logits = split_outputs(recipe.task, outputs)
    assert (mask_logits is None) == (recipe.task == "classification")
    assert (class_logits is None) == (recipe.task == "segmentation")
    if mask_logits is not None:
        assert mask_logits.shape == (4, 1, recipe.data.size, recipe.data.size)
        assert torch.isfinite(mask_logits).all()
    if class_logits is not None:
        assert class_logits.shape == (4, len(class_names(recipe)))
        assert torch.isfinite(class_logits).all()


def test_every_network_has_a_recipe() -> None:
    named = {load_recipe(name).model.name for name in recipe_names()}
    assert {item.name for item in entries()} - named <= {"unetplusplus_mobilenet_v2", "clnet_classifier"}


def test_unknown_names_and_options_are_refused() -> None:
    with pytest.raises(ModelError, match="Did you mean 'unetplusplus'"):
        create("unetplusplu")
    with pytest.raises(ModelError, match="widht"):
        create("unetplusplus", widht=8)


@pytest.mark.parametrize(("divisor", "millions"), [(1, 31.0), (2, 7.77), (4, 1.94)])
def test_unet_has_the_papers_parameters(divisor: int, millions: float) -> None:
    with torch.device("meta"):
        model = create("unet", width_divisor=divisor)
    assert sum(value.numel() for value in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)


def test_unet_bottleneck_and_nested_inputs_of_unetplusplus() -> None:
    model = create("unetplusplus", width=8)
    shapes: list[torch.Size] = []
    model.encoder[-1].register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))  # type: ignore
    with torch.inference_mode():
        model(torch.zeros(1, 3, 256, 256))
    assert shapes == [(1, 128, 16, 16)]
    assert [block[0].in_channels for block in model.decoder] == [24, 48, 96, 128]  # type: ignore[union-attr]


def test_grey_unet_sees_only_luma() -> None:
    torch.manual_seed(0)
    model = create("unet", width_divisor=8, channels=1).eval()
    image = torch.rand(1, 3, 32, 32)
    grey = (image * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True).expand(-1, 3, -1, -1)
    with torch.inference_mode():
        torch.testing.assert_close(model(image), model(grey.contiguous()), atol=1e-5, rtol=1e-4)


def test_binary_head_is_a_sigmoid() -> None:
    torch.manual_seed(0)
    model = create("resnet34", classes=2).eval()
    with torch.inference_mode():
        logits = model(torch.rand(2, 3, 64, 64))
    assert torch.equal(logits[:, 0], torch.zeros(2))
    torch.testing.assert_close(torch.softmax(logits, 1)[:, 1], torch.sigmoid(logits[:, 1]))


def test_complexity_by_hand() -> None:
    found = measure_module(torch.nn.Conv2d(3, 8, 3, padding=1), 10)
    assert found.parameters == 8 * 3 * 9 + 8
    assert found.gflops == pytest.approx(2 * 8 * 3 * 9 * 100 / 1e9)
    mobile = next(item for item in entries() if item.name == "mobilenet_v2")
    assert measure(mobile).gflops == pytest.approx(0.6, rel=0.02)  # 300 M multiply-adds in the paper


def test_a_residual_unet_that_would_crash_torch_is_refused() -> None:
    with pytest.raises(ModelError, match="8 channels") as raised:
        create("resunet", widths=(8, 16, 32, 64))
    assert "16" in raised.value.remedy


@pytest.mark.parametrize("name", ["mobilenet_v3_large", "unet_efficientnet_b4_encoder"])
def test_batch_norms_follow_a_short_run(name: str) -> None:
    norms = [module for module in create(name).modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and all(norm.momentum == 0.1 for norm in norms)
