"""Sentences about the comparisons take their words from the interval of a paired difference, and say what it holds."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_infer.rules import Metric
from tests.support.comparison_rows import SEVEN, answers, make_row
from trainer.errors import DataError
from trainer.papers.costs import Cost, Costs, key_of, recipe_of, write_costs
from trainer.papers.lessons import how, lessons
from trainer.papers.measures import auc_of, differences, mean_difference
from trainer.papers.pairs import Rows
from trainer.papers.results import lessons_page
from trainer.papers.rows import Row, external_file, read_row, read_rows, write_row
from trainer.papers.schedules import architecture, fitted, many, paces, span, start_of, trainings
from trainer.papers.wording import by, finding, opened
from trainer.papers.words import budget_words, precision_of
from trainer.scoring.predictions import read_predictions


def test_the_words_follow_from_the_interval() -> None:
    def said(*numbers: float) -> str:
        return finding("Dice", "A", "B", Metric(*numbers), ", here")

    assert said(0.1, 0.05, 0.2) == "Dice was higher with A than with B, here (+0.100, +0.050 to +0.200)"
    assert said(-0.1, -0.2, -0.01).startswith("Dice was lower with A than with B")
    level = "no difference in Dice larger than 0.200 was found between A and B, here (+0.100, -0.010 to +0.200)"
    assert said(0.1, -0.01, 0.2) == level and "larger than 0.300" in said(-0.1, -0.3, 0.2)
    assert "no interval (+0.100)" in said(0.1) and "not known" in finding("Dice", "A", "B", None)
    assert opened(level).startswith("No difference") and by(Metric(0.1)) == "+0.100"


def test_counts_and_spans_are_exact(tmp_path: Path) -> None:
    first = make_row(tmp_path, "a", 1)
    twin = make_row(tmp_path, "a-scratch", 1)
    other = make_row(tmp_path, "b", 1, recipe="densenet121")
    view = make_row(tmp_path, "b", 1, recipe="densenet121", view="predicted")
    assert trainings([first, twin, other, view]) == "3 trainings of 2 architectures"
    assert trainings([first]) == "1 training of 1 architecture"
    assert architecture(replace(first, recipe=None)) == "" and "width" in architecture(
        replace(first, recipe={"model": {"name": "unet", "options": {"width": 3}}})
    )
    assert (start_of(first), start_of(twin)) == ("ImageNet weights", "random weights")
    assert (span([40.2, 18.4]), span([18.1, 18.4]), many(1, "pair"), many(2, "pair")) == (
        "18 to 40",
        "18",
        "1 pair",
        "2 pairs",
    )
    assert fitted([first, replace(first, pace="hour")]) == "60 or 20 minutes of one core"


def test_how_they_were_trained_is_told_from_the_rows(tmp_path: Path) -> None:
    rows = [make_row(tmp_path, name, 1, compute={"train_minutes": taken}) for name, taken in (("a", 18), ("b", 40))]
    assert "`medium`: 20 minutes of one core, of which they took 18 to 40 minutes of wall time" in how(rows)
    assert "the same number of core-minutes" not in how(rows)
    timed = [replace(row, compute=replace(row.compute, core_minutes=19.0)) for row in rows if row.compute]
    assert paces(timed) == ["`medium`: 20 minutes of one core, of which they took 19 minutes of one core"]
    assert "of one core where a row states them" in paces([rows[0], timed[1]])[0]
    assert "one of these times" in how([rows[0], replace(rows[1], pace="hour")])
    price = "`medium` is there for its price"
    assert price in how(rows) and price not in how([replace(row, pace="hour") for row in rows])


def test_one_pair_is_the_difference_and_several_are_their_mean() -> None:
    first, second, third = (answers(name, skill) for name, skill in (("a", 2), ("b", 1), ("c", 1)))
    one = mean_difference([(first, second)], "auc", "mel")
    assert one == differences(first, second, "mel")["auc"]
    both = mean_difference([(first, second), (third, second)], "auc", "mel")
    other = mean_difference([(third, second)], "auc", "mel")
    assert one and both and other and both.value == pytest.approx((one.value + other.value) / 2, abs=2e-6)
    assert mean_difference([], "auc", "mel") is None
    with pytest.raises(DataError, match="the same pictures"):
        mean_difference([(first, second), (first, second[1:])], "auc", "mel")
    with pytest.raises(DataError, match="holds no masks"):
        mean_difference([(first, second)], "dice", "")


def test_only_answered_pictures_are_compared() -> None:
    first, second = answers("a", 2), answers("b", 1)
    silent = [replace(p, probabilities={}) if number % 3 == 0 else p for number, p in enumerate(second)]
    kept = [number for number in range(len(first)) if number % 3]
    found = mean_difference([(first, silent)], "auc", "mel")
    expected = differences([first[n] for n in kept], [second[n] for n in kept], "mel")["auc"]
    assert found is not None and found.value == expected.value


@pytest.fixture
def twins(tmp_path: Path) -> Path:
    """Two networks from ImageNet and from random weights, at home and elsewhere; the schedules of one pair differ."""
    for name, recipe in (("a", "mobilenet-v3-large"), ("b", "densenet121")):
        make_row(tmp_path, name, 3, recipe=recipe, away=2, compute={"epochs": 7 if name == "b" else 6})
        make_row(tmp_path, f"{name}-scratch", 1, recipe=recipe, away=0.5)
    return tmp_path


def section(text: str, title: str) -> str:
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


def stored(folder: Path, name: str, source: str = "") -> Any:
    file = external_file(f"{name}-truth-roi", source) if source else f"{name}-truth-roi.parquet"
    return read_predictions(folder / "classifiers" / file)


def test_initial_weights_are_compared_at_home_and_elsewhere(twins: Path) -> None:
    text = section(lessons(twins), "Where a network starts from")
    pairs = [(stored(twins, name), stored(twins, f"{name}-scratch")) for name in ("a", "b")]
    mean = mean_difference(pairs, "auc", "mel")
    assert mean is not None and mean.low is not None and mean.low > 0
    assert f"random ones, in the mean over 2 pairs of trainings of 2 architectures ({by(mean)})" in text
    single = sorted(differences(*pair, "mel")["auc"].value for pair in pairs)
    assert f"single differences are {single[0]:+.3f} to {single[1]:+.3f}" in text
    there = [(stored(twins, name, "msk-uda"), stored(twins, f"{name}-scratch", "msk-uda")) for name in ("a", "b")]
    mean = mean_difference(there, "auc", "mel")
    assert mean is not None and "On msk-uda, two clinics (MSK and Utah) where none learnt, AUC of melanoma was" in text
    assert f"in the mean over 2 pairs ({by(mean)})" in text
    assert "fixed, short schedule (6 to 7 epochs); a longer one may shrink it" in text
    assert "Schedules differ in 1 of the 2 pairs, by up to 1 epoch." in text
    assert "| a | 6 | 20 |" in text and "| b | 7 / 6, uneven | 20 |" in text
    assert "without correction for multiple comparisons; 2 comparisons below" in text


def test_a_pair_of_two_precisions_is_uneven_and_says_so(twins: Path) -> None:
    file = twins / "classifiers/a-scratch-truth-roi.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    first = read_row(twins / "classifiers/a-truth-roi.json")
    used = precision_of(first)
    other = {"bf16": "float32", "float32": "bf16"}[used]
    content["recipe"]["optim"]["precision"] = other
    file.write_text(json.dumps(content), encoding="utf-8")
    text = section(lessons(twins), "Where a network starts from")
    assert f"| a | 6 in {used} / {other}, uneven | 20 |" in text
    assert "Schedules differ in 2 of the 2 pairs, by up to 1 epoch and in precision." in text
    assert f", {used}, " in budget_words(first) and f", {other}, " in budget_words(read_row(file))


def test_a_change_of_clinic_is_told_for_classes_and_for_masks(twins: Path) -> None:
    for name in ("m", "n"):
        segmenter(twins, name, 2, "unet", away=1)
    classes, masks = section(lessons(twins), "What survives a change of clinic").split("Dice was ")
    assert "Averaged over 4 trainings of 2 architectures, AUC of melanoma was" in classes and "| a-scratch |" in classes
    assert "Averaged over 2 trainings of 1 architecture, " in classes and "| m |" in masks and "| a |" not in masks
    assert "What survives" not in lessons(twins).rpartition("Not answered yet")[2]


def test_rows_without_figures_elsewhere_are_left_out_there(twins: Path) -> None:
    for row in read_rows(twins / "classifiers"):
        if row.name.startswith("a"):
            write_row(replace(row, external={}), twins / "classifiers")
    text = lessons(twins)
    assert "in the mean over 2 pairs of trainings" in text and "where none learnt, AUC of melanoma was" in text
    only = differences(stored(twins, "b", "msk-uda"), stored(twins, "b-scratch", "msk-uda"), "mel")["auc"]
    assert f"than with random ones ({by(only)})" in text
    clinic = section(text, "What survives a change of clinic")
    assert "| b |" in clinic and "| a |" not in clinic
    for row in read_rows(twins / "classifiers"):
        write_row(replace(row, external={}), twins / "classifiers")
    assert "What survives a change of clinic" in lessons(twins).rpartition("Not answered yet")[2]


def test_a_sentence_turns_with_its_rows(tmp_path: Path) -> None:
    make_row(tmp_path, "a", 0.5)
    make_row(tmp_path, "a-scratch", 3)
    text = lessons(tmp_path)
    assert "AUC of melanoma was lower with ImageNet weights than with random ones, of a in one training each" in text
    assert "a longer one may change it" in text


def test_a_level_result_gives_its_bound(tmp_path: Path) -> None:
    make_row(tmp_path, "a", 1)
    make_row(tmp_path, "a-scratch", 1)
    difference = differences(stored(tmp_path, "a"), stored(tmp_path, "a-scratch"), "mel")["auc"]
    assert difference.low is not None and difference.high is not None and difference.low < 0 < difference.high
    bound = max(-difference.low, difference.high)
    assert f"No difference in AUC of melanoma larger than {bound:.3f} was found" in lessons(tmp_path)


def test_rows_of_two_times_are_no_pair(tmp_path: Path) -> None:
    make_row(tmp_path, "a", 3, pace="hour")
    make_row(tmp_path, "a-scratch", 1)
    rows = Rows(tmp_path)
    assert rows.pair("classifiers", ("a", "truth"), ("a-scratch", "truth")) is None
    assert "fitted to different times: Where a network starts from" in lessons(tmp_path)
    assert "60 or 20 minutes" in lessons_page(tmp_path)


def test_rows_of_a_trial_teach_nothing(twins: Path) -> None:
    for row in read_rows(twins / "classifiers"):
        write_row(replace(row, pace=""), twins / "classifiers")
    assert lessons(twins).count("**") == 0
    assert "No row was fitted to a time yet." in lessons_page(twins)


def test_the_page_counts_trainings_and_architectures(twins: Path) -> None:
    text = lessons_page(twins)
    assert "4 trainings of 2 architectures of the field, on HAM10000 with schedules fitted to 20 minutes" in text
    assert "msk-uda, two clinics (MSK and Utah)" in text and " networks of the field" not in text


def cost(folder: Path, rows: list[Row]) -> None:
    found = {key_of(recipe): Cost(10**6, 1.5, 9, 8, 10) for row in rows if (recipe := recipe_of(row))}
    write_costs(Costs("a machine", "1", found), folder)


def segmenter(folder: Path, name: str, skill: float, recipe: str, **changes: Any) -> Row:
    asked: dict[str, Any] = {"table": "segmenters", "view": "picture", "positive": "", "masks": True} | changes
    return make_row(folder, name, skill, recipe=recipe, **asked)


def test_a_small_encoder_is_not_praised_for_its_weights(tmp_path: Path) -> None:
    rows = [
        segmenter(tmp_path, "unet-mobilenet-v2", 2, "unet-mobilenet-v2"),
        segmenter(tmp_path, "reference-segmenter", 1, "reference-segmenter", initialisation="random"),
    ]
    title = "What a small encoder gives for its cost"
    assert title in lessons(tmp_path).rpartition("Not answered yet")[2], "without costs"
    cost(tmp_path, rows)
    text = section(lessons(tmp_path), title)
    assert "higher with the U-Net over MobileNetV2 from ImageNet weights than with U-Net++ from random weights" in text
    assert "does not separate size from initial weights: the row `unet-mobilenet-v2-scratch` is not there" in text
    assert text.count("1.5 GFLOP at 128 pixels and 9 ms") == 2
    segmenter(tmp_path, "unet-mobilenet-v2-scratch", 1, "unet-mobilenet-v2", noise="reference-segmenter")
    text = section(lessons(tmp_path), title)
    assert "does not separate" not in text and "2 comparisons below" in text
    assert "With both from random weights, no difference in Dice larger than 0.000 was found" in text


def test_a_branch_alone_is_told_with_its_epochs_and_weights_on_both_tasks(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"table": "branches", "system": "S8", "recipe": "clnet-melanoma"}
    segmenter(tmp_path, "clnet-segmenter", 2, "resunet", table="branches", initialisation="random")
    for joint, positive in (("clnet-melanoma", "mel"), ("clnet-keratosis", "bkl")):
        make_row(tmp_path, joint, 1, view="picture", positive=positive, masks=True, **asked)
        alone = {"compute": {"epochs": 11, "size": 160}} if positive == "bkl" else {}
        make_row(tmp_path, f"{joint}-classifier", 3, view="whole", positive=positive, **asked, **alone)
        if positive == "mel":
            assert "Rows are missing for `clnet-keratosis`." in lessons(tmp_path)
    text = section(lessons(tmp_path), "Whether two tasks help each other")
    assert "Rows are missing" not in text
    melanoma, keratosis = text.split("With benign keratosis as the class")
    assert "AUC of melanoma was lower with both tasks joined" in melanoma and "Dice was lower" in melanoma
    assert "In equal time" not in melanoma, "both had the same epochs"
    assert "AUC of benign keratosis was lower with both tasks joined in CLNet than with the classifying" in keratosis
    favours = "CLNet had 6 epochs and the classifying branch 11 at 128 and 160 pixels, which favours the branch alone"
    assert favours in keratosis and "| 6 / 11 at 128 / 160 px, uneven |" in keratosis
    assert "CLNet started from ImageNet weights and the segmenting branch from random weights" in keratosis
    stem = (tmp_path / "branches" / f"{name}.parquet" for name in ("clnet-keratosis", "clnet-keratosis-classifier"))
    assert by(differences(*map(read_predictions, stem), "bkl")["auc"]) in keratosis


def test_crops_and_metadata_are_told_in_one_training_each(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"table": "roi", "system": "S6", "recipe": "resnet50-binary"}
    make_row(tmp_path, "resnet50-binary", 1, noise="same", **asked)
    make_row(tmp_path, "resnet50-binary-keep", 1, noise="same", **asked)
    make_row(tmp_path, "resnet50-binary-whole", 0, view="whole", **asked, compute={"epochs": 9})
    for name, skill in (("metadata-fusion", 3), ("metadata-fusion-image-alone", 1)):
        make_row(tmp_path, name, skill, table="metadata", system="S9", labels=SEVEN, recipe="metadata-fusion")
    text = lessons(tmp_path)
    crop = section(text, "What the crop is worth")
    assert "In one training each, ResNet50's AUC of melanoma was higher with the crop around the lesion" in crop
    assert "The schedules differ: 6 against 9 epochs." in crop and not re.search("raises|lowers", text)
    assert "no difference in ResNet50's AUC of melanoma larger than 0.000 was found" in crop
    beside = section(text, "What age, sex and site are worth")
    assert "In one training each, AUC of melanoma was higher with age, sex and site beside the picture" in beside
    assert "balanced accuracy over seven diagnoses, with metadata" in beside and "2 comparisons below" in beside


def test_outlines_are_told_over_trainings_and_architectures(tmp_path: Path) -> None:
    for name, recipe in (("a", "densenet121"), ("a-scratch", "densenet121"), ("b", "xception")):
        make_row(tmp_path, name, 1, recipe=recipe)
        make_row(tmp_path, name, 1, recipe=recipe, view="predicted")
    text = section(lessons(tmp_path), "What the outline costs the answer")
    assert "crops by the outlines of bundle toy and crops by people's outlines" in text
    assert "in the mean over 3 trainings of 2 architectures" in text and "3 comparisons below" in text


def test_figures_in_the_tables_are_the_rows(twins: Path) -> None:
    [row] = [row for row in read_rows(twins / "classifiers") if row.name == "b-scratch"]
    auc = auc_of(row.figures)
    assert auc is not None and f"{auc.value:.3f} (" in section(lessons(twins), "Where a network starts from")
    assert np.isfinite(auc.value)
