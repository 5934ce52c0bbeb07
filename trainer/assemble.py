"""From two checkpoints to a finished bundle: choose on `train` and `val`, export, report once on `test`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from edge_infer.bundle import Manifest, OperatingPoint
from edge_infer.schema import dump
from trainer.calibrate import (
    DEFAULT_POINT,
    area_limits,
    choose_operating_points,
    confidence_limit,
    fit_temperature,
    measure_pictures,
    quality_limits,
    scores_of,
    tempered,
    true_areas,
)
from trainer.checkpoint import load_checkpoint
from trainer.config import load_recipe
from trainer.data.ham10000 import Record, read_ham10000
from trainer.evaluate import (
    Networks,
    RoiSource,
    Rules,
    predict,
    read_predictions,
    select,
    write_predictions,
)
from trainer.export.bundle import DATA, MELANOMA, Assess, Assessment, Choices, System, write_bundle
from trainer.refusals import read_trials, refused, spoil, try_bare_skin, write_trials
from trainer.report import Summary, summarise, to_evaluation, to_markdown

MASK_THRESHOLD = 0.5
PARITY_PICTURES = 128
TRIAL_PICTURES = 200
TRIALS_FILE = "refusals.csv"

FINAL_RECIPES = {"mobile": ("mobile-segmenter-skin", "mobile-classifier-long")}

DESCRIPTIONS = {
    "mobile": "Small and fast: a light U-Net outlines the lesion, MobileNetV2 classifies the crop around it.",
    "reference": "As published: a U-Net++-inspired segmenter and a ResNet50 classifier on the crop around the lesion.",
}

# File stem, split and ROI of each predictions file; the first one is the one that the manifest reports.
REPORTED: tuple[tuple[str, str, RoiSource], ...] = (
    ("test", "test", "predicted"),
    ("test-true-roi", "test", "truth"),
    ("val", "val", "predicted"),
)


def stage_recipes(name: str) -> tuple[str, str]:
    """Recipes whose weights a bundle exports, segmenter first; see `recipe_chain` for what they start from."""
    return FINAL_RECIPES.get(name, (f"{name}-segmenter", f"{name}-classifier"))


def recipe_chain(recipe: str, runs: Path, weights: Path | None) -> list[tuple[str, Path | None]]:
    """A recipe after all that it starts from, each with its initial weights.

    Args:
        recipe: name of the last recipe.
        runs: folder of the runs: a recipe that starts from another takes that one's `best.pt`.
        weights: for the first of the chain.
    """
    before = load_recipe(recipe).starts_from
    if before is None:
        return [(recipe, weights)]
    return [*recipe_chain(before, runs, weights), (recipe, runs / before / "best.pt")]


def choose(system: System, records: Sequence[Record], limit: int | None = None) -> Choices:
    """Limits from the training pictures; temperature and operating points from the validation split.

    Args:
        system: the trained networks.
        records: the whole data set.
        limit: use only so many pictures of each split, for a trial.
    """
    segmenter, classifier = (stage.input for stage in system.stages())
    training = select(records, "train", limit)
    mask = area_limits(true_areas(training), MASK_THRESHOLD)
    quality = quality_limits(measure_pictures(training, segmenter), segmenter.height // 2)
    rules = Rules(segmenter, classifier, system.labels, mask, system.roi, quality)
    found = list(predict(select(records, "val", limit), rules, system.networks()))
    mask = replace(mask, min_confidence=confidence_limit(found))
    answered = [p for p in found if not p.reason and p.confidence >= mask.min_confidence]
    scores = scores_of(answered, system.labels, MELANOMA)
    calibration = fit_temperature(scores)
    scores = replace(scores, probabilities=tempered(scores.probabilities, calibration.temperature))
    return Choices(mask, quality, calibration, choose_operating_points(scores), DEFAULT_POINT)


def assemble(
    name: str,
    segmenter: Path,
    classifier: Path,
    data: Path,
    out: Path,
    results: Path,
    limit: int | None = None,
    views: int = 1,
    say: Callable[[str], None] = print,
) -> Manifest:
    """Makes a bundle and its predictions files.

    Args:
        name: the bundle's name.
        segmenter: checkpoint of the first stage.
        classifier: checkpoint of the second stage.
        data: HAM10000 folder.
        out: the bundle's folder, replaced at the end.
        results: folder of the predictions and tables.
        limit: use only so many pictures of each split, for a trial.
        views: mirrored copies of the crop that the classifier averages over: 1, 2 or 4.
        say: receives progress in sentences.

    Raises:
        TrainerError: see `trainer.export.bundle.write_bundle` and `trainer.checkpoint.load_checkpoint`.
    """
    records = read_ham10000(data)
    hours = {stage: training_hours(path) for stage, path in (("segmenter", segmenter), ("classifier", classifier))}
    known = {stage: value for stage, value in hours.items() if value is not None}
    system = System(load_checkpoint(segmenter), load_checkpoint(classifier), views, known)
    choices = choose(system, records, limit)
    say(f"temperature {choices.calibration.temperature:g}, fitted on val")
    for point in choices.operating_points:
        say(f"{point.name}: threshold {point.threshold:.4f} ({point.rule})")
    parity = select(records, "val", PARITY_PICTURES if limit is None else min(limit, PARITY_PICTURES))
    description = DESCRIPTIONS.get(name, "A segmenter and a classifier trained on HAM10000.")
    manifest = write_bundle(out, name, description, system, choices, parity, assessor(name, records, results, limit))
    say(f"{out}: {sum(entry.bytes for entry in manifest.files.values()) / 1e6:.1f} MB")
    return manifest


def training_hours(checkpoint: Path) -> float | None:
    """Sum of the epochs' times in the `history.csv` beside a checkpoint; None where there is none."""
    try:
        with (checkpoint.parent / "history.csv").open(newline="", encoding="utf-8") as stream:
            return round(sum(float(row["seconds"]) for row in csv.DictReader(stream)) / 3600, 2)
    except (OSError, KeyError, ValueError):
        return None


