"""Commands that make, evaluate and report bundles."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trainer.bundle.parts import Places

RESULTS = Path(__file__).parents[1] / "results"
LEDGER_NAME = "test-readings.ndjson"

Sources = Annotated[
    list[Path], typer.Option("--data", help="Folder of a data set that the bundle's recipe names; may be given again.")
]
Runs = Annotated[Path, typer.Option(help="Folder of the training runs; finished or interrupted ones go on.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Use only so many pictures of each split: a trial.")]
Views = Annotated[int, typer.Option(help="Mirrored copies of the crop that the classifier averages over: 1, 2 or 4.")]
With = Annotated[
    str | None,
    typer.Option(
        "--with",
        metavar="NAMES",
        help="Variants to add, separated by commas, each with its own parity gates: int8 (ONNX for x86), int8-arm, "
        "coreml-float16 (or just coreml), coreml-float32, coreml-int8 and coreml-palette6 (smaller weights).",
    ),
]
LeaveOut = Annotated[
    bool,
    typer.Option(
        "--leave-out-failed",
        help="Leave out a variant that fails a gate and say why in the manifest; without this nothing is written.",
    ),
]
Stored = Annotated[
    str | None,
    typer.Option(
        "--store",
        help="How the ONNX files store weights: float16 halves them, int8 quarters them, both rounded once and gated; "
        "float32 leaves them as they are. All compute in float32.",
    ),
]
Results = Annotated[Path | None, typer.Option(help="Folder of predictions and tables; default trainer/results/NAME.")]


Folds = Annotated[
    int | None,
    typer.Option(min=1, help="Calibrate a cross-fitted classifier on only the first so many of its recipe's folds."),
]


Many = Annotated[list[Path], typer.Option("--data", help="Folder of a data set; may be given again.")]


def evaluate(
    data: Many,
    bundle: Annotated[str | None, typer.Option(help="Path or name of a bundle: its ONNX files are run.")] = None,
    segmenter: Annotated[
        Path | None, typer.Option(help="Checkpoint, with --classifier and instead of --bundle.")
    ] = None,
    classifier: Annotated[Path | None, typer.Option(help="Checkpoint, with --segmenter.")] = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    true_roi: Annotated[bool, typer.Option("--true-roi", help="Crop around the true masks.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the per-image predictions to this Parquet file, and its tables beside it."),
    ] = None,
    source: Annotated[list[str] | None, typer.Option(help="Only this source; may be given again.")] = None,
    size_exempt: Annotated[
        list[str] | None, typer.Option(help="Source that is scored without the size limit; may be given again.")
    ] = None,
    assumed: Annotated[
        float | None,
        typer.Option("--prior", help="Share of melanoma that the probabilities assume, where the bundle does not say."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why `test` is read, for the ledger.")] = "evaluated by hand",
    ledger: Annotated[
        Path | None, typer.Option(help=f"Ledger of readings of `test`; default trainer/results/{LEDGER_NAME}.")
    ] = None,
    views: Views = 1,
    folds: Folds = None,
    limit: Limit = None,
) -> None:
    """Run the serving path over a split and print the table of figures, with a row per source where there are several.

    Checkpoints have no operating points yet: theirs are chosen on the validation split first. A reading of `test` is
    written to the ledger before a picture is opened; what a bundle's networks and rules have answered before is taken
    from its results.
    """
    from edge_infer.files import write_atomically
    from trainer.bundle.recipe import learnt_by
    from trainer.bundle.system import System
    from trainer.choices.choose import choose
    from trainer.data.ham10000 import MELANOMA
    from trainer.data.sources import read_sources
    from trainer.errors import TrainerError
    from trainer.report.markdown import to_markdown
    from trainer.report.sources import by_source, sources_markdown
    from trainer.report.summary import summarise
    from trainer.scoring.answers import answer_unseen
    from trainer.scoring.columns import SUFFIX
    from trainer.scoring.ledger import LEDGER, among_stored, decisions_hash, enter, of_test
    from trainer.scoring.networks import open_onnx
    from trainer.scoring.origin import digest, digest_files
    from trainer.scoring.predict import Rules, predict, select
    from trainer.scoring.predictions import read_predictions, write_predictions
    from trainer.training.checkpoint import load_checkpoint
    from trainer.training.folds import OUT_OF_FOLD, load_folds

    records = read_sources(data)
    if bundle is not None and segmenter is None and classifier is None:
        from edge_infer.bundle.store import load_bundle

        loaded = load_bundle(bundle)
        manifest = loaded.manifest
        rules, networks = Rules.of_manifest(manifest), open_onnx(loaded.path)
        points, default = manifest.operating_points, manifest.default_operating_point
        identity, what = decisions_hash(manifest), f"{manifest.name} {manifest.version}"
        prior, knows = manifest.calibration.prior, manifest.calibration.fitted_on == OUT_OF_FOLD
        learnt = learnt_by(manifest)
    elif bundle is None and segmenter is not None and classifier is not None:
        system = System(load_checkpoint(segmenter), load_checkpoint(classifier), views)
        crossed = load_folds(classifier.parent, system.classifier, records, folds)
        choices, _ = choose(answer_unseen(system.networks(), system.rules(), records, crossed, limit, views))
        rules = dataclasses.replace(
            system.rules(), mask=choices.mask, quality=choices.quality, dermoscopy=choices.dermoscopy
        )
        networks = system.networks(choices.calibration.temperature, choices.calibration.bias)
        points, default = choices.operating_points, choices.default_operating_point
        identity, what = digest([digest_files((segmenter, classifier)), choices, views]), f"{segmenter} + {classifier}"
        prior, learnt, knows = choices.calibration.prior, (), bool(crossed)
    else:
        raise TrainerError("It is not clear what to evaluate.", "Give --bundle, or both --segmenter and --classifier.")
    if size_exempt and set(size_exempt) != set(rules.size_exempt):
        rules = dataclasses.replace(rules, size_exempt=tuple(size_exempt))
        identity = digest([identity, sorted(size_exempt)])
    chosen = [
        r for r in select(records, split, limit) if (not source or r.source in source) and (r.mask_path or not true_roi)
    ]
    if not chosen:
        raise TrainerError("No picture is left to evaluate.", "Name a source that the folders hold, or another split.")
    stored = None
    if seen := of_test(records, chosen):
        if bundle is not None and not true_roi and (RESULTS / manifest.name / f"test{SUFFIX}").is_file():
            folder = RESULTS / manifest.name
            stored = among_stored(folder, identity, chosen, read_predictions(folder / f"test{SUFFIX}"))
        if stored is None:
            enter(ledger or RESULTS / LEDGER, what, identity, seen, "python -m trainer evaluate", reason)
        else:
            typer.echo(f"These networks and rules have answered before: taken from {folder}.\n")
    found = stored or list(predict(chosen, rules, networks, roi="truth" if true_roi else "predicted"))
    title = f"Figures on {split}"
    if len({p.source for p in found}) > 1:
        rows = by_source(found, rules.labels, points, prior or assumed, learnt)
        text = sources_markdown(rows, title, points, exempt=rules.size_exempt)
    else:
        text = to_markdown(summarise(found, rules.labels, MELANOMA, points, default), title, points)
    if knows and split != "test":
        text = f"The classifier has learnt from `train` and `val` of {', '.join(learnt)}: no measure there.\n\n{text}"
    if out is not None:
        write_predictions(out, found)
        write_atomically(out.with_suffix(".md"), (f"# {what}\n\n{text}").encode())
    typer.echo(text)


def export(
    segmenter: Annotated[Path, typer.Option(help="Checkpoint of the segmenter (best.pt).")],
    classifier: Annotated[Path, typer.Option(help="Checkpoint of the classifier (best.pt).")],
    data: Sources,
    out: Annotated[Path, typer.Option(help="Folder of the bundle; replaced when all is done.")],
    recipe: Annotated[
        str, typer.Option(help="Bundle recipe: a name in trainer/recipes/bundles, or path of a TOML file.")
    ] = "mobile",
    name: Annotated[str | None, typer.Option(help="The bundle's name, if not the recipe's.")] = None,
    runs: Runs = Path("runs"),
    results: Results = None,
    views: Annotated[int | None, typer.Option(help="In place of the recipe's: 1, 2 or 4.")] = None,
    folds: Folds = None,
    limit: Limit = None,
    variants: With = None,
    leave_out_failed: Annotated[
        bool | None, typer.Option("--leave-out-failed/--all-or-nothing", help="In place of the recipe's.")
    ] = None,
    store: Stored = None,
) -> None:
    """Turn two checkpoints into a bundle: calibrate on val, export, pass the parity gates, report on test.

    What is not given here is as the bundle's recipe says.
    """
    from trainer.bundle.parts import networks_of
    from trainer.bundle.recipe import load_bundle_recipe
    from trainer.pipeline import assemble, records_of

    changes: dict[str, object] = {
        "views": views,
        "folds": folds,
        "store": store,
        "leave_out_failed": leave_out_failed,
        "name": name,
    }
    changes |= {"variants": None if variants is None else [part.strip() for part in variants.split(",")]}
    chosen = load_bundle_recipe(recipe).changed(**changes)
    places = _places(chosen.name, runs, out, results)
    networks = networks_of(chosen, segmenter, classifier)
    assemble(chosen, networks, records_of(chosen, data), places, limit, typer.echo)


def bundle(
    name: Annotated[
        str, typer.Argument(help="Name of a bundle recipe in trainer/recipes/bundles, or path of a TOML file.")
    ],
    data: Sources,
    init_weights: Annotated[
        Path | None, typer.Option(help="Folder of the weight files that the recipe names, or the one file it needs.")
    ] = None,
    runs: Runs = Path("runs"),
    out: Annotated[Path | None, typer.Option(help="Folder of the bundle; default exported/NAME.")] = None,
    results: Results = None,
    cache: Annotated[Path, typer.Option(help="Folder for decoded pictures.")] = Path("cache"),
    limit: Limit = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Overrides the recipes' epochs: a trial.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    device: Annotated[str, typer.Option(help="Where to train: cpu or cuda.")] = "cpu",
) -> None:
    """Everything in one resumable command: train both stages, answer, choose, write, report.

    What the bundle is stands in its recipe. Started again, the command goes on where it stopped.
    """
    import torch

    from trainer.bundle.parts import Training
    from trainer.bundle.recipe import load_bundle_recipe
    from trainer.pipeline import make_bundle, records_of

    if threads:
        torch.set_num_threads(threads)
    recipe = load_bundle_recipe(name)
    training = Training(runs, init_weights, epochs, limit, threads, cache, device)
    places = _places(recipe.name, runs, out, results)
    make_bundle(recipe, records_of(recipe, data), training, places, typer.echo)


def choose(
    name: Annotated[str, typer.Argument(help="As of `bundle`.")],
    runs: Runs = Path("runs"),
) -> None:
    """Choose calibration and operating points again from a bundle's stored answers: no network, no picture."""
    from trainer.bundle.recipe import load_bundle_recipe
    from trainer.choices.choose import choose as choose_from
    from trainer.pipeline import describe, stored_answers, trained

    recipe = load_bundle_recipe(name)
    answers = stored_answers(recipe, trained(recipe, runs), _places(recipe.name, runs))
    choices, _ = choose_from(answers, recipe.choosing)
    describe(choices, typer.echo)


