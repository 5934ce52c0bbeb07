"""Data of many sources: what is read, what is refused, and what may teach what."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edge_infer.rules import RoiRule
from tests.support.many_sources import COLUMNS, draw_extra, read_rows, write_rows
from tests.support.toy_bundle import write_toy_bundle
from trainer.bundle.recipe import BUNDLE_FOLDER
from trainer.cli import bundle as bundle_commands
from trainer.cli.app import app
from trainer.data.cache import cache_crops
from trainer.data.duplicates import look, near_duplicates
from trainer.data.ham10000 import SOURCE, UNKNOWN_LABEL, Record, read_ham10000, read_image
from trainer.data.sampling import source_chances
from trainer.data.sources import read_sources, taught
from trainer.data.splits import cross_fit, lesion_folds, named_split, standard_split
from trainer.errors import DataError, TrainerError
from trainer.recipe import DataConfig, Recipe, SourceConfig, recipe_from_dict
from trainer.scoring.ledger import LEDGER, readings
from trainer.training.outliners import open_outliner

MakeRecipe = Callable[..., Recipe]


@pytest.fixture(scope="module")
def extra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only."""
    return draw_extra(tmp_path_factory.mktemp("extra"))


@pytest.fixture
def copy(extra: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(extra, tmp_path / "copy"))


def test_sources_masks_and_unstated_diagnoses_are_read(drawn_folder: Path, extra: Path) -> None:
    records = read_sources([drawn_folder, extra])
    by_source = {name: [r for r in records if r.source == name] for name in (SOURCE, "clinic", "archive", "unnamed")}
    assert sum(map(len, by_source.values())) == len(records) and all(by_source.values())
    assert all((record.mask_path is None) == (record.source == "archive") for record in records)
    assert all(record.label == UNKNOWN_LABEL for record in by_source["unnamed"])
    first = next(record for record in records if record.image_id == "ISIC_8000000")
    assert (first.age, first.sex, first.localization) == (None, "", "")
    assert read_image(first.image_path).shape == (96, 128, 3)


def test_splits_stay_by_lesion_and_source(drawn_folder: Path, extra: Path) -> None:
    records = read_sources([drawn_folder, extra])
    parts = standard_split(records)
    assert {record.image_id: name for name, part in parts.items() for record in part} == {
        record.image_id: record.split for record in records
    }
    undrawn = [dataclasses.replace(r, split="" if r.source == SOURCE else r.split) for r in records]
    kept = standard_split(undrawn)
    assert all(record.split in ("", name) for name, part in kept.items() for record in part)
    assert all(any(record.source == SOURCE for record in part) for part in kept.values())


def test_folds_of_one_source_are_those_of_its_labels(drawn_records: list[Record]) -> None:
    from sklearn.model_selection import StratifiedGroupKFold

    labels, lesions = [r.label for r in drawn_records], [r.lesion_id for r in drawn_records]
    splitter = StratifiedGroupKFold(n_splits=3, shuffle=True, random_state=0)
    folds = lesion_folds(drawn_records, 3)
    for number, (_, held) in enumerate(splitter.split(np.zeros(len(labels)), labels, lesions)):
        assert (folds[held] == number).all()


def test_folds_of_train_leave_val_unseen(drawn_folder: Path, extra: Path) -> None:
    records = read_sources([drawn_folder, extra])
    unseen = {record.image_id for record in standard_split(records)["val"]}
    for fold in (1, 2, None):
        parts = cross_fit(records, 2, fold, "train")
        assert not unseen & {record.image_id for part in parts.values() for record in part}
    assert unseen & {record.image_id for record in cross_fit(records, 2, None)["train"]}


def unknown_dx(folder: Path) -> str:
    rows = read_rows(folder)
    rows[3]["dx"] = "melanom"
    write_rows(folder, rows)
    return f"row 5: {rows[3]['image_id']} has the unknown diagnosis 'melanom'"


