"""Commands that make, evaluate and report bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RESULTS = Path(__file__).parents[1] / "results"

Data = Annotated[Path, typer.Option(help="Folder of HAM10000: metadata.csv, images/, masks/.")]
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
    str,
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
    out: Annotated[Path | None, typer.Option(help="Write the per-image predictions to this CSV file.")] = None,
    views: Views = 1,
    folds: Folds = None,
    limit: Limit = None,
) -> None:
    """Run the serving path over a split and print the table of figures.

    Checkpoints have no operating points yet: theirs are chosen on the validation split first.
    """
    from trainer.bundle.provenance import MELANOMA
    from trainer.bundle.system import System
    from trainer.choices.choose import choose
    from trainer.data.ham10000 import read_ham10000
    from trainer.errors import TrainerError
    from trainer.report.markdown import to_markdown
    from trainer.report.summary import summarise
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
        choices, _ = choose(system, records, limit, load_folds(classifier.parent, system.classifier, records, folds))
        first, second = system.stages()
        rules = Rules(
            first.input, second.input, system.labels, choices.mask, system.roi, choices.quality, choices.dermoscopy
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
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the bundle; replaced when all is done.")],
    name: Annotated[str, typer.Option(help="The bundle's name.")] = "mobile",
    results: Results = None,
    views: Views = 1,
    folds: Folds = None,
    limit: Limit = None,
    variants: With = None,
    leave_out_failed: LeaveOut = False,
    store: Stored = "float16",
) -> None:
    """Turn two checkpoints into a bundle: calibrate on val, export, pass the parity gates, report on test."""
    from trainer.bundle.storage import parse_store
    from trainer.bundle.variants import parse_names
    from trainer.pipeline import assemble

    names, stored = parse_names(variants), parse_store(store)
    target = results or RESULTS / name
    say = typer.echo
    assemble(name, segmenter, classifier, data, out, target, limit, views, folds, say, names, leave_out_failed, stored)


def bundle(
    name: Annotated[
        str, typer.Argument(help="Name of the bundle; its recipes are NAME-segmenter and NAME-classifier.")
    ],
    data: Data,
    init_weights: Annotated[Path | None, typer.Option(help="ImageNet weights for both encoders.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder of the training runs; finished or interrupted ones go on.")] = Path(
        "runs"
    ),
    out: Annotated[Path | None, typer.Option(help="Folder of the bundle; default exported/NAME.")] = None,
    results: Results = None,
    views: Views = 1,
    folds: Folds = None,
    cache: Annotated[Path, typer.Option(help="Folder for decoded pictures.")] = Path("cache"),
    limit: Limit = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Overrides both recipes' epochs: a trial.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    device: Annotated[str, typer.Option(help="Where to train: cpu or cuda.")] = "cpu",
    variants: With = None,
    leave_out_failed: LeaveOut = False,
    store: Stored = "float16",
) -> None:
    """Everything in one resumable command: train both stages, calibrate, export, evaluate."""
    from trainer.bundle.storage import parse_store
    from trainer.bundle.variants import parse_names
    from trainer.cli.app import train
    from trainer.pipeline import assemble, recipe_chain
    from trainer.recipe import load_recipe, stage_recipes
    from trainer.training.checkpoint import BEST
    from trainer.training.folds import fold_folder, used_folds

    names, stored = parse_names(variants), parse_store(store)
    finals = stage_recipes(name)
    for recipe, weights in (step for final in finals for step in recipe_chain(final, runs, init_weights)):
        for fold in (*used_folds(load_recipe(recipe), folds), None):
            train(
                recipe,
                data,
                runs / recipe if fold is None else fold_folder(runs / recipe, fold),
                init_weights=weights,
                fold=fold,
                epochs=epochs,
                limit=limit,
                threads=threads,
                cache=cache,
                device=device,
            )
    segmenter, classifier = (runs / final / BEST for final in finals)
    target, tables = out or Path("exported") / name, results or RESULTS / name
    say = typer.echo
    assemble(
        name, segmenter, classifier, data, target, tables, limit, views, folds, say, names, leave_out_failed, stored
    )


def report(
    bundle: Annotated[str, typer.Argument(help="Path or name of a bundle.")],
    results: Results = None,
    check: Annotated[bool, typer.Option("--check", help="Fail if the model card or a figure says otherwise.")] = False,
) -> None:
    """Make every table, figure and the model card again from the stored predictions, without running a network."""
    from edge_infer.bundle.store import load_bundle
    from edge_infer.files import write_atomically
    from trainer.bundle.write import seal
    from trainer.errors import TrainerError
    from trainer.papers.against_goals import overview
    from trainer.pipeline import read_refused, write_tables
    from trainer.report.figures import FIGURES
    from trainer.report.model_card import MODEL_CARD, model_card
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
) -> None:
    """Add int8 or Core ML variants to a finished bundle, each proven on validation pictures."""
    from edge_infer.bundle.store import load_bundle
    from trainer.bundle.extend import extend_bundle
    from trainer.bundle.variants import Request, parse_names
    from trainer.data.ham10000 import read_ham10000
    from trainer.pipeline import VARIANT_PICTURES
    from trainer.scoring.predict import select

    loaded, records = load_bundle(bundle), read_ham10000(data)
    training, validation = (
        select(records, split, min(limit or VARIANT_PICTURES, VARIANT_PICTURES)) for split in ("train", "val")
    )
    request = Request(parse_names(variants), training, validation, leave_out_failed, typer.echo)
    target = out or loaded.path
    manifest = extend_bundle(loaded, target, request)
    typer.echo(f"{target}: {sum(entry.bytes for entry in manifest.files.values()) / 1e6:.1f} MB")


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    for command in (evaluate, export, bundle, report, recover, add_variants):
        app.command()(command)
