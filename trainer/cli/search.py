"""The command that searches hyper-parameters."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Sampler(StrEnum):
    """How values are drawn."""

    RANDOM = "random"
    TPE = "tpe"


def search(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe in trainer/recipes, or path of a TOML file.")],
    data: Annotated[
        list[Path],
        typer.Option(
            help="HAM10000 (metadata.csv, images/, masks/) or the like, an ISIC set, or PH2; may be repeated."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the search. An interrupted search there is continued.")],
    trials: Annotated[int, typer.Option(min=1, help="How many trials there should be in the end.")] = 20,
    space: Annotated[
        Path | None,
        typer.Option(help="TOML file laid out as the recipe is; default trainer/spaces/TASK.toml."),
    ] = None,
    sampler: Annotated[
        Sampler, typer.Option(help="random draws blindly; tpe looks where earlier trials did well.")
    ] = Sampler.TPE,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of each trial; default the recipe's.")] = None,
    prune: Annotated[
        bool, typer.Option(help="End trials early that are below the median of the others at the same epoch.")
    ] = True,
    init_weights: Annotated[Path | None, typer.Option(help="State dict that each trial starts from.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only so many pictures of each split.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    cache: Annotated[Path, typer.Option(help="Folder for decoded pictures.")] = Path("cache"),
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Search a recipe's hyper-parameters by many short trainings, and write the best as a recipe.

    A space is laid out as the recipe is:

    optim.learning_rate = { low = 1e-4, high = 1e-2, log = true }

    loss.name = { choices = ["cross-entropy", "focal"] }

    The folder gets trials.csv, SEARCH.md, trials.png and best.toml, which 'train' takes. The same command continues a
    search; given in two terminals it works on the same search twice as fast.
    """
    import torch

    from trainer.data.sources import read_sources, taught
    from trainer.data.splits import spread, standard_split
    from trainer.recipe import load_recipe
    from trainer.search.search import search as run
    from trainer.search.space import SPACE_FOLDER, load_space

    if threads:
        torch.set_num_threads(threads)
    chosen = load_recipe(recipe)
    found_space = load_space(space or SPACE_FOLDER / f"{chosen.task}.toml", chosen)
    records = read_sources(data)
    parts = {name: taught(chosen, part, records) for name, part in standard_split(records).items()}
    found = run(
        chosen,
        found_space,
        spread(parts["train"], limit),
        spread(parts["val"], limit),
        out,
        trials=trials,
        sampler=sampler.value,
        epochs=epochs,
        prune=prune,
        weights=init_weights,
        cache=cache,
        device=device,
        say=lambda line: typer.echo(line, err=True),
    )
    typer.echo(f"{out / 'best.toml'}: trial {found.best} of {found.trials} ({found.value:.4f} on val)")


def register(app: typer.Typer) -> None:
    """Adds the command of this module."""
    app.command()(search)
