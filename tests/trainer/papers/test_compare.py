"""Comparisons at toy size on drawn pictures: every table is made, skipped when done, and its figures can be checked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from edge_infer.rules import Metric
from trainer.cli import app as cli
from trainer.data.ham10000 import DX, Record
from trainer.data.splits import named_split, siblings
from trainer.errors import CheckpointError, DataError, RecipeError
from trainer.models import registry
from trainer.papers.against_base import ablation_table
from trainer.papers.job import Job
from trainer.papers.measures import CHOSEN, differences, measure, threshold_on
from trainer.papers.plan import Budget, Plan
from trainer.papers.plans import TABLES, plans
from trainer.papers.render import to_markdown
from trainer.papers.results import to_markdown as results_page
from trainer.papers.rows import Row, read_row, read_rows, write_row
from trainer.papers.run import compare
from trainer.recipe import ModelConfig, Recipe, load_recipe
from trainer.scoring.ledger import LEDGER, readings
from trainer.scoring.masks import Overlaps, pooled_measures
from trainer.scoring.networks import adjust_for_classes
from trainer.scoring.predict import Quality
from trainer.scoring.predictions import Counts, Prediction, read_predictions
from trainer.training.checkpoint import build_model, init_weights
from trainer.training.initial import prepared, weights_for


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compare")


def job(home: Path, data: Path, table: str, **changes: object) -> Job:
    plain = Job(table, data, home / "out", home / "runs", budget=Budget(1, None, None, 32), cache=home / "cache")  # type: ignore[arg-type]
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_every_table_has_rows_that_differ() -> None:
    for table in TABLES:
        found = plans(table)
        assert len({plan.name for plan in found}) == len(found) > 1
        assert len({json.dumps(plan.recipe.to_dict(), sort_keys=True) for plan in found}) == len(found)
        assert all(
            plan.recipe.name == plan.name and not plan.recipe.folds and plan.recipe.members == 1 for plan in found
        )
    whole, keep, zero = (plan.recipe for plan in plans("roi"))
    assert (whole.data.roi, keep.data.roi and keep.data.roi.background) == (None, "keep")
    assert zero.data.roi is not None and zero.data.roi.background == "zero"
    assert replace(keep, name="") == replace(zero, name="", data=keep.data)
    alone, fused = (plan.recipe for plan in plans("metadata"))
    assert replace(alone.data, metadata=True) == fused.data and alone.optim == fused.optim
    with pytest.raises(RecipeError, match="no row 'unett'") as raised:
        plans("segmenters", only=["unett"])
    assert "unet" in raised.value.remedy
    with pytest.raises(RecipeError, match="an ensemble"):
        plans("roi", base="mobile-classifier")


def leaves(value: object, where: str = "") -> dict[str, object]:
    """Every value of nested plain ones by its path."""
    if not isinstance(value, dict):
        return {where: value}
    return {path: leaf for key, item in value.items() for path, leaf in leaves(item, f"{where}/{key}").items()}


TOGETHER = {
    "/augment/brightness", "/augment/contrast", "/augment/saturation", "/augment/hue",  # colour
    "/data/roi/margin", "/data/cache_margin", "/data/cache_size", "/data/roi", "/data/roi/background",
    "/data/roi/outside",  # crop
    "/loss/name", "/loss/label_smoothing",  # focal loss takes none
    "/distill", "/distill/teachers", "/distill/share", "/distill/temperature",
}  # fmt: skip


@pytest.mark.parametrize("base", ["mobile-classifier", "mobile-segmenter", "xception", "unet"])
def test_an_ablation_changes_one_thing(base: str) -> None:
    first, *others = plans("ablations", base=base)
    assert first.name == f"{base}-base" and first.recipe.folds == 0 and not first.recipe.optim.patience
    plain = leaves(first.recipe.to_dict())
    for plan in others:
        row = leaves(plan.recipe.to_dict())
        changed = {key for key in {*plain, *row} - {"/name"} if row.get(key) != plain.get(key)}
        evaluated = (plan.scale, plan.weights_of, plan.predicted_masks) != (1.0, "", False)
        assert (len(changed) <= 1 or changed <= TOGETHER) and bool(changed) != evaluated, (plan.name, changed)
        assert plan.weights_of in ("", first.name)


def test_another_seed_stays_another_at_any_budget() -> None:
    base, other = plans("ablations", only=["mobile-classifier-base", "mobile-classifier-another-seed"])
    for budget in (Budget(), Budget(seed=0), Budget(seed=7)):
        assert budget.fit(base).recipe.seed != budget.fit(other).recipe.seed


def test_an_ablation_needs_a_recipe_that_it_can_change() -> None:
    for base in ("resnet50-binary", "clnet-melanoma", "metadata-fusion", "mobile-segmenter-skin"):
        with pytest.raises(RecipeError, match="has no ablations"):
            plans("ablations", base=base)


def test_budget_scales_all_sizes_together() -> None:
    recipe = load_recipe("densenet121")
    small = Budget(epochs=2, size=112, seed=5).fit_recipe(recipe)
    assert (small.data.size, small.data.cache_size, small.optim.epochs, small.seed) == (112, 144, 2, 5)
    assert Budget().fit_recipe(recipe) == recipe
    phased = Budget(size=128).fit_recipe(load_recipe("mobile-segmenter"))
    assert (phased.data.size, phased.data.small_size) == (128, 96)
    with pytest.raises(RecipeError, match="unet cannot take 100"):
        Budget(size=100).fit_recipe(load_recipe("unet"))


def test_segmenters_end_to_end(home: Path, drawn_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lighten(monkeypatch)
    asked = job(home, drawn_folder, "segmenters", only=("unetplusplus",))
    page = compare(asked, say=lambda text: None)
    rows = {row.name: row for row in read_rows(page.parent)}
    assert set(rows) == {"unetplusplus", "random-mask", "constant-negative-mask", "ellipse-mask"}
    row = rows["unetplusplus"]
    assert row.system == "S1" and row.figures.clean and row.figures.raw and row.figures.classification is None
    assert row.compute and row.compute.low_budget and row.compute.epochs == 1
    assert "**low budget**" in page.read_text(encoding="utf-8")
    empty = rows["constant-negative-mask"].figures.clean
    assert empty and empty.per_picture["dice"].value == 0
    follows(page.parent, rows.values())

    read = readings(asked.out.parent / LEDGER)
    assert {line.what for line in read} == {f"segmenters/{name}" for name in rows}
    assert all(sum(line.pictures.values()) == row.figures.images for line in read)

    spoken: list[str] = []
    assert compare(asked, say=spoken.append) == page
    assert readings(asked.out.parent / LEDGER) == read
    assert spoken == ["unetplusplus: done before"], "a finished row is neither trained nor evaluated again"
    before = (page.parent / "unetplusplus.json").read_bytes()
    compare(replace(asked, budget=replace(asked.budget, seed=1)), say=lambda text: None)
    assert read_row(page.parent / "unetplusplus.json").seed == 1
    assert (page.parent / "unetplusplus.json").read_bytes() != before


def test_classifiers_on_true_and_predicted_crops(
    home: Path, drawn_folder: Path, monkeypatch: pytest.MonkeyPatch, toy_bundle: Path
) -> None:
    lighten(monkeypatch)
    asked = job(home, drawn_folder, "classifiers", only=("simple-cnn", "resnet34-binary"), segmenter=str(toy_bundle))
    page = compare(asked, say=lambda text: None)
    rows = {(row.name, row.view): row for row in read_rows(page.parent)}
    for name in ("simple-cnn", "resnet34-binary"):
        for view in ("truth", "predicted"):
            assert (name, view) in rows
    seven, binary = rows["simple-cnn", "truth"], rows["resnet34-binary", "predicted"]
    assert seven.figures.classification and binary.figures.classification
    assert set(seven.figures.classification.per_class) == set(DX) and seven.labels == DX
    assert binary.figures.classification.per_class == {} and binary.labels == ("other", "mel")
    assert binary.figures.clean is None, "the masks are the bundle's, not the classifier's"
    assert binary.roi_from == "bundle toy" and seven.roi_from == ""
    never = rows["constant-negative-melanoma", "whole"].figures.classification
    assert never and never.ranking["auc"].value == 0.5
    decided = never.decisions["0.5"]
    assert (decided["sensitivity"].value, decided["specificity"].value) == (0, 1)
    follows(page.parent, rows.values())
    text = results_page(home / "out")
    assert "simple-cnn (predicted crop)" in text and "Without any row yet" in text and "S9 (" in text


@pytest.mark.parametrize("table", ["roi", "metadata", "branches"])
def test_variants_end_to_end(table: str, home: Path, drawn_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lighten(monkeypatch)
    page = compare(job(home, drawn_folder, table), say=lambda text: None)
    rows = read_rows(page.parent)
    assert {plan.name for plan in plans(table)} <= {row.name for row in rows}  # type: ignore[arg-type]
    follows(page.parent, rows)
    joint = [row for row in rows if row.name == "clnet-melanoma"]
    assert all(row.figures.clean and row.figures.classification for row in joint)
    assert bool(joint) == (table == "branches")


def test_ablations_end_to_end(
    home: Path, drawn_folder: Path, monkeypatch: pytest.MonkeyPatch, toy_bundle: Path
) -> None:
    lighten(monkeypatch)
    only = tuple(f"mobile-classifier-{name}" for name in ("base", "whole", "smaller", "post-hoc", "two-views"))
    only += ("mobile-classifier-predicted-masks", "mobile-classifier-distilled")
    asked = job(
        home, drawn_folder, "ablations", only=only, split="development", segmenter=str(toy_bundle), runs=home / "abl"
    )
    with pytest.raises(DataError, match="predicted outlines, and there is no segmenter"):
        compare(replace(asked, segmenter=None), say=lambda text: None)
    with pytest.raises(DataError, match="learns from mobile-classifier-larger, which is not trained"):
        compare(asked, say=lambda text: None)
    teachers = ("mobile-classifier-larger", "mobile-classifier-another-seed")
    compare(replace(asked, only=teachers), say=lambda text: None)
    page = compare(asked, say=lambda text: None)
    rows = {(row.name.removeprefix("mobile-classifier-"), row.view): row for row in read_rows(page.parent)}
    follows(page.parent, rows.values())
    base, smaller = rows["base", "truth"], rows["smaller", "truth"]
    assert "best epoch" not in page.read_text() and "keep their last epoch" in page.read_text()
    assert base.compute and smaller.compute and (base.compute.size, smaller.compute.size) == (32, 24)
    assert not [row for row in rows if row[1] == "predicted" and row[0] not in ("base", "predicted-masks")]
    trained = [run for run in (home / "abl").iterdir() if run.name != "masks"]
    assert len(trained) == 7, "post-hoc adjustment and views are answers of the base's network"
    distilled = rows["distilled", "truth"].recipe
    assert distilled and distilled["distill"]["teachers"] == list(teachers), "rows name rows, not this machine's files"
    assert any((home / "abl" / "masks").rglob("*.png"))
    assert rows["predicted-masks", "truth"].segmenter and not rows["whole", "whole"].segmenter
    text = page.read_text()
    assert "Differences to the base" in text and "Base: **low budget**" in text and "learnt from some of these" in text
    section = text[: text.index("## Rows")]
    for name in ("whole", "smaller", "post-hoc", "two-views", "predicted-masks (predicted crop)"):
        assert f"| mobile-classifier-{name}" in section
    shown = results_page(home / "out")
    assert section.splitlines()[-3] in shown and "mobile-classifier-whole | whole" not in shown.split("## Ablations")[0]


def test_ablations_keep_the_last_epoch_whatever_val_says(
    home: Path, drawn_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.training import loop

    lighten(monkeypatch)
    monkeypatch.setattr(loop, "is_better", lambda row, best, metric: not best)  # the first epoch stays the best
    only = ("mobile-classifier-base",)
    asked = job(home, drawn_folder, "ablations", only=only, split="development", out=home / "last", runs=home / "last")
    asked = replace(asked, budget=Budget(2, None, None, 32))
    said: list[str] = []
    page = compare(asked, say=said.append)
    [row] = [row for row in read_rows(page.parent) if row.compute]
    assert row.compute and row.compute.best_epoch == row.compute.epochs == 2
    compare(asked, say=said.append)
    assert said[-1] == "mobile-classifier-base: done before"
    early = replace(row, compute=replace(row.compute, best_epoch=1))
    write_row(early, page.parent)
    compare(asked, say=said.append)
    assert read_row(page.parent / "mobile-classifier-base-truth-roi.json") != early, (
        "a row of another epoch is made again"
    )


def test_a_row_stays_done_when_recipes_get_new_keys(
    home: Path, drawn_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lighten(monkeypatch)
    asked = job(home, drawn_folder, "roi", only=("resnet50-binary-whole",), out=home / "keys")
    said: list[str] = []
    page = compare(asked, say=said.append)
    path = page.parent / "resnet50-binary-whole.json"
    plain = json.loads(path.read_text())
    del plain["recipe"]["augment"]["constancy"]
    path.write_text(json.dumps(plain))
    compare(asked, say=said.append)
    assert said[-1] == "resnet50-binary-whole: done before"
    plain["recipe"]["augment"]["hue"] = 0.3
    path.write_text(json.dumps(plain))
    compare(asked, say=said.append)
    assert said[-1] != "resnet50-binary-whole: done before"


def test_rows_of_another_budget_or_base_get_no_difference(home: Path, tmp_path: Path) -> None:
    folder = home / "out" / "ablations-development"
    rows = read_rows(folder)
    [base] = [row for row in rows if (row.name, row.view) == ("mobile-classifier-base", "truth")]
    [whole] = [row for row in rows if row.name == "mobile-classifier-whole"]
    assert base.compute and whole.compute
    longer = replace(whole, compute=replace(whole.compute, planned_epochs=2))
    text = ablation_table(folder, [base, longer])
    assert "| mobile-classifier-whole" not in text and "without a difference: mobile-classifier-whole" in text
    other, foreign = replace(base, name="mobile-classifier-x-base"), replace(whole, name="mobile-classifier-x-whole")
    parts = ablation_table(folder, [base, whole, other, foreign]).split("Base: ")[1:]
    assert ["mobile-classifier-x-whole" in part for part in parts] == [False, True]
    assert ["| mobile-classifier-whole" in part for part in parts] == [True, False]


def test_differences_are_paired_and_signed() -> None:
    good = [prediction(i, 1, 0, 0, 9, 0.9 if i % 3 == 0 else 0.1) for i in range(60)]
    bad = [prediction(i, 1, 0, 1, 8, 0.1 if i % 3 == 0 else 0.9) for i in range(60)]
    found = differences(good, bad, "mel")
    assert found["auc"] == Metric(1.0, 1.0, 1.0)
    assert differences(bad, good, "mel")["auc"].value == -1
    assert differences(good, good, "mel")["auc"] == Metric(0.0, 0.0, 0.0)
    assert differences(good, bad, "")["dice"].value == pytest.approx(1 / 3, abs=1e-6)
    with pytest.raises(DataError, match="same pictures"):
        differences(good, bad[::-1], "mel")


def test_post_hoc_adjustment_divides_by_the_training_frequencies(drawn_records: list[Record]) -> None:
    rare = [replace(r, dx="mel" if i < 1 else "nv") for i, r in enumerate(drawn_records[:5])]
    [adjusted] = adjust_for_classes([prediction(0, 1, 0, 0, 9, 0.2)], rare, ("other", "mel"))
    assert adjusted.probabilities["mel"] == pytest.approx(0.5)


def test_development_leaves_the_test_split_alone(drawn_records: list[Record]) -> None:
    marked = [replace(r, split=("train", "val", "test")[hash_of(r.lesion_id) % 3]) for r in drawn_records]
    tested = {r.image_id for r in marked if r.split == "test"}
    parts = named_split(marked, "development")
    seen = [r.image_id for records in parts.values() for r in records]
    assert tested and not tested & set(seen)
    assert sorted(seen) == sorted(r.image_id for r in marked if r.split != "test")
    assert siblings(parts).all == 0


def hash_of(text: str) -> int:
    return sum(map(ord, text))


def follows(folder: Path, rows: Sequence[Row] | object) -> None:
    """Every row's figures come out again from its stored predictions, without a network."""
    for row in rows:  # type: ignore[attr-defined]
        found = read_predictions(folder / row.predictions)
        classes = row.figures.classification
        threshold = classes.thresholds.get(CHOSEN) if classes else None
        assert measure(found, row.labels, row.positive or "mel", threshold) == row.figures, row.name
        assert read_row(folder / f"{Path(row.predictions).stem}.json") == row


