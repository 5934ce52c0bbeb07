"""The story of a bundle, in five steps that never turn back: train, answer, choose, write, report.

Each step leaves its result in a file and takes the one before. Where a result is there and all that it depends on is as
it was (see `trainer.scoring.origin`), it is read and not made again: started again, a bundle goes on where it stopped.
No picture of `test` is opened before the bundle is written.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import edge_infer
from edge_infer.bundle.manifest import Manifest
from edge_infer.bundle.store import Bundle, load_bundle
from edge_infer.files import make_writable_folder, write_atomically
from edge_infer.schema import dump
from trainer.bundle.parts import Networks, Places, Training, networks_of, open_system
from trainer.bundle.recipe import BundleRecipe, weight_file
from trainer.bundle.sources import learnt, unfit_sources
from trainer.bundle.system import System
from trainer.bundle.variants import Request
from trainer.bundle.write import publish, write_bundle
from trainer.choices.choose import Choices, choose
from trainer.choices.familiarity import fit_familiarity
from trainer.data.ham10000 import MELANOMA, Record
from trainer.data.sources import read_sources
from trainer.data.splits import spread, standard_split
from trainer.papers.against_goals import leaking_rows, papers_table
from trainer.report import tables
from trainer.report.tables import REPORTED, TRIALS_FILE, Reported, measured, write_stem
from trainer.scoring import familiarity
from trainer.scoring.answers import FORMAT, Unseen, answer_unseen, read_unseen, write_unseen
from trainer.scoring.columns import SUFFIX
from trainer.scoring.ledger import ORIGIN, decisions_hash, enter, mark, origin_of, stored_for
from trainer.scoring.networks import open_onnx
from trainer.scoring.origin import (
    Origin,
    changed,
    digest,
    digest_records,
    read_origin,
    require_same,
    write_origin,
)
from trainer.scoring.predict import Rules, predict, select
from trainer.scoring.predictions import Prediction
from trainer.scoring.probe import Tap, probe_of
from trainer.scoring.trials import spoil, try_bare_skin, try_negatives, write_trials
from trainer.training.checkpoint import BEST, LAST
from trainer.training.folds import OUT_OF_FOLD, check_unseen, fold_folder, load_folds, used_folds
from trainer.training.runs import begun, recipe_chain, taken_as_trained, train_network, with_epochs

# What variants are chosen by; the gates take every validation picture of one source, or so many of each of several
# (trainer.bundle.gates).
VARIANT_PICTURES = 256
GATE_PICTURES = 300
TRIAL_PICTURES = 200

Say = Callable[[str], None]


def make_bundle(
    recipe: BundleRecipe, records: Sequence[Record], training: Training, places: Places, say: Say = print
) -> Manifest:
    """The whole story.

    Raises:
        TrainerError: a step fails; what the steps before it made is kept.
    """
    networks = train(recipe, records, training, say)
    return assemble(recipe, networks, records, places, training.limit, say)


def assemble(
    recipe: BundleRecipe,
    networks: Networks,
    records: Sequence[Record],
    places: Places,
    limit: int | None = None,
    say: Say = print,
) -> Manifest:
    """The story from trained networks on.

    Args:
        recipe: what the bundle is.
        networks: of both stages.
        records: the whole data set.
        places: where everything goes.
        limit: use only so many pictures of each split, for a trial.
        say: receives progress in sentences.

    Raises:
        TrainerError: a step fails; what the steps before it made is kept.
    """
    unseen = answer(recipe, networks, records, places, limit, say)
    choices, found = choose(unseen, recipe.choosing)
    describe(choices, say)
    bundle = write(recipe, networks, choices, found, records, places, limit, say)
    answer_test(bundle, records, places, limit, say)
    return report(bundle, found, places, say)


# 1. Train


def train(recipe: BundleRecipe, records: Sequence[Record], training: Training, say: Say = print) -> Networks:
    """Trains both stages, each after what it starts from and its folds before itself; finished runs are left alone.

    They see the pictures of the recipe's own sources, external ones are left out. What comes before a run that has
    begun is not needed any more.

    Raises:
        TrainerError: initial weights are missing, or a training fails.
    """
    records = learnt(recipe, records)
    for stage, source in recipe.stages:
        chain = recipe_chain(source.recipe)
        first = max((i for i, network in enumerate(chain) if begun(training.runs / network.name)), default=0)
        before = training.runs / chain[first - 1].name / BEST if first else None
        for network in chain[first:]:
            run = training.runs / network.name
            for fold in (*used_folds(network, recipe.folds), None):
                out = run if fold is None else fold_folder(run, fold)
                if taken_as_trained(network, out):
                    say(f"{out / BEST}: weights without a history, taken as trained")
                    continue
                goes_on = (out / LAST).is_file()
                train_network(
                    with_epochs(network, training.epochs),
                    records,
                    out,
                    weights=None if goes_on else before or weight_file(recipe, stage, training.weights),
                    fold=fold,
                    limit=training.limit,
                    threads=training.threads,
                    cache=training.cache,
                    device=training.device,
                    say=say,
                )
            before = run / BEST
    return trained(recipe, training.runs)


def trained(recipe: BundleRecipe, runs: Path) -> Networks:
    """Where `train` leaves a bundle's networks."""
    segmenter, classifier = (runs / source.load().name for _, source in recipe.stages)
    return networks_of(recipe, segmenter / BEST, classifier / BEST)