def lesion_in_two_splits(folder: Path) -> str:
    rows = read_rows(folder)
    twin = next(row for row in rows if row["source"] == rows[0]["source"] and row["split"] != rows[0]["split"])
    twin["lesion_id"] = rows[0]["lesion_id"]
    write_rows(folder, rows)
    return f"lesion {rows[0]['lesion_id']} is in split"


def lesion_in_two_sources(folder: Path) -> str:
    rows = read_rows(folder)
    twin = next(row for row in rows if row["source"] != rows[0]["source"])
    twin["lesion_id"] = rows[0]["lesion_id"]
    write_rows(folder, rows)
    return f"lesion {rows[0]['lesion_id']} is in source"


@pytest.mark.parametrize("damage", [unknown_dx, lesion_in_two_splits, lesion_in_two_sources])
def test_a_contradiction_is_one_error(copy: Path, damage: Callable[[Path], str]) -> None:
    named = damage(copy)
    with pytest.raises(DataError, match=named) as caught:
        read_sources([copy])
    assert caught.value.remedy


def test_a_missing_column_is_named(copy: Path) -> None:
    write_rows(copy, read_rows(copy), tuple(name for name in COLUMNS if name != "sex"))
    with pytest.raises(DataError, match=r"metadata\.csv, row 1: it has no column sex"):
        read_sources([copy])


def test_a_picture_in_two_folders_is_named(drawn_folder: Path, tmp_path: Path) -> None:
    twin = Path(shutil.copytree(drawn_folder, tmp_path / "twin"))
    with pytest.raises(DataError, match="is in 'ham10000'"):
        read_sources([drawn_folder, twin])


def squash_mask(folder: Path) -> str:
    path = next(iter(sorted((folder / "masks").iterdir())))
    assert cv2.imwrite(str(path), np.full((96, 96), 255, np.uint8))
    return path.name


def test_a_mask_of_another_aspect_ratio_stops_training(copy: Path, tmp_path: Path) -> None:
    named = squash_mask(copy)
    records = [record for record in read_ham10000(copy) if record.mask_path is not None]
    with pytest.raises(DataError, match=f"{named} is 96x96.*another aspect ratio"):
        cache_crops(records, 32, RoiRule("keep", 0.2), folder=tmp_path / "cache")


