"""Commands about networks and pictures of many sources: `python -m trainer score`, `leave-out`, `probe`, and others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trainer.cli.readings import Reason, note_reading

CHOICES = Path(__file__).parents[1] / "results" / "choices"
LEFT_OUT = Path(__file__).parents[1] / "results" / "left-out"
TEACHERS = Path(__file__).parents[1] / "results" / "teachers"

Data = Annotated[list[Path], typer.Option(help="Folder of a data set; may be repeated.")]
Cache = Annotated[Path, typer.Option(help="Folder for decoded pictures, reused by later runs.")]


def score(
    checkpoints: Annotated[list[Path], typer.Argument(help="best.pt or last.pt of a run, or of several.")],
    data: Data,
    split: Annotated[str, typer.Option(help="Protocol that names the parts, see `compare`.")] = "column",
    part: Annotated[str, typer.Option(help="train, val, test, or several joined by +.")] = "val",
    source: Annotated[list[str] | None, typer.Option(help="Only this source; may be repeated.")] = None,
    masks: Annotated[bool, typer.Option("--masks", help="Only pictures with masks.")] = False,
    joined: Annotated[
        bool, typer.Option("--together", help="Also the mean of all these classifiers' logits, as one network.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="File to write: .csv, one row a picture of the one network, or .md, the tables.")
    ] = None,
    reason: Reason = "scored by hand",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    cache: Cache = Path("cache"),
) -> None:
    """Score networks by themselves on labelled pictures, with a row per source; crops come from the true masks."""
    import torch

    from edge_infer.files import write_atomically
    from trainer.data.sources import read_sources
    from trainer.data.splits import named_split, parse_split_name
    from trainer.errors import DataError, TrainerError
    from trainer.scoring.alone import figures, table, together, write_scores
    from trainer.scoring.alone import score as run
    from trainer.scoring.origin import digest_files
    from trainer.training.checkpoint import load_checkpoint

    several_rows = len(checkpoints) > 1 or joined
    if out is not None and (out.suffix not in (".csv", ".md") or (out.suffix == ".csv" and several_rows)):
        raise TrainerError(f"{out} cannot hold this.", "Name a .md file, or a .csv file for a single network.")
    if threads:
        torch.set_num_threads(threads)
    known = read_sources(data)
    parts = named_split(known, parse_split_name(split))
    if unknown := set(part.split("+")) - set(parts):
        raise DataError(f"There is no part '{sorted(unknown)[0]}'.", f"Choose from {', '.join(parts)}.")
    chosen = [r for name in part.split("+") for r in parts[name] if not source or r.source in source]
    tables, several = [], []
    for checkpoint in checkpoints:
        found = load_checkpoint(checkpoint)
        needs_mask = masks or found.recipe.task != "classification"
        records = [record for record in chosen if record.mask_path or not needs_mask]
        note_reading("score", str(checkpoint), digest_files((checkpoint,)), known, records, reason)
        scores = run(found, records, cache)
        if out is not None and out.suffix == ".csv":
            write_scores(scores, out)
        tables.append(
            f"`{checkpoint}`, {found.recipe.name}, epoch {found.epoch}, on {part}:\n\n{table(figures(scores))}"
        )
        typer.echo(tables[-1])
        several.append(scores)
    if joined:
        tables.append(f"all {len(several)} together, on {part}:\n\n{table(figures(together(several)))}")
        typer.echo(tables[-1])
    if out is not None and out.suffix == ".md":
        write_atomically(out, "\n".join(tables).encode())


def out_of_fold(
    runs: Annotated[list[Path], typer.Argument(help="Runs of cross-fitted recipes, each with its fold-1, fold-2, ...")],
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder: a Parquet file for each run, and README.md.")] = TEACHERS,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only so many pictures of each fold: a trial.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    cache: Cache = Path("cache"),
) -> None:
    """Let cross-fitted networks answer the pictures that they left out, and store their probabilities.

    What a student would be told of its training pictures: run by run, by source, and the mean of the runs.
    """
    import torch

    from edge_infer.files import write_atomically
    from trainer.data.sources import read_sources
    from trainer.papers.sources.rows import store_scores
    from trainer.papers.sources.teachers import to_markdown, training_rows
    from trainer.scoring import cross_fitted as folds
    from trainer.scoring.alone import figures

    if threads:
        torch.set_num_threads(threads)
    records = read_sources(data)
    found, trained = {}, []
    for run in runs:
        networks = folds.open_folds(run)
        trained += training_rows(run, networks)
        name = networks[0].recipe.name
        found[name] = folds.out_of_fold(networks, records, limit, cache)
        typer.echo(store_scores(found[name], out / name))
    if len(found) > 1:
        found["mean of these"] = folds.mean(list(found.values()))
    page = to_markdown({name: figures(scores) for name, scores in found.items()}, trained)
    write_atomically(out / "README.md", page.encode())
    typer.echo(page)


def leave_out(
    source: Annotated[str, typer.Argument(help="The source that is not shown.")],
    recipe: Annotated[str, typer.Argument(help="Name of a recipe in trainer/recipes, or path of a TOML file.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the run; an interrupted one there goes on.")],
    results: Annotated[Path, typer.Option(help="Folder of rows and of their table.")] = LEFT_OUT,
    init_weights: Annotated[Path | None, typer.Option(help="State dict to start from.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only so many pictures of each part: a trial.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    cache: Cache = Path("cache"),
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Train without a source, and report on it beside the validation pictures of the others."""
    import torch

    from trainer.data.sources import read_sources
    from trainer.papers.leave_out import leave_out as run
    from trainer.papers.sources.left_out import keep
    from trainer.recipe import load_recipe
    from trainer.scoring.alone import figures, table

    if threads:
        torch.set_num_threads(threads)
    options = {"weights": init_weights, "limit": limit, "cache": cache, "device": device}
    known = load_recipe(recipe)
    found = run(known, source, read_sources(data), out, **options)  # type: ignore[arg-type]
    path = keep(results, known, source, out, found, init_weights)
    by_source = figures(found.scores)
    typer.echo(table({f"{name} (left out)" if name == source else name: row for name, row in by_source.items()}))
    typer.echo(path)


