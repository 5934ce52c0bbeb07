"""The `edge-infer` command: its commands joined. A command's module is imported when it is called, and heavy
modules inside it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from edge_infer import __version__
from edge_infer.cli.grouped import GroupedCommand
from edge_infer.cli.guard import EXIT_CODES, guarded
from edge_infer.cli.leaving import end_process_with_command

if TYPE_CHECKING:
    app: typer.Typer
    """All commands."""

_COMMANDS: dict[str, tuple[str, str | None]] = {
    "diagnose": ("diagnose", None),
    "bundles": ("bundles", None),
    "inspect": ("bundles", None),
    "verify": ("bundles", None),
    "evaluate": ("evaluate", None),
    "calibrate": ("calibrate", None),
    "compare": ("compare", "Compare two pictures of one lesion."),
    "watch": ("watch", None),
    "sign": ("sign", None),
    "benchmark": ("benchmark", "Measure a bundle on this device."),
    "kiosk": ("kiosk", "Serve the web application for a stand to this machine's browser."),
    "doctor": ("doctor", None),
    "vectors": ("vectors", None),
    "serve": ("serve", None),
    "batch": ("batch", None),
}
"""Module in `edge_infer.cli` that a command is in, and its line in the list where the first of its help is not it."""


def command() -> None:
    """The console entry point: `main` in a process that ends with it."""
    end_process_with_command()
    main()


def main() -> None:
    """Calls the command that `sys.argv` names; it ends by SystemExit. Of several commands the one that is called is
    joined alone, which starts sooner."""
    called = sys.argv[1] if len(sys.argv) > 1 else ""
    _joined([called] if called in _COMMANDS else _COMMANDS)(prog_name="edge-infer")


def __getattr__(name: str) -> typer.Typer:
    if name == "app":
        return _joined(_COMMANDS)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def _joined(names: Iterable[str]) -> typer.Typer:
    root = typer.Typer(
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
    root.callback()(_root)
    for name in names:
        module, summary = _COMMANDS[name]
        command = getattr(importlib.import_module(f"edge_infer.cli.{module}"), name)
        if isinstance(command, typer.Typer):
            root.add_typer(command)
        else:
            root.command(cls=GroupedCommand, epilog=EXIT_CODES, short_help=summary)(guarded(command))
    return root


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edge-infer {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass
