"""`python -m trainer`: from labelled pictures to trained networks.

Each command is a function in a file of its own or of its subject; this one joins them.
"""

from __future__ import annotations

import os
import sys

import typer

from edge_infer.errors import EdgeInferError
from trainer.cli.bundle import register
from trainer.cli.bundle_versions import register as register_versions
from trainer.cli.compare import register as register_comparisons
from trainer.cli.data import data_app, preview
from trainer.cli.figures import figures_app
from trainer.cli.measurements import measurements_app
from trainer.cli.models import models
from trainer.cli.search import register as register_search
from trainer.cli.sources import register as register_sources
from trainer.cli.train import train
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


for command in (train, models, preview):
    app.command()(command)
app.add_typer(data_app, name="data")
app.add_typer(figures_app, name="figures")
app.add_typer(measurements_app, name="measurements")
register(app)
register_versions(app)
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
