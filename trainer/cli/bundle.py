"""Commands that make, evaluate and report bundles."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trainer.bundle.parts import Places

RESULTS = Path(__file__).parents[1] / "results"

Data = Annotated[Path, typer.Option(help="Folder of HAM10000: metadata.csv, images/, masks/.")]
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


def evaluate(
    data: Data,
    bundle: Annotated[str | None, typer.Option(help="Path or name of a bundle: its ONNX files are run.")] = None,
    segmenter: Annotated[
        Path | None, typer.Option(help="Checkpoint, with --classifier and instead of --bundle.")
    ] = None,
    classifier: Annotated[Path | None, typer.Option(help="Checkpoint, with --segmenter.")] = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    true_roi: Annotated[bool, typer.Option("--true-roi", help="Crop around the true masks.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the per-image predictions to this Parquet file.")] = None,
    views: Views = 1,
    folds: Folds = None,
    limit: Limit = None,
) -> None:
    """Run the serving path over a split and print the table of figures.

    Checkpoints have no operating points yet: theirs are chosen on the validation split first.
    """
    from trainer.bundle.system import System
    from trainer.choices.choose import choose
    from trainer.data.ham10000 import MELANOMA, read_ham10000
    from trainer.errors import TrainerError
    from trainer.report.markdown import to_markdown
    from trainer.report.summary import summarise
    from trainer.scoring.answers import answer_unseen
    from trainer.scoring.networks import open_onnx
    from trainer.scoring.predict import Rules, predict, select
    from trainer.scoring.predictions import write_predictions
    from trainer.training.checkpoint import load_checkpoint
    from trainer.training.folds import load_folds

    records = read_ham10000(data)
    if bundle is not None and segmenter is None and classifier is None:
        from edge_infer.bundle.store import load_bundle

        loaded = load_bundle(bundle)
        manifest = loaded.manifest
        rules, networks = Rules.of_manifest(manifest), open_onnx(loaded.path)
        points, default = manifest.operating_points, manifest.default_operating_point
    elif bundle is None and segmenter is not None and classifier is not None:
        system = System(load_checkpoint(segmenter), load_checkpoint(classifier), views)
        crossed = load_folds(classifier.parent, system.classifier, records, folds)
        choices, _ = choose(answer_unseen(system.networks(), system.rules(), records, crossed, limit, views))
        rules = dataclasses.replace(
            system.rules(), mask=choices.mask, quality=choices.quality, dermoscopy=choices.dermoscopy
        )
        networks = system.networks(choices.calibration.temperature)
        points, default = choices.operating_points, choices.default_operating_point
    else:
        raise TrainerError("It is not clear what to evaluate.", "Give --bundle, or both --segmenter and --classifier.")
    found = list(predict(select(records, split, limit), rules, networks, roi="truth" if true_roi else "predicted"))
    if out is not None:
        write_predictions(out, found)
    summary = summarise(found, rules.labels, MELANOMA, points, default)
    typer.echo(to_markdown(summary, f"Figures on {split}", points))


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
    from trainer.bundle.parts import Training
    from trainer.bundle.recipe import load_bundle_recipe
    from trainer.pipeline import make_bundle, records_of

    recipe = load_bundle_recipe(name)
    training = Training(runs, init_weights, epochs, limit, threads, cache, device)
    places = _places(recipe.name, runs, out, results)
    make_bundle(recipe, records_of(recipe, data), training, places, typer.echo)


def choose(
    name: Annotated[str, typer.Argument(help="As of `bundle`.")],
    runs: Runs = Path("runs"),
) -> None:
    """Choose temperature and operating points again from a bundle's stored answers: no network, no picture."""
    from trainer.bundle.recipe import load_bundle_recipe
    from trainer.choices.choose import choose as choose_from
    from trainer.pipeline import describe, stored_answers, trained

    recipe = load_bundle_recipe(name)
    choices, _ = choose_from(stored_answers(recipe, trained(recipe, runs), _places(recipe.name, runs)))
    describe(choices, typer.echo)


def _places(name: str, runs: Path, out: Path | None = None, results: Path | None = None) -> Places:
    from trainer.bundle.parts import Places

    return Places(runs / "bundles" / name, out or Path("exported") / name, results or RESULTS / name)


def report(
    bundle: Annotated[str, typer.Argument(help="Path or name of a bundle.")],
    results: Results = None,
    check: Annotated[bool, typer.Option("--check", help="Fail if the model card or a figure says otherwise.")] = False,
) -> None:
    """Make every table, figure and the model card again from the stored predictions, without running a network."""
    from edge_infer.bundle.manifest import MODEL_CARD
    from edge_infer.bundle.store import load_bundle
    from edge_infer.files import write_atomically
    from trainer.bundle.write import seal
    from trainer.errors import TrainerError
    from trainer.papers.against_goals import overview
    from trainer.pipeline import write_tables
    from trainer.report.figures import FIGURES
    from trainer.report.model_card import model_card
    from trainer.report.tables import read_refused
    from trainer.scoring.plots import figure_data, same_numbers

    loaded = load_bundle(bundle)
    folder = results or RESULTS / loaded.manifest.name
    before = {name: figure_data(folder / name) for name in FIGURES} if check else {}
    summaries = write_tables(folder, loaded.manifest)
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
    card = model_card(loaded.manifest, [summaries["test"]], read_refused(folder, loaded.manifest))
    path = loaded.path / MODEL_CARD
    if path.read_text(encoding="utf-8") == card:
        return
    if check:
        raise TrainerError(
            f"{path} does not follow from the predictions in {folder}.", "Run this without --check and look at it."
        )
    path.write_text(card, encoding="utf-8")
    seal(loaded.path, loaded.manifest)
    typer.echo(f"{path} is new, and its hash in the manifest")


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
    data: Data,
    variants: Annotated[str, typer.Option("--with", metavar="NAMES", help="As of `export`, for example int8.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the copy; default the bundle's own.")] = None,
    leave_out_failed: LeaveOut = False,
    limit: Limit = None,
    results: Results = None,
) -> None:
    """Add int8 or Core ML variants to a finished bundle, each proven on validation pictures.

    Where the classifier learnt from those, the folder of results says what networks that left them out answered.
    """
    from edge_infer.bundle.store import load_bundle
    from trainer.bundle.extend import extend_bundle
    from trainer.bundle.variants import Request, parse_names
    from trainer.data.ham10000 import read_ham10000
    from trainer.pipeline import VARIANT_PICTURES, unseen_answers
    from trainer.scoring.columns import SUFFIX
    from trainer.scoring.predict import select
    from trainer.scoring.predictions import read_predictions
    from trainer.training.folds import OUT_OF_FOLD

    loaded, records = load_bundle(bundle), read_ham10000(data)
    training = select(records, "train", min(limit or VARIANT_PICTURES, VARIANT_PICTURES))
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
    for command in (evaluate, export, bundle, choose, report, recover, add_variants, drop_variants):
        app.command()(command)
