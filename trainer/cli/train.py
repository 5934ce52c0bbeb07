"""`python -m trainer train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.cli.readings import Reason, note_reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.data.ham10000 import Record


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
    reason: Reason = "trained by hand on a split that draws from it",
) -> None:
    """Train one network by its recipe (or each member of an ensemble), choosing the best epoch on the validation split.

    Several GPUs or machines: put torchrun before it, with the options that you would give otherwise. The recipe's batch
    is divided among the processes, and the first one writes the run's folder.

    torchrun --nproc-per-node 2 -m trainer train RECIPE --data ... --out ... --device cuda
    """
    from trainer.data.sources import read_sources
    from trainer.data.splits import parse_split_name
    from trainer.recipe import load_recipe
    from trainer.scoring.origin import digest
    from trainer.training.runs import train_network, with_epochs

    chosen, known = with_epochs(load_recipe(recipe), epochs), read_sources(data)

    def note(opened: Sequence[Record]) -> None:
        identity = digest([chosen, split, init_weights and init_weights.name])
        note_reading("train", str(out), identity, known, opened, reason)

    train_network(
        chosen,
        known,
        out,
        weights=init_weights,
        fold=fold,
        member=member,
        split=parse_split_name(split),
        limit=limit,
        resume=not fresh,
        stop_after=stop_after,
        threads=threads,
        cache=cache,
        device=device,
        say=typer.echo,
        opens=note,
    )
