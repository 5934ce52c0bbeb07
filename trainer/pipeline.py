"""From two checkpoints to a finished bundle: choose on `train` and `val`, export, report once on `test`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from edge_infer.bundle.manifest import Manifest
from edge_infer.schema import dump
from trainer.bundle.provenance import DATA, MELANOMA
from trainer.bundle.storage import Store
from trainer.bundle.system import Assess, Assessment, System
from trainer.bundle.variants import Request
from trainer.bundle.write import write_bundle
from trainer.choices.choose import choose
from trainer.choices.refusals import (
    Refusals,
    detection,
    read_trials,
    refusal_tables,
    refused,
    spoil,
    try_bare_skin,
    try_negatives,
    write_trials,
)
from trainer.data.ham10000 import Record, read_ham10000
from trainer.papers.against_goals import leaking_rows, papers_table
from trainer.recipe import Recipe, load_recipe
from trainer.report.figures import FIGURES, draw_figures
from trainer.report.goals import goals_table
from trainer.report.markdown import to_markdown
from trainer.report.summary import Summary, summarise, to_evaluation
from trainer.scoring.columns import SUFFIX
from trainer.scoring.networks import Networks
from trainer.scoring.predict import Rules, predict, select
from trainer.scoring.predictions import Prediction, RoiSource, read_predictions, write_predictions
from trainer.training.checkpoint import BEST, load_checkpoint
from trainer.training.folds import OUT_OF_FOLD, fold_folder, load_folds, used_folds
from trainer.training.members import member_runs

PARITY_PICTURES = 128
VARIANT_PICTURES = 256
TRIAL_PICTURES = 200
TRIALS_FILE = f"refusals{SUFFIX}"


DESCRIPTIONS = {
    "mobile": "Small and fast: a light U-Net outlines the lesion, MobileNetV2 classifies the crop around it.",
    "reference": "The published system's networks, a U-Net++-inspired segmenter and ResNet50 on the lesion with the "
    "skin set to black, trained on two CPU cores: smaller inputs and fewer epochs than published.",
}

# File stem and ROI of each predictions file on `test`; the first one is the one that the manifest reports. Beside them
# lie the predictions that the choices rest on, in a file named after `calibration.fitted_on`.
REPORTED: tuple[tuple[str, RoiSource], ...] = (("test", "predicted"), ("test-true-roi", "truth"))

TITLES = {
    "test": "Test split",
    "test-true-roi": "Test split, crops from the true masks",
    "val": "Validation split",
    OUT_OF_FOLD: "Pictures of the training and validation split, each answered by a network that left its lesion out",
}


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
    return [*recipe_chain(before, runs, weights), (recipe, runs / before / BEST)]


def assemble(
    name: str,
    segmenter: Path,
    classifier: Path,
    data: Path,
    out: Path,
    results: Path,
    limit: int | None = None,
    views: int = 1,
    fold_count: int | None = None,
    say: Callable[[str], None] = print,
    variants: Sequence[str] = (),
    leave_out_failed: bool = False,
    store: Store = "float16",
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
        fold_count: see `trainer.training.folds.used_folds`.
        say: receives progress in sentences.
        variants: further forms of both networks, names of `trainer.bundle.variants.KINDS`.
        leave_out_failed: leave out a variant that fails its gates, in place of an error.
        store: how the ONNX files store weights; see `trainer.bundle.system.System`.

    Raises:
        TrainerError: see `trainer.bundle.write.write_bundle` and `trainer.training.checkpoint.load_checkpoint`.
    """
    records = read_ham10000(data)
    paths = {"segmenter": segmenter, "classifier": classifier}
    stages = {stage: load_checkpoint(path) for stage, path in paths.items()}
    hours = {stage: training_hours(path.parent, stages[stage].recipe, fold_count) for stage, path in paths.items()}
    known = {stage: value for stage, value in hours.items() if value is not None}
    system = System(stages["segmenter"], stages["classifier"], views, known, store)
    folds = load_folds(classifier.parent, system.classifier, records, fold_count)
    choices, unseen = choose(system, records, limit, folds)
    say(f"temperature {choices.calibration.temperature:g}, fitted on {choices.calibration.fitted_on}")
    for point in choices.operating_points:
        say(f"{point.name}: threshold {point.threshold:.4f} ({point.rule})")
    parity = select(records, "val", PARITY_PICTURES if limit is None else min(limit, PARITY_PICTURES))
    description = DESCRIPTIONS.get(name, "A segmenter and a classifier trained on HAM10000.")
    request = Request(
        tuple(variants),
        select(records, "train", min(limit or VARIANT_PICTURES, VARIANT_PICTURES)),
        select(records, "val", min(limit or VARIANT_PICTURES, VARIANT_PICTURES)),
        leave_out_failed,
        say,
    )
    manifest = write_bundle(
        out, name, description, system, choices, parity, assessor(name, records, results, unseen, limit), request
    )
    say(f"{out}: {sum(entry.bytes for entry in manifest.files.values()) / 1e6:.1f} MB")
    return manifest