# 2. Answer, on pictures that the networks never saw


def answer(
    recipe: BundleRecipe,
    networks: Networks,
    records: Sequence[Record],
    places: Places,
    limit: int | None = None,
    say: Say = print,
) -> Unseen:
    """Predictions and measures of unseen pictures of `train` and `val`, stored in `places.unseen`."""
    records = learnt(recipe, records)
    origin = _origin(recipe, networks) | _data(records, limit)
    if places.unseen.is_file():
        stored, theirs = read_unseen(places.unseen)
        if not (why := changed(theirs, origin)):
            return stored
        say(f"{places.unseen} was made with other {' and '.join(why)}: made again")
    system = familiar_system(recipe, networks, records, places, limit, say)
    folds = load_folds(networks.classifier.parent, system.classifier, records, recipe.folds)
    if not folds:
        check_unseen((system.segmenter, system.classifier), select(records, "val"))
    tap = Tap(system.graphs()[1])
    asked = system.networks()._replace(classify=tap)
    unseen = answer_unseen(asked, system.rules(), records, folds, limit, recipe.views)
    probe = None if folds else probe_of(tap, unseen.predictions)
    write_atomically(places.probe, (json.dumps(dump(probe), indent=1) + "\n").encode())
    write_unseen(places.unseen, unseen, origin)
    return unseen


def familiar_system(
    recipe: BundleRecipe,
    networks: Networks,
    records: Sequence[Record],
    places: Places,
    limit: int | None = None,
    say: Say = print,
) -> System:
    """The networks as they will be served, with a score of familiarity where the recipe asks for one.

    The features that the score is fitted to are stored in `places.features`; the fit itself takes seconds.
    """
    system = open_system(recipe, networks)
    if not recipe.familiarity:
        return system
    origin = {"networks": networks.digest(), "rules": digest((familiarity.FORMAT, recipe.store))}
    origin |= _data(records, limit)
    note = places.features.with_suffix(".origin.json")
    if not places.features.is_file() or changed(read_origin(note), origin):
        note.unlink(missing_ok=True)
        side = system.segmenter.recipe.data.size
        found = familiarity.pool_features(system.graphs()[0], records, side, limit)
        familiarity.write_features(places.features, found)
        write_origin(note, origin)
    fit = fit_familiarity(familiarity.read_features(places.features))
    shares = ", ".join(f"{share:.2%} of {source}" for source, share in fit.refused.items())
    say(f"familiarity: threshold {fit.threshold:.3g} refuses {shares} (validation pictures)")
    return replace(system, familiarity=fit)


def stored_answers(recipe: BundleRecipe, networks: Networks, places: Places) -> Unseen:
    """The stored answers of these networks, for whoever wants to choose again.

    Raises:
        DataError: there are none.
        StaleError: they are of other networks, or of a recipe that asks for something else.
    """
    unseen, origin = read_unseen(places.unseen)
    require_same(places.unseen, origin, _origin(recipe, networks))
    return unseen


# 3. Choose: `trainer.choices.choose.choose`, from the stored answers alone


def describe(choices: Choices, say: Say = print) -> None:
    """Says what was chosen."""
    calibration = choices.calibration
    bias = f", bias {calibration.bias:g}" if calibration.method == "platt" else ""
    prior = "" if calibration.prior is None else f", for a share of melanoma of {calibration.prior:g}"
    say(f"temperature {calibration.temperature:g}{bias}, fitted on {calibration.fitted_on}{prior}")
    for point in choices.operating_points:
        say(f"{point.name}: threshold {point.threshold:.4f} ({point.rule})")


# 4. Write


def write(
    recipe: BundleRecipe,
    networks: Networks,
    choices: Choices,
    unseen: Sequence[Prediction],
    records: Sequence[Record],
    places: Places,
    limit: int | None = None,
    say: Say = print,
) -> Bundle:
    """The bundle's files behind their gates, without figures yet, in `places.written`.

    `unseen` are the calibrated predictions that the choices rest on.
    """
    records = learnt(recipe, records)
    origin = {
        "networks": networks.digest(),
        "recipe": digest(recipe.to_dict()),
        "choices": digest(choices),
        "data": digest_records(_known(records)),
        "limit": str(limit),
        "version": edge_infer.__version__,
    }
    note = places.written.with_suffix(".origin.json")
    if places.written.is_dir() and not changed(read_origin(note), origin):
        return load_bundle(places.written)
    note.unlink(missing_ok=True)
    several = len({record.source for record in records}) > 1
    validation = select(records, "val", _at_most(GATE_PICTURES, limit) if several else limit)
    answers = unseen_answers(unseen) if choices.calibration.fitted_on == OUT_OF_FOLD else None
    request = Request(
        recipe.variants,
        spread(select(records, "train"), _at_most(VARIANT_PICTURES, limit)),
        validation,
        recipe.leave_out_failed,
        say,
        answers,
    )
    system = familiar_system(recipe, networks, records, places, limit, say)
    write_bundle(places.written, recipe, system, choices, validation, request, unseen=answers)
    write_origin(note, origin)
    return load_bundle(places.written)


