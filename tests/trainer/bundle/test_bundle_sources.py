"""A bundle recipe's sources against the data: each must calibrate the bundle, or be named as one that only trains."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support.many_sources import draw_extra, read_rows, write_rows
from tests.trainer.bundle.test_bundle_recipe import CROSS_FITTED, plain
from trainer import pipeline
from trainer.bundle.recipe import BUNDLE_FOLDER, bundle_recipe_from_dict, load_bundle_recipe
from trainer.bundle.sources import recipe_faults, unfit_sources
from trainer.cli.app import app
from trainer.data.ham10000 import Record
from trainer.data.splits import SPLITS, parts_of_sources, standard_split
from trainer.errors import DataError, RecipeError

NOWHERE = Path("x")


def records(source: str, *splits: str) -> list[Record]:
    """One picture a split."""
    return [
        Record(
            f"{source}{i}", f"{source}{i}", "mel", split, None, "", "", "", NOWHERE, None, source, f"t.csv, row {i + 2}"
        )
        for i, split in enumerate(splits)
    ]


def mobile_data(*isic2020: str) -> list[Record]:
    whole = [record for source in ("ham10000", "msk-uda", "bcn") for record in records(source, *SPLITS)]
    return whole + records("isic2020", *isic2020)


def test_mobile_says_which_source_trains_alone() -> None:
    recipe = load_bundle_recipe("mobile")
    assert recipe.training_only == ("isic2020",)
    assert "training_only" not in recipe.to_dict(), "bundles of before must stay what their recipe says"
    assert recipe.changed(views=2).training_only == ("isic2020",)
    assert unfit_sources(recipe, mobile_data("train")) == []


def test_a_source_without_val_is_refused_unless_it_is_named() -> None:
    (error,) = unfit_sources(replace(load_bundle_recipe("mobile"), training_only=()), mobile_data("train"), "mine.toml")
    assert str(error).startswith("mine.toml, sources: 'mobile' is calibrated on the `val` part of isic2020")
    assert "first at t.csv, row 2" in error.message and "training_only" in error.remedy


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_source_that_is_named_has_nothing_but_train(split: str) -> None:
    (error,) = unfit_sources(load_bundle_recipe("mobile"), mobile_data("train", split), "mine.toml")
    assert f"isic2020 is for training alone, and has pictures in {split}, first at t.csv, row 3" in error.message
    assert error.remedy


def test_every_missing_source_is_named() -> None:
    errors = unfit_sources(load_bundle_recipe("mobile"), records("bcn", *SPLITS))
    assert [
        "learns from " + name in str(error) for error, name in zip(errors, ("ham", "msk-uda", "isic2020"), strict=True)
    ]
    assert all("the folders hold bcn" in error.message and error.remedy for error in errors)


def test_what_folds_leave_out_calibrates_without_val() -> None:
    recipe = bundle_recipe_from_dict(plain(**CROSS_FITTED))
    assert unfit_sources(recipe, records("ham10000", "train", "test")) == []


def test_parts_are_known_without_a_draw(drawn_records: list[Record]) -> None:
    def held(records: list[Record]) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for name, part in standard_split(records).items():
            for record in part:
                found.setdefault(record.source, set()).add(name)
        return found

    many = [replace(record, lesion_id=f"{record.lesion_id}_{i}") for record in drawn_records for i in range(10)]
    undrawn = [replace(record, split="") for record in many]
    without_val = [replace(record, split=record.split.replace("val", "train")) for record in many]
    for given in (many, undrawn, without_val):
        assert parts_of_sources(given) == held(given) == {"ham10000": set(SPLITS)}


def test_a_recipe_that_cannot_be_read_is_a_fault() -> None:
    (error,) = recipe_faults("mobil", [])
    assert isinstance(error, RecipeError) and "mobile" in error.remedy


def test_no_network_is_trained_for_a_bundle_that_could_not_be_calibrated(
    drawn_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = draw_extra(tmp_path / "extra")
    rows = read_rows(extra)
    for row in rows:
        row["split"] = row["split"].replace("val", "train") if row["source"] == "clinic" else row["split"]
        row["source"] = row["source"].replace("archive", "msk-uda")
    write_rows(extra, rows)
    text = (BUNDLE_FOLDER / "open.toml").read_text(encoding="utf-8")
    recipe = tmp_path / "mine.toml"
    recipe.write_text(text.replace('["msk-uda"]', '["msk-uda", "clinic"]'), encoding="utf-8")

    def explode(*_: object, **__: object) -> Any:
        raise AssertionError("trained")

    monkeypatch.setattr(pipeline, "train_network", explode)
    shutil.copytree(drawn_folder, tmp_path / "drawn")
    places = [part for name in ("runs", "out", "results", "cache") for part in (f"--{name}", str(tmp_path / name))]
    data = ["--data", str(extra), "--data", str(tmp_path / "drawn")]
    failed = CliRunner().invoke(app, ["bundle", str(recipe), *data, *places]).exception
    assert isinstance(failed, DataError) and "the `val` part of clinic, which has none" in failed.message
    checked = CliRunner().invoke(app, ["data", "check", str(extra), "--recipe", str(recipe)])
    assert checked.exit_code == 1 and failed.message.partition("sources: ")[2] in checked.stdout