def compare_sources(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe in trainer/recipes, or path of a TOML file.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of results; the recipe gets a folder in it.")] = CHOICES,
    runs: Annotated[Path, typer.Option(help="Folder of the training runs; interrupted ones go on.")] = Path(
        "runs/choices"
    ),
    only: Annotated[list[str] | None, typer.Option(help="Only this arm; may be given several times.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Of training; may be given several times.")] = None,
    left_out: Annotated[
        str | None, typer.Option("--leave-out", help="A source that no arm sees, on which all are judged too.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Overrides the recipe's epochs.")] = None,
    size: Annotated[int | None, typer.Option(min=16, help="Side of the networks' input in pixels.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Learn from so many pictures: a trial.")] = None,
    init_weights: Annotated[
        Path | None,
        typer.Option(help="State dict that every arm starts from, or a folder of ImageNet weights, each arm's own."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    cache: Cache = Path("cache"),
) -> None:
    """Change one thing of a recipe over sources at a time, and judge it on other lesions and on a source left out.

    Arms: other crop rules or styles of masks, one source alone, no camera augmentation, colour constancy, sources as
    they come; with a folder of weights, every other classifier that has a file there too. No `test` is read. Rows that
    are done are skipped, so the same command completes a table.
    """
    import torch

    from trainer.data.sources import read_sources
    from trainer.papers.plan import Budget
    from trainer.papers.sources.run import SourcesJob
    from trainer.papers.sources.run import compare_sources as run
    from trainer.recipe import load_recipe

    if threads:
        torch.set_num_threads(threads)
    job = SourcesJob(
        recipe=load_recipe(recipe),
        records=read_sources(data),
        out=out,
        runs=runs,
        seeds=tuple(seed or (0, 1)),
        only=tuple(only or ()),
        left_out=left_out,
        budget=Budget(epochs=epochs, limit=limit, size=size),
        weights=init_weights,
        cache=cache,
    )
    typer.echo(run(job, lambda text: typer.echo(text, err=True)))


def probe(
    checkpoint: Annotated[Path, typer.Argument(help="best.pt or last.pt of a classifier.")],
    data: Data,
    limit: Annotated[int | None, typer.Option(min=4, help="Use only so many pictures of each source.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    cache: Cache = Path("cache"),
) -> None:
    """Say how well a classifier's features tell the source of validation pictures; chance would be best."""
    import torch

    from trainer.data.sources import read_sources
    from trainer.data.splits import spread, standard_split
    from trainer.errors import DataError
    from trainer.scoring.alone import pooled_features
    from trainer.scoring.probe import source_probe
    from trainer.training.checkpoint import load_checkpoint

    if threads:
        torch.set_num_threads(threads)
    found = load_checkpoint(checkpoint)
    if found.recipe.task != "classification":
        raise DataError(f"{checkpoint} is no classifier.", "The probe reads what enters a classifier's last layer.")
    unseen = standard_split(read_sources(data))["val"]
    names = dict.fromkeys(record.source for record in unseen)
    records = [item for name in names for item in spread([r for r in unseen if r.source == name], limit)]
    result = source_probe(pooled_features(found.recipe, found.model, records, cache), records)
    each = ", ".join(f"{name} {share:.3f}" for name, share in result.recognised.items())
    typer.echo(f"source recognised: {result.balanced_accuracy:.3f}, by chance {result.chance:.3f} ({each})")


def framing(
    data: Data,
    arms: Annotated[
        list[Path] | None, typer.Option(help="Folder of `compare-sources` with a source left out; may be repeated.")
    ] = None,
    margin: Annotated[float, typer.Option(min=0, help="Of the crop, a fraction of the lesion's longer side.")] = 0.25,
    out: Annotated[Path | None, typer.Option(help="Markdown file to write.")] = None,
) -> None:
    """Say how well the lesion's share of the picture alone ranks melanoma, and where a rule of the crop gains.

    What the framing tells in the sources that teach, a network may lean on; a clinic that frames otherwise pays for it.
    """
    from edge_infer.files import write_atomically
    from trainer.data.sources import read_sources
    from trainer.data.splits import standard_split
    from trainer.papers.sources.framing import framings, to_markdown

    parts = standard_split(read_sources(data))
    records = [*parts["train"], *parts["val"]]
    page = to_markdown(records, framings(records, margin), margin, arms or ())
    if out is not None:
        write_atomically(out, page.encode())
    typer.echo(page)


def restore(
    checkpoint: Annotated[Path, typer.Argument(help="What `recover` wrote.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="Checkpoint to write.")],
    pictures: Annotated[int, typer.Option(min=32, help="Training pictures to take the statistics from.")] = 512,
    cache: Cache = Path("cache"),
) -> None:
    """Give a recovered network the statistics of its batch norms again, so that it can be trained on."""
    import torch

    from trainer.data.sources import read_sources, taught
    from trainer.data.splits import spread, standard_split
    from trainer.training.checkpoint import load_checkpoint, read_file, save_atomic
    from trainer.training.loop import serving_batch
    from trainer.training.norms import restore_statistics
    from trainer.training.tasks import serving_data

    found = load_checkpoint(checkpoint)
    records = spread(taught(found.recipe, standard_split(read_sources(data))["train"]), pictures)
    decoded = serving_data(found.recipe, records, cache)
    rows = [torch.arange(start, min(start + 16, len(decoded))).numpy() for start in range(0, len(decoded), 16)]
    batches = [serving_batch(found.recipe, decoded, chosen).images for chosen in rows]
    before = found.model(batches[0])
    count = restore_statistics(found.model, batches)
    deviation = float((found.model(batches[0]) - before).abs().max())
    out.parent.mkdir(parents=True, exist_ok=True)
    save_atomic(read_file(checkpoint) | {"weights": found.model.state_dict()}, out)
    typer.echo(f"{out}: {count} batch norms, logits within {deviation:.1g}")


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    for command in (score, out_of_fold, leave_out, compare_sources, probe, framing, restore):
        app.command()(command)