def training_hours(run: Path, recipe: Recipe, fold_count: int | None = None) -> float | None:
    """Wall hours of everything that a run's weights and calibration rest on; None where a part of it is unknown.

    That is the run itself, its folds, and the runs beside it that its recipe starts from.
    """
    networks = [run, *(fold_folder(run, fold) for fold in used_folds(recipe, fold_count))]
    parts = [folder for network in networks for _, folder in member_runs(recipe, network)]
    seconds = 0.0
    try:
        for folder in parts:
            with (folder / "history.csv").open(newline="", encoding="utf-8") as stream:
                seconds += sum(float(row["seconds"]) for row in csv.DictReader(stream))
    except (OSError, KeyError, ValueError):
        return None
    if recipe.starts_from is None:
        return round(seconds / 3600, 2)
    before = training_hours(run.parent / recipe.starts_from, load_recipe(recipe.starts_from))
    return None if before is None else round(before + seconds / 3600, 2)


def assessor(
    name: str, records: Sequence[Record], results: Path, unseen: Sequence[Prediction], limit: int | None = None
) -> Assess:
    """Evaluates a bundle's files on `test`, writes predictions and tables, and reports the figures.

    Args:
        name: the bundle's name.
        records: the whole data set.
        results: folder of the predictions and tables.
        unseen: the predictions that its choices rest on, kept beside the others.
        limit: use only so many pictures of each split, for a trial.
    """

    def assess(manifest: Manifest, networks: Networks) -> Assessment:
        rules = Rules.of_manifest(manifest)
        for stem, roi in REPORTED:
            found = list(predict(select(records, "test", limit), rules, networks, roi=roi))
            write_predictions(results / f"{stem}{SUFFIX}", found)
        write_predictions(results / f"{manifest.calibration.fitted_on}{SUFFIX}", unseen)
        trials = select(records, "test", min(limit or TRIAL_PICTURES, TRIAL_PICTURES))
        write_trials(
            results / TRIALS_FILE,
            [
                *spoil(trials, rules),
                *try_bare_skin(trials, rules, networks.segment),
                *try_negatives(rules, networks.segment),
            ],
        )
        test = write_tables(results, manifest)["test"]
        command = f"python -m trainer evaluate --bundle exported/{name} --data ../shared/data/ham10000"
        return Assessment(to_evaluation(test, DATA, command), test, read_refused(results, manifest))

    return assess


def read_summaries(results: Path, manifest: Manifest) -> dict[str, Summary]:
    """Figures of every predictions file of a bundle, by file stem."""
    m = manifest
    return {
        stem: summarise(
            read_predictions(results / f"{stem}{SUFFIX}"),
            m.labels,
            MELANOMA,
            m.operating_points,
            m.default_operating_point,
        )
        for stem in (*(stem for stem, _ in REPORTED), m.calibration.fitted_on)
    }


def read_refused(results: Path, manifest: Manifest) -> Refusals:
    """What a bundle refuses, from the stored measures."""
    trials = read_trials(results / TRIALS_FILE)
    test = read_predictions(results / f"{REPORTED[0][0]}{SUFFIX}")
    return Refusals(refused(trials, manifest), detection(trials, test, manifest))


def write_tables(results: Path, manifest: Manifest) -> dict[str, Summary]:
    """Computes all figures from the stored predictions; writes `evaluation.json`, `RESULTS.md` and `FIGURES` there."""
    summaries = read_summaries(results, manifest)
    refusals = read_refused(results, manifest)
    figures = {**dump(summaries), "refused": refusals.shares, "detection": dump(refusals.detection)}
    text = json.dumps(figures, indent=1, ensure_ascii=False, allow_nan=False)
    (results / "evaluation.json").write_text(text + "\n", encoding="utf-8")
    points = manifest.operating_points
    tables = "\n".join(to_markdown(summary, TITLES[stem], points) for stem, summary in summaries.items())
    head = f"# Results of the bundle `{manifest.name}`\n\n"
    head += "Made by `python -m trainer report` from the predictions here.\n\n"
    test = REPORTED[0][0]
    draw_figures(results, read_predictions(results / f"{test}{SUFFIX}"), summaries[test], manifest)
    pictures = "".join(f"![{caption}]({name})\n\n" for name, caption in FIGURES.items())
    above = f"## Figures, {TITLES[test].lower()}\n\n{pictures}{refusal_tables(refusals)}\n"
    head += f"## Goals, {TITLES[test].lower()}\n\n{goals_table(summaries[test])}\n"
    protocol = papers_table(manifest.name, leaking_rows(manifest.name))
    if protocol:
        head += f"## The papers' protocol, which leaks\n\n{protocol}\n"
    (results / "RESULTS.md").write_text(head + above + tables, encoding="utf-8")
    return summaries