class ThinJoint(nn.Module):
    """A mask and two classes from one convolution each."""

    def __init__(self, classes: int, backbone: str) -> None:
        super().__init__()
        self.mask = nn.Conv2d(3, 1, 3, padding=1)
        self.classes = nn.Conv2d(3, classes, 3)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.mask(images), self.classes(images).mean((2, 3))


def lighten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heavy networks get thin ones of the same kind, so that a table takes seconds."""
    from trainer.papers import run

    def thin(recipe: Recipe) -> Recipe:
        swap = {
            "resunet": ModelConfig("resunet", {"widths": [16, 16]}),
            "unetplusplus": ModelConfig("unetplusplus", {"width": 4}),
            "resnet34": ModelConfig("simple_cnn", {"width": 4}),
            "resnet50": ModelConfig("simple_cnn", {"width": 4}),
            "clnet_classifier": ModelConfig("simple_cnn", {"width": 4}),
            "mobilenet_v2": ModelConfig("simple_cnn", {"width": 4}),
        }
        return replace(recipe, model=swap.get(recipe.model.name, recipe.model))

    def light(*arguments: object) -> list[Plan]:
        return [replace(plan, recipe=thin(plan.recipe)) for plan in plans(*arguments)]  # type: ignore[arg-type]

    monkeypatch.setattr(run, "plans", light)
    monkeypatch.setitem(registry._REGISTRY, "clnet", replace(registry.entry("clnet"), build=ThinJoint))


def test_the_leaking_split_says_so(drawn_records: list[Record]) -> None:
    twins = [replace(r, image_id=f"{r.image_id}b") for r in drawn_records]
    records = [*drawn_records, *twins]
    parts = named_split(records, "image-80-20")
    assert len(parts["test"]) == pytest.approx(len(records) / 5, abs=1)
    assert siblings(parts).all > 0.5
    for name in ("column", "lesion-80-20", "lesion-60-20-20"):
        honest = named_split(records, name)  # type: ignore[arg-type]
        assert siblings(honest).all == 0
        assert sorted(r.image_id for part in honest.values() for r in part) == sorted(r.image_id for r in records)
        assert all(r.split == part for part, found in honest.items() for r in found)
    assert len(named_split(records, "lesion-80-20")["test"]) == pytest.approx(len(records) / 5, abs=6)


def test_leaking_rows_are_marked_everywhere(home: Path, drawn_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lighten(monkeypatch)
    asked = job(home, drawn_folder, "segmenters", only=("unetplusplus",), split="image-80-20", out=home / "leaking")
    page = compare(asked, say=lambda text: None)
    assert page.parent.name == "segmenters-image-80-20"
    assert "leaks" in page.read_text(encoding="utf-8")
    assert "**leaks**" in results_page(home / "leaking")
    marked = [line for line in readings(asked.out.parent / LEDGER) if "image-80-20" in line.reason]
    learnt, judged = (line for line in marked if line.what == "segmenters/unetplusplus")
    assert learnt.reason.startswith("the training of a row") and learnt.hash != judged.hash, "test is learnt from here"


def test_weights_are_found_renamed_and_named(tmp_path: Path) -> None:
    torch.manual_seed(0)
    resnet = build_model(load_recipe("resnet50-binary")).state_dict()
    torch.save(
        {k: v for k, v in resnet.items() if not k.startswith("fc.")},
        tmp_path / "resnet50_imagenet.pth",
    )
    joint = load_recipe("clnet-melanoma")
    file = weights_for(joint, {}, tmp_path)
    assert file is not None and weights_for(load_recipe("unet"), {}, tmp_path) is None
    ready, words = prepared(joint, file, tmp_path / "run")
    assert words.startswith("resnet50_imagenet.pth, ")
    model = build_model(joint)
    init_weights(model, ready)
    assert torch.equal(model.state_dict()["stages.2.0.conv1.weight"], resnet["layer3.0.conv1.weight"])
    assert torch.equal(model.state_dict()["stages.3.0.conv1.weight"], resnet["layer4.0.conv1.weight"])
    assert torch.equal(model.state_dict()["stages.0.0.weight"], resnet["conv1.weight"])
    with pytest.raises(CheckpointError):
        prepared(load_recipe("densenet121"), file, tmp_path / "run")


def prediction(i: int, tp: int, fp: int, fn: int, tn: int, score: float | None = None) -> Prediction:
    counts = Counts(tp, fp, fn, tn)
    dx = "mel" if i % 3 == 0 else "nv"
    answers = {} if score is None else {"other": 1 - score, "mel": score}
    who = (f"i{i}", f"l{i // 2}", "test", dx, "histo", 40.0, "male", "back")
    return Prediction(*who, "predicted", "", Quality(1, 1, 1), 0.1, 0.1, 1.0, counts, counts, answers)


def test_pooled_figures_by_hand() -> None:
    overlaps = Overlaps(*np.array([[8, 1, 1, 90], [1, 3, 1, 95]], float).T)
    one = np.ones((1, 2))
    found = {name: float(measure(one)[0]) for name, measure in pooled_measures(overlaps).items()}
    assert found == pytest.approx(
        {
            "dice": 18 / 24,
            "jaccard": 9 / 15,
            "pixel_recall": 9 / 11,
            "pixel_precision": 9 / 13,
            "pixel_accuracy": 194 / 200,
        }
    )


def test_measures_cover_masks_decisions_and_subgroups() -> None:
    rows = [prediction(i, 50 - i, 5, i, 200, score=0.9 if i % 3 == 0 else 0.2) for i in range(12)]
    rows[3] = replace(rows[3], probabilities={})
    found = measure(rows, ("other", "mel"), "mel", threshold=0.95, resamples=50)
    assert (found.images, found.lesions, found.positives) == (12, 6, 4)
    assert found.classification is not None and found.classification.answered == 11
    assert found.classification.ranking["auc"].value == 1
    assert found.classification.decisions[CHOSEN]["sensitivity"].value == 0
    assert found.classification.decisions["0.5"]["accuracy"].value == 1
    assert found.subgroups["sex"]["male"].pictures == 12
    assert 0.2 < (threshold_on(rows, ("other", "mel"), "mel") or 0) < 0.9
    assert threshold_on(rows[1:3], ("other", "mel"), "mel") is None


def test_command_line_explains_mistakes(drawn_folder: Path, tmp_path: Path) -> None:
    def error(*arguments: str) -> str:
        return str(CliRunner().invoke(cli.app, ["compare", *arguments, "--data", str(drawn_folder)]).exception)

    assert "no table 'segmenter'" in error("segmenter")
    assert "no split 'image'" in error("segmenters", "--split", "image")
    assert "names no file" in error("segmenters", "--init-weights", "unet")
    assert "no row 'resunett'" in error("segmenters", "--only", "resunett")
    with pytest.raises(DataError, match="no comparison"):
        results_page(tmp_path)
    (tmp_path / "roi").mkdir()
    (tmp_path / "roi/row.json").write_text("{}")
    with pytest.raises(DataError, match="no row of a comparison"):
        results_page(tmp_path)
    with pytest.raises(IndexError):
        to_markdown([], "roi")
