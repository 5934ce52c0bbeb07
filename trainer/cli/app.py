"""`python -m trainer`: from labelled pictures to trained networks.

Each command is a function; modules of other stages add theirs with `app.command(...)` or `app.add_typer(...)` below.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from edge_infer.errors import EdgeInferError
from trainer.cli.bundle import register
from trainer.cli.compare import register as register_comparisons
from trainer.cli.data import data_app, preview
from trainer.cli.figures import figures_app
from trainer.cli.search import register as register_search
from trainer.cli.sources import register as register_sources
from trainer.errors import TrainerError

app = typer.Typer(
    name="trainer",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help=(
        "Train, compare and export the networks of edge-infer.\n\n"
        "A recipe (a small TOML file, see trainer/recipes) says everything that decides a run. A run lives in one "
        "folder: best.pt, last.pt, history.csv, curves.png. Start with:\n\n"
        "python -m trainer train mobile-classifier --data ../shared/data/ham10000 --out runs/mobile-classifier"
    ),
)


@app.callback()
def _one_process(context: typer.Context) -> None:
    processes = int(os.environ.get("WORLD_SIZE", "1"))  # torchrun sets it
    if context.invoked_subcommand != "train" and processes > 1:
        raise TrainerError(
            f"torchrun has started {processes} processes of '{context.invoked_subcommand}'.",
            "Only 'train' divides its work among processes: run it without torchrun.",
        )


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe in trainer/recipes, or path of a TOML file.")],
    data: Annotated[
        list[Path],
        typer.Option(
            help="HAM10000 (metadata.csv, images/, masks/) or the like, an ISIC set, or PH2; may be repeated."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run. An interrupted run there is continued.")],
    init_weights: Annotated[
        Path | None,
        typer.Option(help="State dict to start from; tensors that fit by name are loaded, and it says which."),
    ] = None,
    fold: Annotated[
        int | None,
        typer.Option(min=1, help="Of a recipe with folds: hold this one out. Without it, learn from all of them."),
    ] = None,
    member: Annotated[
        int | None,
        typer.Option(min=1, help="Of a recipe with members: train this one alone. The last to end joins them."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Overrides the recipe's epochs (and its schedule).")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only so many pictures of each split: a trial.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin again, even if the folder holds a run.")] = False,
    stop_after: Annotated[
        int | None, typer.Option(min=1, help="Leave after this epoch; the same command continues later.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; 1 is fastest when another job shares the machine.")
    ] = None,
    cache: Annotated[Path, typer.Option(help="Folder for decoded pictures, reused by later runs.")] = Path("cache"),
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    split: Annotated[
        str, typer.Option(help="Of recipes without folds: protocol of what trains and validates, see `compare`.")
    ] = "column",
) -> None:
    """Train one network by its recipe (or each member of an ensemble), choosing the best epoch on the validation split.

    Several GPUs or machines: put torchrun before it, with the options that you would give otherwise. The recipe's batch
    is divided among the processes, and the first one writes the run's folder.

    torchrun --nproc-per-node 2 -m trainer train RECIPE --data ... --out ... --device cuda
    """
    import torch

    from trainer.data.sources import read_sources, taught
    from trainer.data.splits import cross_fit, named_split, parse_split_name, spread, standard_split
    from trainer.recipe import load_recipe
    from trainer.training.checkpoint import BEST
    from trainer.training.distributed import joined
    from trainer.training.loop import train as run
    from trainer.training.members import join_members, member_runs

    if threads:
        torch.set_num_threads(threads)
    chosen = load_recipe(recipe)
    if epochs:
        chosen = dataclasses.replace(chosen, optim=dataclasses.replace(chosen.optim, epochs=epochs))
    records, protocol = read_sources(data), parse_split_name(split)
    crossed = chosen.folds > 0 or fold is not None
    parts = cross_fit(records, chosen.folds, fold, chosen.folds_of) if crossed else named_split(records, protocol)
    learnt, held_out = (spread(taught(chosen, parts[name]), limit) for name in ("train", "val"))
    rest = standard_split(records) if crossed else parts
    measured = rest["test"] + (rest["val"] if crossed and chosen.folds_of == "train" else [])
    with joined(device) as world:
        for part, folder in member_runs(chosen, out, member):
            outcome = run(
                part,
                learnt,
                held_out,
                folder,
                weights=init_weights,
                fold=fold,
                split="" if crossed else split,
                limit=limit,
                measured=measured,
                resume=not fresh,
                stop_after=stop_after,
                cache=cache,
                device=device,
                world=world,
            )
            if world.leads:
                typer.echo(_line(folder / BEST, outcome.best_epoch, outcome.epochs, outcome.best_metrics))
        if world.leads and chosen.members > 1:
            ensemble = join_members(chosen, out, held_out, cache)
            if ensemble is not None:
                typer.echo(_line(out / BEST, ensemble.epoch, chosen.optim.epochs, ensemble.metrics))


def _line(file: Path, epoch: int, epochs: int, metrics: Mapping[str, float]) -> str:
    figures = ", ".join(f"{key} {value:.4f}" for key, value in metrics.items() if key != "epoch")
    return f"{file}: epoch {epoch} of {epochs}" + (f" ({figures})" if figures else "")


@app.command()
def models() -> None:
    """List the networks that recipes can name, with parameters and multiply-adds."""
    from trainer.models import entries
    from trainer.models.complexity import measure

    typer.echo(f"{'name':<34}{'task':<16}{'input':>6}{'Mparams':>9}{'GFLOPs':>8}  summary")
    for item in entries():
        size = measure(item)
        typer.echo(
            f"{item.name:<34}{item.task:<16}{item.size:>6}{size.parameters / 1e6:>9.2f}{size.gflops:>8.2f}  "
            f"{item.summary}"
        )


app.command()(preview)
app.add_typer(data_app, name="data")
app.add_typer(figures_app, name="figures")
register(app)
register_comparisons(app)
register_search(app)
register_sources(app)


def main() -> None:
    """Runs the command line; an expected error is one line on stderr and exit status 1."""
    try:
        app()
    except EdgeInferError as error:
        typer.echo(f"error ({error.code}): {error}", err=True)
        sys.exit(1)