def test_check_finds_everything_at_once(copy: Path, drawn_folder: Path, tmp_path: Path) -> None:
    """All seven kinds of fault in one folder, beside one without: a line each with file, row and remedy."""
    table, rows = copy / "metadata.csv", read_rows(copy)
    archive = [i for i, row in enumerate(rows) if row["source"] == "archive"]
    clinic = [i for i, row in enumerate(rows) if row["source"] == "clinic"]
    for i in archive:
        rows[i]["split"] = rows[i]["split"].replace("val", "train")
    rows[clinic[0]]["dx"] = "melanom"
    squashed = copy / "masks" / f"{rows[clinic[1]]['image_id']}_segmentation.png"
    assert cv2.imwrite(str(squashed), np.full((96, 96), 255, np.uint8))
    webp = copy / "images" / f"{rows[archive[1]]['image_id']}.webp"
    webp.write_bytes(webp.read_bytes()[:-40])
    twin = read_ham10000(drawn_folder)[2]
    renamed = copy / "images" / f"{rows[archive[2]]['image_id']}.webp"
    renamed.rename(renamed.with_stem(twin.image_id))
    rows[archive[2]]["image_id"] = twin.image_id
    whole = next(i for i in clinic if rows[i]["split"] == "train")
    torn = [i for i in clinic if rows[i]["split"] == "test"][-1]
    rows[torn]["lesion_id"] = rows[whole]["lesion_id"]
    write_rows(copy, rows, tuple(name for name in COLUMNS if name != "sex"))
    recipe = tmp_path / "mine.toml"
    text = (BUNDLE_FOLDER / "open.toml").read_text(encoding="utf-8")
    recipe.write_text(text.replace('["msk-uda"]', '["msk-uda", "clinic", "archive"]'), encoding="utf-8")

    def at(i: int) -> str:
        return f"{table}, row {i + 2}: "

    uncalibrated = (
        f"'open' is calibrated on the `val` part of archive, which has none: {len(archive)} pictures, first at "
    )
    both = f"{twin.image_id} is in 'ham10000' ({drawn_folder / 'metadata.csv'}, row 4) and in 'archive'"
    expected = {
        at(clinic[0]) + f"{rows[clinic[0]]['image_id']} has the unknown diagnosis 'melanom'": "Write one of",
        at(clinic[1]) + f"{squashed} is 96x96, and the picture": "Bring the mask to the picture's framing",
        at(archive[2]) + both: "Leave one of the two folders out",
        f"{recipe}, sources: {uncalibrated}{at(archive[0])[:-2]}": "name the source in training_only",
        f"{recipe}, sources: 'open' learns from msk-uda; the folders hold": "Give its folder too",
        at(torn) + f"lesion {rows[whole]['lesion_id']} is in split 'train'": "the same source and split",
        f"{table}, row 1: it has no column sex": "Add column sex",
        at(archive[1]) + f"{webp} cannot be read. The WebP picture is damaged or cut short": "remove its row",
    }
    folders = [str(drawn_folder), str(copy)]
    result = CliRunner().invoke(app, ["data", "check", *folders, "--recipe", str(recipe), "--json"])
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    for line, remedy in expected.items():
        (fault,) = [error for error in found["errors"] if error.startswith(line)]
        assert remedy in fault and "\n" not in fault
    assert len(found["errors"]) == len(expected)
    assert found["sources"][SOURCE] > 0 and found["without_mask"] > 0
    printed = CliRunner().invoke(app, ["data", "check", *folders, "--recipe", str(recipe)])
    assert printed.exit_code == 1
    assert "\n  ".join([f"errors: {len(expected)}", *found["errors"]]) in printed.stdout


def test_near_duplicates_across_sources_are_listed(drawn_folder: Path, copy: Path, tmp_path: Path) -> None:
    original = read_image(read_ham10000(drawn_folder)[0].image_path)
    target = next(record for record in read_ham10000(copy) if record.source == "archive")
    small = cv2.resize(original, (84, 84), interpolation=cv2.INTER_AREA)
    brighter = np.clip(small.astype(float) * 1.1 + 5, 0, 255).astype(np.uint8)
    assert cv2.imwrite(str(target.image_path), brighter[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 70])
    records = read_sources([drawn_folder, copy])
    pairs = near_duplicates(records, [look(read_image(record.image_path)) for record in records])
    assert [(pair.first.image_id, pair.second.image_id) for pair in pairs] == [
        (read_ham10000(drawn_folder)[0].image_id, target.image_id)
    ]
    page = tmp_path / "new" / "alike.md"
    check = ["data", "check", str(drawn_folder), str(copy)]
    result = CliRunner().invoke(app, [*check, "--duplicates", "--out", str(page)])
    assert result.exit_code == 0, result.output
    pair, text = pairs[0], page.read_text(encoding="utf-8")
    row = [pair.first.image_id, SOURCE, pair.first.split, target.image_id, "archive", target.split]
    assert f"| {' | '.join([*row, f'{pair.correlation:.3f}'])} |\n" in text
    assert "Pairs: 1." in text and str(tmp_path) not in text and str(drawn_folder) not in text
    assert f"{target.image_id} (archive, {target.split}): {pair.correlation:.3f}" in result.stdout
    refused = CliRunner().invoke(app, [*check, "--out", str(page)]).exception
    assert isinstance(refused, TrainerError) and "--duplicates" in refused.remedy


