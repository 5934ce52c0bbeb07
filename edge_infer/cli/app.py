"""The `edge-infer` command: its commands joined. Heavy modules are imported inside the command that needs them."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_infer import __version__
from edge_infer.cli.batch import batch
from edge_infer.cli.benchmark import benchmark
from edge_infer.cli.bundles import bundles, inspect, verify
from edge_infer.cli.calibrate import calibrate
from edge_infer.cli.compare import compare
from edge_infer.cli.diagnose import diagnose
from edge_infer.cli.doctor import doctor
from edge_infer.cli.evaluate import evaluate
from edge_infer.cli.grouped import GroupedCommand
from edge_infer.cli.guard import EXIT_CODES, guarded
from edge_infer.cli.kiosk import kiosk
from edge_infer.cli.serve import serve
from edge_infer.cli.sign import sign
from edge_infer.cli.vectors import vectors
from edge_infer.cli.watch import watch

app = typer.Typer(
    name="edge-infer",
    help="Outline a skin lesion on a dermoscopic picture, crop it, and estimate the probability of melanoma.\n\n"
    "Runs on this device, without a network. Research use only; not a medical device.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """The console entry point."""
    app(prog_name="edge-infer")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edge-infer {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


for command, summary in (
    (diagnose, None),
    (bundles, None),
    (inspect, None),
    (verify, None),
    (evaluate, None),
    (calibrate, None),
    (compare, "Compare two pictures of one lesion."),
    (watch, None),
    (sign, None),
    (benchmark, "Measure a bundle on this device."),
    (kiosk, "Serve the web application for a stand to this machine's browser."),
    (doctor, None),
    (vectors, None),
    (serve, None),
):
    app.command(cls=GroupedCommand, epilog=EXIT_CODES, short_help=summary)(guarded(command))

app.add_typer(batch)