def limits(
    bundle: Annotated[str, typer.Argument(help="Path or name of a bundle.")],
    data: Many,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many pictures of each source and split.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write the tables to this .md file.")] = None,
) -> None:
    """Fit the limits of quality again, with and without each source, and show what they refuse beside the bundle's own.

    Good pictures are those of `train` and `val`, spoilt ones are copies of `val`; no network runs, `test` stays closed.
    """
    from edge_infer.bundle.store import load_bundle
    from edge_infer.files import write_atomically
    from trainer.bundle.recipe import learnt_by
    from trainer.data.sources import read_sources
    from trainer.data.splits import spread
    from trainer.pipeline import TRIAL_PICTURES
    from trainer.report.limits import fit_limits, limits_markdown, measure_good
    from trainer.scoring.answers import MOST_OF_A_SOURCE
    from trainer.scoring.predict import Rules, select
    from trainer.scoring.trials import spoil

    manifest = load_bundle(bundle).manifest
    rules, records = Rules.of_manifest(manifest), read_sources(data)
    most = min(limit or MOST_OF_A_SOURCE, MOST_OF_A_SOURCE)
    validation = select(records, "val", limit)
    spec = rules.segmenter_input
    good = measure_good([*select(records, "train", most), *validation], spec.height, spec.width)
    shipped = f"{manifest.name} {manifest.version}", manifest.quality
    fits = fit_limits(good, shipped, learnt_by(manifest), rules.size_exempt)
    spoilt = spoil(spread([r for r in validation if r.mask_path], min(limit or TRIAL_PICTURES, TRIAL_PICTURES)), rules)
    text = limits_markdown(fits, good, spoilt, rules.size_exempt)
    if out is not None:
        write_atomically(out, text.encode())
    typer.echo(text)


