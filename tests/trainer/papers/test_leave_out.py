"""A source that is left out is in no training, and the probe tells sources apart where features do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from tests.support.many_sources import draw_extra
from trainer.cli.app import app
from trainer.data.ham10000 import SOURCE, Record
from trainer.data.sources import read_sources
from trainer.data.splits import standard_split
from trainer.errors import DataError
from trainer.papers.leave_out import leave_out, without_source
from trainer.papers.sources.left_out import to_markdown
from trainer.papers.sources.rows import read_arms, read_scores, stem_of
from trainer.recipe import DataConfig, ModelConfig, Recipe, SourceConfig, save_recipe
from trainer.scoring.probe import source_probe
from trainer.training.checkpoint import BEST, load_checkpoint
from trainer.training.norms import restore_statistics

MakeRecipe = Callable[..., Recipe]


@pytest.fixture(scope="module")
def extra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_extra(tmp_path_factory.mktemp("extra"))


@pytest.fixture
def recipe(toy_recipe: MakeRecipe) -> Recipe:
    small = toy_recipe("mobile-classifier", size=32, epochs=1)
    data = DataConfig(size=32, target="dx")
    return dataclasses.replace(small, model=ModelConfig("simple_cnn", {"width": 4, "hidden": 8}), data=data)


def test_command_trains_without_the_source_and_reports_on_it(
    recipe: Recipe, drawn_folder: Path, extra: Path, tmp_path: Path
) -> None:
    save_recipe(recipe, tmp_path / "r.toml")
    data = ["--data", str(drawn_folder), "--data", str(extra), "--cache", str(tmp_path / "cache")]
    result = CliRunner().invoke(
        app,
        [
            "leave-out",
            "clinic",
            str(tmp_path / "r.toml"),
            *data,
            "--out",
            str(tmp_path / "run"),
            "--results",
            str(tmp_path),
        ],
    )
    assert result.exit_code == 0, result.output
    records = read_sources([drawn_folder, extra])
    learnt = load_checkpoint(tmp_path / "run" / BEST).learnt_lesions
    train = standard_split(records)["train"]
    assert learnt == {record.lesion_id for record in train if record.source != "clinic"}
    (row,) = read_arms(tmp_path)
    assert (row.left_out, row.train_images) == ("clinic", sum(record.source != "clinic" for record in train))
    scored = read_scores(tmp_path / f"{stem_of(row.name, row.seed)}.parquet").records
    unseen = {r.image_id for r in records if r.source == "clinic" and r.split != "test"}
    assert {item.image_id for item in scored if item.source == "clinic"} == unseen
    assert not {item.image_id for item in scored} & {r.image_id for r in records if r.split == "test"}
    assert "| clinic (left out) |" in result.output
    assert (tmp_path / "README.md").read_text("utf-8") == to_markdown(read_arms(tmp_path))
    assert "| clinic | left out |" in to_markdown([row]) and "| macro | mean of these |" in to_markdown([row])

    probed = CliRunner().invoke(app, ["probe", str(tmp_path / "run" / BEST), *data])
    assert probed.exit_code == 0, probed.output
    assert "source recognised: " in probed.output and "by chance 0.250" in probed.output


def test_what_cannot_be_left_out_is_named(recipe: Recipe, drawn_records: list[Record], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'bcn' cannot be left out"):
        leave_out(recipe, "bcn", drawn_records, tmp_path)
    alone = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, sources={SOURCE: SourceConfig()}))
    with pytest.raises(DataError, match="learns from ham10000 alone"):
        without_source(alone, SOURCE)


def test_the_probe_tells_sources_where_features_do(drawn_records: list[Record]) -> None:
    rng = np.random.default_rng(0)
    records = [
        dataclasses.replace(drawn_records[0], image_id=str(i), lesion_id=str(i // 2), source="ab"[i % 4 // 2])
        for i in range(200)
    ]
    noise = rng.normal(size=(200, 8))
    told = noise + 4 * np.array([[record.source == "a"] for record in records])
    assert source_probe(told, records).balanced_accuracy > 0.95
    blind = source_probe(noise, records)
    assert blind.chance == 0.5 and abs(blind.balanced_accuracy - 0.5) < 0.15
    with pytest.raises(DataError, match="1 sources"):
        source_probe(noise, [dataclasses.replace(record, source="a") for record in records])


def test_restored_norms_compute_the_same_and_train_alike() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 1, 1))
    with torch.no_grad():
        model[0].weight *= 7
        model[1].running_var.fill_(1 - model[1].eps)
        model[1].bias.normal_()
    batches = [torch.randn(4, 3, 16, 16) + 2 for _ in range(3)]
    before = model.eval()(batches[0])
    as_it_was = (model.train()(batches[0]) - before).abs().mean()
    model[1].running_mean.zero_()
    model[1].running_var.fill_(1 - model[1].eps)
    assert restore_statistics(model, batches) == 1
    after = model.eval()(batches[0])
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
    trained = (model.train()(batches[0]) - before).abs().mean()
    assert trained < 0.1 * as_it_was
