"""Ensembles: members are trained apart with seeds of their own, and the mean of their logits is a checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

from edge_infer.bundle.manifest import OutputSpec, Stage
from edge_infer.rules import InputSpec
from trainer.bundle.onnx import export_onnx
from trainer.bundle.quantize import find_blocks
from trainer.cli import app as cli
from trainer.data.drawn import draw_picture
from trainer.data.ham10000 import Record
from trainer.data.splits import standard_split
from trainer.errors import CheckpointError, RecipeError
from trainer.models.ensemble import Ensemble
from trainer.models.serving import ServingClassifier
from trainer.recipe import Recipe, recipe_from_dict, save_recipe
from trainer.training.checkpoint import load_checkpoint
from trainer.training.loop import train
from trainer.training.members import join_members, member_runs
from trainer.training.runs import training_hours

SIZE = 32


@pytest.fixture
def recipe(toy_recipe: Callable[..., Recipe]) -> Recipe:
    return dataclasses.replace(toy_recipe("mobile-classifier", size=SIZE, epochs=1), folds=0, members=2)


@pytest.fixture
def trained(recipe: Recipe, drawn_records: list[Record], toy_cache: Path, tmp_path: Path) -> Path:
    parts = standard_split(drawn_records)
    for part, folder in member_runs(recipe, tmp_path / "run"):
        train(part, parts["train"], parts["val"], folder, cache=toy_cache)
    return tmp_path / "run"


def test_the_ensemble_answers_with_the_mean_of_its_members_logits(
    recipe: Recipe, trained: Path, drawn_records: list[Record], toy_cache: Path
) -> None:
    made = join_members(recipe, trained, standard_split(drawn_records)["val"], toy_cache)
    assert made is not None and made.metrics["val_loss"] > 0 and 0 <= made.metrics["auc_melanoma"] <= 1
    joined = load_checkpoint(trained / "best.pt")
    assert joined.recipe == recipe and isinstance(joined.model, Ensemble) and not joined.model.training
    members = [load_checkpoint(trained / f"member-{number}" / "best.pt") for number in (1, 2)]
    assert [member.recipe.seed for member in members] == [recipe.seed, recipe.seed + 1]
    assert joined.held_out == members[0].held_out != ()
    images = torch.randn(3, 3, SIZE, SIZE)
    with torch.inference_mode():
        one, other = (member.model(images) for member in members)
        assert not torch.allclose(one, other)
        torch.testing.assert_close(joined.model(images), (one + other) / 2)
    assert training_hours(trained, recipe) is not None
    (trained / "member-2/history.csv").unlink()
    assert training_hours(trained, recipe) is None, "a part of it is unknown"


def test_members_can_be_trained_apart_and_the_last_one_joins(
    recipe: Recipe, drawn_folder: Path, toy_cache: Path, tmp_path: Path
) -> None:
    file = tmp_path / "toy.toml"
    save_recipe(recipe, file)

    def run(out: Path, *more: str) -> str:
        arguments = ["train", str(file), "--data", str(drawn_folder), "--out", str(out), "--cache", str(toy_cache)]
        result = CliRunner().invoke(cli.app, [*arguments, *more], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    run(tmp_path / "apart", "--member", "2")
    assert not (tmp_path / "apart/best.pt").exists()
    said = run(tmp_path / "apart", "--member", "1")
    assert f"{tmp_path / 'apart/best.pt'}: epoch 1 of 1 (val_loss" in said
    run(tmp_path / "together")
    one, other = (load_checkpoint(tmp_path / name / "best.pt").model.state_dict() for name in ("apart", "together"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_the_mean_of_the_weights_is_one_network(recipe: Recipe, trained: Path) -> None:
    averaged = dataclasses.replace(recipe, joined_by="weights", starts_from="mobile-classifier")
    for number in (1, 2):
        file = trained / f"member-{number}/best.pt"
        content = torch.load(file, weights_only=True)
        content["recipe"]["starts_from"] = "mobile-classifier"
        torch.save(content, file)
    assert join_members(averaged, trained) is not None
    joined = load_checkpoint(trained / "best.pt")
    assert joined.recipe == averaged and not isinstance(joined.model, Ensemble) and not joined.model.training
    one, other = (load_checkpoint(trained / f"member-{number}/best.pt").model.state_dict() for number in (1, 2))
    for key, value in joined.model.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, (one[key] + other[key]) / 2)
        else:
            assert torch.equal(value, one[key])
    assert any(not torch.equal(one[key], other[key]) for key in one if "running_var" in key)


@pytest.mark.parametrize("change", [{"members": 1}, {"starts_from": None}])
def test_a_mean_of_weights_needs_members_of_one_network(recipe: Recipe, change: dict[str, object]) -> None:
    whole = recipe.to_dict() | {"joined_by": "weights", "starts_from": "mobile-classifier"}
    recipe_from_dict(whole)
    with pytest.raises(RecipeError, match="joined_by is 'weights'"):
        recipe_from_dict(whole | change)


@pytest.mark.parametrize("member", [0, 3])
def test_an_unknown_member_is_an_error(recipe: Recipe, member: int) -> None:
    with pytest.raises(RecipeError, match=f"there is no member {member}"):
        member_runs(recipe, Path("run"), member)
    with pytest.raises(RecipeError, match="has no members"):
        member_runs(dataclasses.replace(recipe, members=1), Path("run"), 1)


def test_members_need_a_classifier(recipe: Recipe, toy_recipe: Callable[..., Recipe]) -> None:
    segmenter = toy_recipe("mobile-segmenter")
    with pytest.raises(RecipeError, match="members is 2 for segmentation"):
        recipe_from_dict(segmenter.to_dict() | {"members": 2})
    with pytest.raises(RecipeError, match="members is 0"):
        recipe_from_dict(recipe.to_dict() | {"members": 0})


def test_one_run_cannot_train_a_whole_ensemble(recipe: Recipe, drawn_records: list[Record], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="is an ensemble"):
        train(recipe, drawn_records, [], tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"recipe": 7}, "holds a run of another recipe"), ({"held_out": ["ISIC_0000000"]}, "left out other pictures")],
)
def test_members_that_do_not_belong_together_are_refused(
    recipe: Recipe, trained: Path, change: dict[str, int | Sequence[str]], message: str
) -> None:
    file = trained / "member-2/best.pt"
    content = torch.load(file, weights_only=True)
    if "recipe" in change:
        content["recipe"]["seed"] = change["recipe"]
    else:
        content |= change
    torch.save(content, file)
    with pytest.raises(CheckpointError, match=message):
        join_members(recipe, trained)
    assert not (trained / "best.pt").exists()


def test_an_ensemble_becomes_one_onnx_file(recipe: Recipe, trained: Path, tmp_path: Path) -> None:
    joined = join_members(recipe, trained)
    assert joined is not None and joined.metrics == {}
    graph = ServingClassifier(joined.model, recipe.normalization, temperature=1.3, views=2)
    stage = Stage(
        "ensemble", 1, InputSpec("image", SIZE, SIZE), OutputSpec("probabilities", "class_probabilities"), {"onnx": "x"}
    )
    export_onnx(graph, stage, tmp_path / "x.onnx")
    batch = np.stack([draw_picture(np.random.default_rng(i), SIZE, SIZE, "mel").image for i in range(3)])
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"image": batch})
    with torch.inference_mode():
        np.testing.assert_allclose(found, graph(torch.from_numpy(batch)).numpy(), atol=1e-5)
    blocks = find_blocks(onnx.load(tmp_path / "x.onnx"))
    assert len(blocks) > 30, "the search for float blocks sees the blocks of both members"