def familiarity(
    segmenter: Annotated[Path, typer.Argument(help="Checkpoint of a segmenter: best.pt of its run.")],
    data: Many,
    strength: Annotated[
        list[float] | None,
        typer.Option(min=1e-9, help="Inverse of the fit's regularisation; may be repeated.", show_default="what ships"),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many pictures of each source and split.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write the tables to this .md file.")] = None,
) -> None:
    """Fit the score of familiarity without each source in turn, and show what it refuses of that source.

    Likewise without each kind of other pictures. `test` stays closed, of other pictures too.
    """
    import torch

    from edge_infer.files import write_atomically
    from trainer.choices.familiarity import STRENGTH
    from trainer.data.sources import read_sources
    from trainer.models.serving import ServingSegmenter
    from trainer.report.familiarity import left_out, left_out_markdown
    from trainer.scoring.familiarity import good_items, other_items, pool_items
    from trainer.training.checkpoint import load_checkpoint

    if threads is not None:
        torch.set_num_threads(threads)
    found, records = load_checkpoint(segmenter), read_sources(data)
    graph = ServingSegmenter(found.model, found.recipe.normalization)
    items = [*good_items(records, limit, unchanged=True), *other_items()]
    features = pool_items(graph, items, found.recipe.data.size)
    text = f"`{found.recipe.name}`\n\n" + left_out_markdown(list(left_out(features, tuple(strength or (STRENGTH,)))))
    if out is not None:
        write_atomically(out, text.encode())
    typer.echo(text)


def _places(name: str, runs: Path, out: Path | None = None, results: Path | None = None) -> Places:
    from trainer.bundle.parts import Places

    return Places(runs / "bundles" / name, out or Path("exported") / name, results or RESULTS / name)


def report(
    bundle: Annotated[str, typer.Argument(help="Path or name of a bundle.")],
    results: Results = None,
    check: Annotated[bool, typer.Option("--check", help="Fail if the model card or a figure says otherwise.")] = False,
) -> None:
    """Make every table, figure, the manifest's figures and the model card again, without running a network.

    All follows from the stored predictions.
    """
    from edge_infer.bundle.manifest import MANIFEST, MODEL_CARD
    from edge_infer.bundle.store import load_bundle
    from edge_infer.files import write_atomically
    from trainer.bundle.write import seal
    from trainer.errors import TrainerError
    from trainer.papers.against_goals import overview
    from trainer.pipeline import write_tables
    from trainer.report.tables import figure_names, measured
    from trainer.scoring.plots import figure_data, same_numbers

    loaded = load_bundle(bundle)
    folder = results or RESULTS / loaded.manifest.name
    before = {name: figure_data(folder / name) for name in figure_names(folder)} if check else {}
    reported = write_tables(folder, loaded.manifest)
    for name, data in before.items():
        if not same_numbers(data, figure_data(folder / name)):
            raise TrainerError(f"{folder / name} did not show the predictions beside it.", "It is drawn again now.")
    typer.echo(f"{folder / 'RESULTS.md'}, {folder / 'evaluation.json'}")
    if folder.parent == RESULTS:
        page, text = RESULTS / "README.md", overview(RESULTS)
        if check and (not page.is_file() or page.read_text(encoding="utf-8") != text):
            raise TrainerError(f"{page} did not show the bundles' results.", "Run this without --check and look at it.")
        write_atomically(page, text.encode())
        typer.echo(page)
    complete, card = measured(folder, loaded.manifest, reported)
    path = loaded.path / MODEL_CARD
    stale = [path] if path.read_text(encoding="utf-8") != card else []
    stale += [loaded.path / MANIFEST] if complete != loaded.manifest else []
    if not stale:
        return
    if check:
        raise TrainerError(
            f"{stale[0]} does not follow from the predictions in {folder}.", "Run this without --check and look at it."
        )
    path.write_text(card, encoding="utf-8")
    seal(loaded.path, complete)
    typer.echo(f"{' and '.join(map(str, stale))}: made again, and all hashes")


def recover(
    bundle: Annotated[str, typer.Argument(help="Path or name of a bundle that this trainer made.")],
    out: Annotated[Path, typer.Option(help="Folder; STAGE/best.pt is written below it.")],
    stage: Annotated[str, typer.Option(help="segmenter, classifier, or both.")] = "both",
) -> None:
    """Turn a bundle's networks back into checkpoints, to export them beside a new stage or to train on."""
    from edge_infer.bundle.store import load_bundle
    from trainer.bundle.recover import StageName, recover_checkpoint
    from trainer.errors import TrainerError
    from trainer.training.checkpoint import BEST

    chosen: dict[str, tuple[StageName, ...]] = {
        "segmenter": ("segmenter",),
        "classifier": ("classifier",),
        "both": ("segmenter", "classifier"),
    }
    if stage not in chosen:
        raise TrainerError(f"There is no stage '{stage}'.", f"Choose one of: {', '.join(chosen)}.")
    loaded = load_bundle(bundle)
    for name in chosen[stage]:
        deviation = recover_checkpoint(loaded, name, out / name / BEST)
        typer.echo(f"{out / name / BEST}: probabilities within {deviation:.1g} of the bundle's on noise")


def add_variants(
    bundle: Annotated[str, typer.Argument(help="Path or name of a bundle that this trainer made.")],
    data: Many,
    variants: Annotated[str, typer.Option("--with", metavar="NAMES", help="As of `export`, for example int8.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the copy; default the bundle's own.")] = None,
    leave_out_failed: LeaveOut = False,
    limit: Limit = None,
    results: Results = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
) -> None:
    """Add int8 or Core ML variants to a finished bundle, each proven on validation pictures.

    Where the classifier learnt from those, the folder of results says what networks that left them out answered.
    """
    import torch

    from edge_infer.bundle.store import load_bundle
    from trainer.bundle.extend import extend_bundle
    from trainer.bundle.recipe import learnt_by
    from trainer.bundle.variants import Request, parse_names
    from trainer.data.sources import read_sources
    from trainer.data.splits import spread
    from trainer.pipeline import VARIANT_PICTURES, unseen_answers
    from trainer.scoring.columns import SUFFIX
    from trainer.scoring.predict import select
    from trainer.scoring.predictions import read_predictions
    from trainer.training.folds import OUT_OF_FOLD

    if threads:
        torch.set_num_threads(threads)
    loaded = load_bundle(bundle)
    learnt = learnt_by(loaded.manifest)
    records = [record for record in read_sources(data) if not learnt or record.source in learnt]
    training = spread(select(records, "train"), min(limit or VARIANT_PICTURES, VARIANT_PICTURES))
    unseen = None
    if loaded.manifest.calibration.fitted_on == OUT_OF_FOLD:
        folder = results or RESULTS / loaded.manifest.name
        unseen = unseen_answers(read_predictions(folder / f"{OUT_OF_FOLD}{SUFFIX}"))
    validation = select(records, "val", limit)
    request = Request(parse_names(variants), training, validation, leave_out_failed, typer.echo, unseen)
    target = out or loaded.path
    manifest = extend_bundle(loaded, target, request)
    typer.echo(f"{target}: {sum(entry.bytes for entry in manifest.files.values()) / 1e6:.1f} MB")


def drop_variants(
    bundle: Annotated[str, typer.Argument(help="Path or name of a bundle that this trainer made.")],
    names: Annotated[list[str], typer.Argument(help="Variants to take out, as `edge-infer inspect` lists them.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the copy; default the bundle's own.")] = None,
) -> None:
    """Take variants out of a finished bundle, to make it smaller; `report` writes its model card again."""
    from edge_infer.bundle.store import load_bundle
    from trainer.bundle.drop import drop_variants as drop

    loaded = load_bundle(bundle)
    manifest = drop(loaded, names, out or loaded.path)
    typer.echo(f"{out or loaded.path}: {sum(entry.bytes for entry in manifest.files.values()) / 1e6:.1f} MB")


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    for command in (
        evaluate,
        export,
        bundle,
        choose,
        limits,
        familiarity,
        report,
        recover,
        add_variants,
        drop_variants,
    ):
        app.command()(command)