def test_recipes_choose_sources(drawn_folder: Path, extra: Path, toy_recipe: MakeRecipe) -> None:
    records = read_sources([drawn_folder, extra])
    segmenter, classifier = toy_recipe("mobile-segmenter"), toy_recipe("mobile-classifier")
    assert {record.source for record in taught(segmenter, records)} == {SOURCE, "clinic", "unnamed"}
    assert len(taught(classifier, records)) == len(records)

    def choose(recipe: Recipe, **sources: SourceConfig) -> set[str]:
        chosen = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, sources=sources))
        return {record.source for record in taught(chosen, records)}

    named = {"ham10000": SourceConfig(), "clinic": SourceConfig("masks"), "archive": SourceConfig("classes")}
    assert choose(segmenter, **named) == {SOURCE, "clinic"}
    assert choose(classifier, **named) == {SOURCE, "archive"}
    gone = records[0].image_id
    without = dataclasses.replace(classifier, data=dataclasses.replace(classifier.data, without=(gone,)))
    assert {record.image_id for record in records} - {record.image_id for record in taught(without, records)} == {gone}
    with pytest.raises(DataError, match="names the source elsewhere"):
        choose(classifier, elsewhere=SourceConfig())
    with pytest.raises(DataError, match="No picture is left"):
        choose(segmenter, archive=SourceConfig())


def test_a_lesion_on_black_needs_a_mask(drawn_folder: Path, extra: Path, toy_recipe: MakeRecipe) -> None:
    records = read_sources([drawn_folder, extra])
    recipe = toy_recipe("reference-classifier")
    with pytest.raises(DataError, match="no picture of archive has a mask"):
        taught(recipe, records)
    named = {"ham10000": SourceConfig(), "clinic": SourceConfig()}
    recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, sources=named))
    first = next(record for record in records if record.source == "clinic")
    unmasked = [dataclasses.replace(r, mask_path=None) if r is first else r for r in records]
    assert {r.image_id for r in taught(recipe, records)} - {r.image_id for r in taught(recipe, unmasked)} == {
        first.image_id
    }


def test_a_part_may_lack_a_source_that_another_has(drawn_folder: Path, extra: Path, toy_recipe: MakeRecipe) -> None:
    records = read_sources([drawn_folder, extra])
    recipe = toy_recipe("mobile-classifier")
    recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, sources={"archive": SourceConfig()}))
    part = [record for record in records if record.source != "archive"]
    with pytest.raises(DataError, match="names the source archive"):
        taught(recipe, part)
    with pytest.raises(DataError, match="No picture is left"):
        taught(recipe, part, records)


def test_sampling_makes_the_class_independent_of_the_source() -> None:
    nowhere = Path("x")

    def some(source: str, dx: str, count: int) -> list[Record]:
        return [Record(f"{source}{dx}{i}", "l", dx, "", None, "", "", "", nowhere, None, source) for i in range(count)]

    records = some("a", "mel", 10) + some("a", "nv", 790) + some("b", "mel", 60) + some("b", "nv", 100)
    records += some("b", "bcc", 40) + some("c", "", 50)
    chances = source_chances(records, 0.5, {"b": SourceConfig(weight=2.0)})
    assert chances.sum() == pytest.approx(1)
    sources, dx = np.array([r.source for r in records]), np.array([r.dx for r in records])
    share = {name: chances[sources == name].sum() for name in "abc"}
    assert share["b"] / share["a"] == pytest.approx(2 * np.sqrt(200 / 800))
    assert share["c"] / share["a"] == pytest.approx(np.sqrt(50 / 800))
    for name in "ab":
        melanoma = chances[(sources == name) & (dx == "mel")].sum() / share[name]
        assert melanoma == pytest.approx(70 / len(records))
    own = chances[sources == "b"] / share["b"]
    assert own[dx[sources == "b"] == "bcc"].sum() / own[dx[sources == "b"] == "nv"].sum() == pytest.approx(40 / 890)