def unseen_answers(predictions: Sequence[Prediction]) -> dict[str, float]:
    """What networks that left a picture out said of it, calibrated, for `trainer.bundle.gates`."""
    return {p.image_id: p.probabilities[MELANOMA] for p in predictions if p.probabilities}


# 5. Report: the one look at `test`


def answer_test(
    bundle: Bundle, records: Sequence[Record], places: Places, limit: int | None = None, say: Say = print
) -> None:
    """The written files' predictions on `test`, and what they refuse, stored in `places.test`."""
    test = select(records, "test", limit)
    identity = decisions_hash(bundle.manifest)
    origin = origin_of(identity, test)
    if stored_for(places.test, origin):
        return
    make_writable_folder(places.test)
    if stored_for(places.results, origin):
        say(f"these networks and rules have answered before: taken from {places.results}")
        for name in (*(f"{stem}{SUFFIX}" for stem, _ in REPORTED), TRIALS_FILE, ORIGIN):
            shutil.copyfile(places.results / name, places.test / name)
        return
    (places.test / ORIGIN).unlink(missing_ok=True)
    what = f"{bundle.manifest.name} {bundle.manifest.version}"
    enter(places.ledger, what, identity, test, "python -m trainer bundle", "the one look for the bundle's report")
    say(f"answering {len(test)} pictures of the test split; {places.ledger} says so")
    rules, files = Rules.of_manifest(bundle.manifest), open_onnx(bundle.path)
    masked = [record for record in test if record.mask_path is not None]
    for stem, roi in REPORTED:
        write_stem(places.test, stem, list(predict(test if roi == "predicted" else masked, rules, files, roi=roi)))
    trials = spread(masked, _at_most(TRIAL_PICTURES, limit))
    spoilt, bare = spoil(trials, rules, files.segment), try_bare_skin(trials, rules, files.segment)
    write_trials(places.test / TRIALS_FILE, [*spoilt, *bare, *try_negatives(rules, files.segment)])
    mark(places.test, origin)


def report(bundle: Bundle, unseen: Sequence[Prediction], places: Places, say: Say = print) -> Manifest:
    """Tables and figures from the stored answers; publishes the bundle with its figures and card.

    Args:
        bundle: as written.
        unseen: the calibrated predictions that its choices rest on, kept beside the others.
        places: `test` is read, `results` and `out` are written.
        say: receives progress in sentences.
    """
    make_writable_folder(places.results)
    for file in sorted(places.test.iterdir()):
        shutil.copyfile(file, places.results / file.name)
    if places.probe.is_file():
        shutil.copyfile(places.probe, places.results / places.probe.name)
    write_stem(places.results, bundle.manifest.calibration.fitted_on, unseen)
    reported = write_tables(places.results, bundle.manifest)
    manifest, card = measured(places.results, bundle.manifest, reported)
    manifest = publish(bundle.path, places.out, manifest, card)
    say(f"{places.out}: {sum(entry.bytes for entry in manifest.files.values()) / 1e6:.1f} MB")
    return manifest


def write_tables(results: Path, manifest: Manifest) -> Reported:
    """See `trainer.report.tables.write_tables`; with the papers' protocol where a comparison of it is stored."""
    return tables.write_tables(results, manifest, papers_table(manifest.name, leaking_rows(manifest.name)))


# Data


def records_of(recipe: BundleRecipe, folders: Sequence[Path]) -> list[Record]:
    """The pictures of the folders, which must hold every source that the recipe names, and may hold external ones.

    Raises:
        DataError: a source is missing or cannot calibrate the bundle (`trainer.bundle.sources.unfit_sources`), or
            pictures contradict each other (`trainer.data.sources.read_sources`).
    """
    records = read_sources(folders)
    for error in unfit_sources(recipe, records):
        raise error
    return records


def _known(records: Sequence[Record]) -> list[Record]:
    """All but `test`."""
    parts = standard_split(records)
    return [*parts["train"], *parts["val"]]


def _origin(recipe: BundleRecipe, networks: Networks) -> Origin:
    """What answers depend on beside the data."""
    rules: tuple[object, ...] = (FORMAT, recipe.to_dict()["roi"], recipe.views, recipe.store)
    if recipe.familiarity:
        rules = (*rules, familiarity.FORMAT)
    return {"networks": networks.digest(), "rules": digest(rules)}


def _data(records: Sequence[Record], limit: int | None) -> Origin:
    return {"data": digest_records(_known(records)), "limit": str(limit)}


def _at_most(count: int, limit: int | None) -> int:
    return count if limit is None else min(count, limit)
