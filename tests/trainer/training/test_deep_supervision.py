"""Deep supervision: every level of U-Net++'s decoder is taught, and the finest alone answers in use."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_infer.bundle.manifest import OutputSpec, Stage
from edge_infer.rules import InputSpec
from trainer.bundle.onnx import export_onnx
from trainer.data.ham10000 import Record
from trainer.data.splits import standard_split
from trainer.models import create
from trainer.models.serving import ServingSegmenter
from trainer.papers.plans import plans
from trainer.papers.queue import entries
from trainer.recipe import AugmentConfig, Normalization, Recipe, load_recipe
from trainer.training.checkpoint import build_model, load_checkpoint, read_file
from trainer.training.distill import Hints, soft_loss
from trainer.training.loop import train, validate
from trainer.training.losses import BceDiceLoss
from trainer.training.tasks import Batch, Objective, serving_data

ROW = "unetplusplus-deep-supervision"
HEADS = {f"coarser_heads.{level}.{leaf}" for level in range(3) for leaf in ("weight", "bias")}


def network(deep_supervision: bool, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return create("unetplusplus", width=8, deep_supervision=deep_supervision, **options)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours.keys() & theirs.keys())


def batch_of(size: int) -> Batch:
    generator = torch.Generator().manual_seed(1)
    masks = (torch.rand(3, 1, size, size, generator=generator) > 0.6).float()
    return Batch(torch.randn(3, 3, size, size, generator=generator), masks, None, None)


def test_it_adds_a_head_a_coarser_level_and_no_other_weight() -> None:
    torch.manual_seed(0)
    plain, supervised = create("unetplusplus", width=8), network(True)
    assert list(plain.state_dict()) == list(network(False).state_dict())
    assert {name.partition(".")[0] for name in plain.state_dict()} == {
        "encoder", "rise", "neighbour", "decoder", "head",
    }  # fmt: skip
    assert supervised.state_dict().keys() - plain.state_dict().keys() == HEADS
    assert same_weights(plain, supervised), "one seed begins both alike"
    channels = [head.in_channels for head in supervised.coarser_heads]  # type: ignore[union-attr]
    assert channels == [16, 32, 64]


@pytest.mark.parametrize("styles", [1, 2])
def test_all_levels_answer_in_training_and_the_finest_alone_in_use(styles: int) -> None:
    plain, supervised = network(False, styles=styles).train(), network(True, styles=styles).train()
    images = torch.randn(2, 3, 32, 48)
    inputs = (images,) if styles == 1 else (images, torch.tensor([1, 0]))
    decoded: list[Tensor] = []
    for block in supervised.decoder:  # type: ignore[union-attr]
        block.register_forward_hook(lambda module, inputs, output: decoded.insert(0, output))
    taught = supervised(*inputs)
    assert taught.shape == (2, 4, 32, 48)
    assert torch.equal(taught[:, :1], plain(*inputs))
    for level, head in enumerate(supervised.coarser_heads, start=1):  # type: ignore[arg-type]
        logits = head(decoded[level])
        assert logits.shape == (2, 1, 32 // 2**level, 48 // 2**level)
        enlarged = F.interpolate(logits, (32, 48), mode="bilinear", align_corners=False)
        torch.testing.assert_close(taught[:, level : level + 1], enlarged)

    assert same_weights(plain, supervised), "the statistics of batch norms too"
    with torch.inference_mode():
        answer, expected = supervised.eval()(*inputs), plain.eval()(*inputs)
    assert answer.shape == (2, 1, 32, 48) and torch.equal(answer, expected)


def test_the_loss_is_the_mean_over_levels_and_teaches_each() -> None:
    recipe, batch = load_recipe("unetplusplus"), batch_of(32)
    objective = Objective(recipe)
    supervised = network(True).train()
    logits = supervised(batch.images)
    loss = objective(logits, batch)
    levels = [float(BceDiceLoss()(logits.detach()[:, level : level + 1], batch.masks)) for level in range(4)]
    assert max(levels) - min(levels) > 0.01
    assert float(loss.detach()) == pytest.approx(sum(levels) / 4)
    loss.backward()
    for name, parameter in supervised.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name

    one = logits.detach()[:, :1].requires_grad_()
    alone = objective(one, batch)
    assert torch.equal(alone, BceDiceLoss()(one, batch.masks))
    [ours] = torch.autograd.grad(alone, one)
    [theirs] = torch.autograd.grad(BceDiceLoss()(one, batch.masks), one)
    assert torch.equal(ours, theirs), "of one level nothing changes, to the last bit"


def test_teachers_teach_the_level_that_answers() -> None:
    logits = torch.randn(2, 4, 8, 8, requires_grad=True)
    hints = Hints(torch.rand(2, 1, 8, 8), None)
    loss = soft_loss("segmentation", logits, hints, 1.0)
    assert torch.equal(loss, soft_loss("segmentation", logits[:, :1], hints, 1.0))
    [gradient] = torch.autograd.grad(loss, logits)
    assert gradient[:, 0].abs().max() > 0 and not gradient[:, 1:].any()


def test_it_trains_and_its_checkpoint_answers_as_a_plain_network(
    toy_recipe: Callable[..., Recipe], drawn_records: list[Record], toy_cache: Path, tmp_path: Path
) -> None:
    def narrow(**options: object) -> Recipe:
        recipe = toy_recipe("unetplusplus", size=32, epochs=4, learning_rate=5e-3)
        model = dataclasses.replace(recipe.model, options={"width": 4, **options})
        return dataclasses.replace(recipe, model=model, augment=AugmentConfig())

    recipe, parts = narrow(deep_supervision=True), standard_split(drawn_records)
    train(recipe, parts["train"], parts["val"], tmp_path, cache=toy_cache)
    stored = read_file(tmp_path / "last.pt")
    losses = [row["train_loss"] for row in stored["history"]]
    assert losses[-1] < 0.95 * losses[0]
    torch.manual_seed(recipe.seed)
    begun = build_model(recipe).state_dict()
    assert all(not torch.equal(stored["model"][name], begun[name]) for name in HEADS)

    trained = load_checkpoint(tmp_path / "last.pt").model
    plain = build_model(narrow()).eval()
    plain.load_state_dict({name: value for name, value in trained.state_dict().items() if name not in HEADS})
    val = serving_data(recipe, parts["val"], toy_cache)
    measured = validate(narrow(), plain, val)
    assert measured == validate(recipe, trained, val)
    assert measured["val_loss"] == pytest.approx(stored["metrics"]["val_loss"], rel=1e-3)


def test_its_onnx_file_is_that_of_a_plain_network(tmp_path: Path) -> None:
    path, files = tmp_path / "toy.onnx", []
    stage = Stage("toy", 1, InputSpec("picture", 32, 32), OutputSpec("map", "probability_map"), {"onnx": path.name})
    for deep_supervision in (False, True):
        export_onnx(ServingSegmenter(network(deep_supervision), Normalization()), stage, path)
        files.append(path.read_bytes())
    assert files[0] == files[1]


def test_it_is_a_row_that_differs_in_nothing_else() -> None:
    plain, supervised = plans("segmenters", only=["unetplusplus", ROW])
    assert (supervised.name, supervised.system) == (ROW, plain.system)
    assert supervised.recipe.model.options == {**plain.recipe.model.options, "deep_supervision": True}
    back = dataclasses.replace(supervised.recipe, name=plain.name, model=plain.recipe.model)
    assert json.dumps(back.to_dict()) == json.dumps(plain.recipe.to_dict())
    [entry] = entries([ROW])
    [other] = entries(["unetplusplus"])
    assert entry.table == "segmenters" and entry.gflops == other.gflops