def test_pictures_without_masks_are_cropped_by_a_segmenter(extra: Path, tmp_path: Path) -> None:
    bundle, cache = write_toy_bundle(tmp_path / "bundle"), tmp_path / "cache"
    records = [record for record in read_ham10000(extra) if record.source != "unnamed"]
    rule = RoiRule("keep", 0.2, "clip")
    with pytest.raises(DataError, match="have no mask to crop by"):
        cache_crops(records, 32, rule, folder=cache)
    arrays = cache_crops(records, 32, rule, outline=partial(open_outliner, str(bundle)), folder=cache)
    assert len(arrays) == len(records)
    kept = list(cache.glob("outlines-*.json"))
    assert len(kept) == 1
    boxes = json.loads(kept[0].read_text())
    assert len(boxes) == sum(record.mask_path is None for record in records)
    nothing = dict.fromkeys(boxes)
    kept[0].write_text(json.dumps(nothing))
    shutil.rmtree(next(path for path in cache.iterdir() if path.is_dir()))
    whole = cache_crops(records, 32, rule, margin=0.5, outline=partial(open_outliner, str(bundle)), folder=cache)
    assert whole.frames is not None
    for row, record in enumerate(records):
        if record.mask_path is None:
            expected = cv2.resize(read_image(record.image_path), (32, 32), interpolation=cv2.INTER_AREA)
            np.testing.assert_array_equal(whole.images[row], expected)
            np.testing.assert_array_equal(whole.frames[row], [0, 0, 1, 1])


def test_recipes_read_the_new_keys(toy_recipe: MakeRecipe) -> None:
    plain = toy_recipe("mobile-classifier").to_dict()
    plain["data"] |= {"sampling": "sources", "sources": {"bcn": {"teaches": "classes", "weight": 0.5}}}
    recipe = recipe_from_dict(plain)
    assert recipe.data.sources == {"bcn": SourceConfig("classes", 0.5)}
    assert DataConfig(size=1, target="mask").sources == {}


def test_development_split_takes_several_sources(drawn_folder: Path, extra: Path) -> None:
    parts = named_split(read_sources([drawn_folder, extra]), "development")
    assert all({record.source for record in part} >= {SOURCE} for part in parts.values())
    assert "test" not in {r.split for name in ("train", "val") for r in parts[name]}


def test_score_gives_a_row_per_source_and_enters_looks_at_test(
    drawn_folder: Path,
    extra: Path,
    toy_recipe: MakeRecipe,
    toy_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from trainer.recipe import save_recipe
    from trainer.training.checkpoint import BEST

    recipe = dataclasses.replace(toy_recipe("mobile-segmenter", epochs=1), data=DataConfig(size=64, target="mask"))
    save_recipe(recipe, tmp_path / "r.toml")
    data = ["--data", str(drawn_folder), "--data", str(extra), "--cache", str(toy_cache)]
    trained = CliRunner().invoke(app, ["train", str(tmp_path / "r.toml"), "--out", str(tmp_path / "run"), *data])
    assert trained.exit_code == 0, trained.output
    file = tmp_path / "scores.csv"
    result = CliRunner().invoke(app, ["score", str(tmp_path / "run" / BEST), *data, "--out", str(file)])
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(file.open()))
    assert {row["source"] for row in rows} == {SOURCE, "clinic", "unnamed"}
    assert all(f"| {name} |" in result.stdout for name in (SOURCE, "clinic", "unnamed", "macro"))
    twice = ["score", *[str(tmp_path / "run" / BEST)] * 2, *data]
    page = tmp_path / "scores.md"
    assert CliRunner().invoke(app, [*twice, "--out", str(page)]).exit_code == 0
    assert page.read_text(encoding="utf-8").count("| macro |") == 2
    refused = CliRunner().invoke(app, [*twice, "--out", str(file)]).exception
    assert isinstance(refused, TrainerError) and "a .csv file for a single network" in str(refused)

    monkeypatch.setattr(bundle_commands, "RESULTS", tmp_path)
    assert CliRunner().invoke(app, twice).exit_code == 0 and not readings(tmp_path / LEDGER)
    assert CliRunner().invoke(app, [*twice, "--part", "test+val", "--reason", "asked"]).exit_code == 0
    (line,) = readings(tmp_path / LEDGER)
    test = [r for r in standard_split(read_sources([drawn_folder, extra]))["test"] if r.mask_path]
    assert sum(line.pictures.values()) == len(test) and line.reason == "asked"