def assessor(name: str, records: Sequence[Record], results: Path, limit: int | None = None) -> Assess:
    """Evaluates a bundle's files on `REPORTED`, writes predictions and tables, and reports the test split."""

    def assess(manifest: Manifest, networks: Networks) -> Assessment:
        rules = Rules.of_manifest(manifest)
        for stem, split, roi in REPORTED:
            found = list(predict(select(records, split, limit), rules, networks, roi=roi))
            write_predictions(results / f"{stem}.csv", found)
        trials = select(records, "test", min(limit or TRIAL_PICTURES, TRIAL_PICTURES))
        write_trials(
            results / TRIALS_FILE,
            [*spoil(trials, rules.segmenter_input), *try_bare_skin(trials, rules, networks.segment)],
        )
        test = write_tables(results, manifest)["test"]
        command = f"python -m trainer evaluate --bundle exported/{name} --data ../shared/data/ham10000"
        return Assessment(to_evaluation(test, DATA, command), test, read_refused(results, manifest))

    return assess


def read_summaries(
    results: Path, labels: Sequence[str], points: Sequence[OperatingPoint], default_point: str
) -> dict[str, Summary]:
    """Figures of every predictions file of a bundle, by file stem."""
    return {
        stem: summarise(read_predictions(results / f"{stem}.csv"), labels, MELANOMA, points, default_point)
        for stem, _, _ in REPORTED
    }


def read_refused(results: Path, manifest: Manifest) -> dict[str, float]:
    """Share of the pictures to be refused that a bundle refuses, from the stored measures."""
    return refused(read_trials(results / TRIALS_FILE), manifest.quality, manifest.mask)


def write_tables(results: Path, manifest: Manifest) -> dict[str, Summary]:
    """Computes all figures from the stored predictions and writes `evaluation.json` and `RESULTS.md` beside them."""
    summaries = read_summaries(results, manifest.labels, manifest.operating_points, manifest.default_operating_point)
    figures = {**dump(summaries), "refused": read_refused(results, manifest)}
    text = json.dumps(figures, indent=1, ensure_ascii=False, allow_nan=False)
    (results / "evaluation.json").write_text(text + "\n", encoding="utf-8")
    titles = {"test": "Test split", "test-true-roi": "Test split, crops from the true masks", "val": "Validation split"}
    tables = "\n".join(to_markdown(summary, titles[stem]) for stem, summary in summaries.items())
    head = (
        f"# Results of the bundle `{manifest.name}`\n\nMade by `python -m trainer report` from the CSV files here.\n\n"
    )
    (results / "RESULTS.md").write_text(head + tables, encoding="utf-8")
    return summaries
