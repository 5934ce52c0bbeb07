"""`edge-infer watch`: a folder into which a kiosk or a scanner puts pictures."""

from __future__ import annotations

import contextlib
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from edge_infer.cli.grouped import DECIDING, RUNNING
from edge_infer.cli.options import (
    BundleOption,
    PrevalenceOption,
    ProviderOption,
    SignatureOption,
    ThreadsOption,
    VariantOption,
)
from edge_infer.cli.terminal import limit_opencv, note

_TELLING = "What others are told"


def watch(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to watch, with its subfolders.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Gets one JSON object a line; FILE.seen remembers.",
        ),
    ],
    settle: Annotated[
        float,
        typer.Option(
            "--settle",
            metavar="SECONDS",
            min=0.0,
            help="A file is finished once it has not changed for so long.",
        ),
    ] = 2.0,
    events: Annotated[
        bool | None,
        typer.Option(
            "--events/--poll",
            help="Be woken by the kernel (needs the extra [watch]), or look every second.",
            show_default="events where the extra is installed",
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Stop when everything in the folder has its line.")] = False,
    health: Annotated[
        Path | None,
        typer.Option("--health", metavar="FILE", help="JSON, at least every 5 s.", rich_help_panel=_TELLING),
    ] = None,
    metrics: Annotated[
        Path | None,
        typer.Option(
            "--metrics", metavar="FILE", help="Counters in Prometheus's text format.", rich_help_panel=_TELLING
        ),
    ] = None,
    rotate_mb: Annotated[
        float,
        typer.Option(
            "--rotate-mb", metavar="MB", min=0.001, help="At this size the output is renamed and a new one begun."
        ),
    ] = 64.0,
    keep: Annotated[int, typer.Option("--keep", metavar="N", min=0, help="Renamed outputs to keep; 0 keeps all.")] = 0,
    bundle: BundleOption = None,
    operating_point: Annotated[
        str | None,
        typer.Option(
            "--operating-point",
            metavar="NAME",
            help="Decision threshold by name; `edge-infer inspect` lists them.",
            show_default="the bundle's own",
            rich_help_panel=DECIDING,
        ),
    ] = None,
    prevalence: PrevalenceOption = None,
    provider: ProviderOption = None,
    variant: VariantOption = None,
    require_signature: SignatureOption = None,
    threads: ThreadsOption = None,
    max_pixels: Annotated[
        int | None,
        typer.Option(
            "--max-pixels",
            metavar="N",
            min=1,
            help="Refuse larger pictures before they are decoded.",
            show_default="100 million",
            rich_help_panel=RUNNING,
        ),
    ] = None,
) -> None:
    """Diagnose what is put into a folder.

    Every picture gets one line, also where it cannot be used. A restart repeats nothing and leaves nothing out,
    whatever ended the process; a picture that was changed gets another line. SIGTERM and Ctrl-C end it after the
    picture in hand. Pictures are left where they are.
    """
    from edge_infer.diagnoser import Diagnoser
    from edge_infer.files import OutputError
    from edge_infer.steps.image import DEFAULT_MAX_PIXELS
    from edge_infer.steps.native import keep_off_stderr
    from edge_infer.watch.counters import Counters
    from edge_infer.watch.ledger import Ledger
    from edge_infer.watch.loop import watch as work
    from edge_infer.watch.waking import waiter

    if not folder.is_dir():
        raise typer.BadParameter(f"'{folder}' is no folder.", param_hint="DIR")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        wait = waiter(folder, stop, events=events)
    except ImportError as error:
        raise typer.BadParameter(f"{error}; run: pip install 'edge-infer[watch]'.", param_hint="--events") from error
    limit_opencv(threads)
    keep_off_stderr()
    ledger = Ledger(output, int(rotate_mb * 1e6), keep)
    with (
        contextlib.closing(ledger),
        Diagnoser.load(
            bundle,
            providers=provider or None,
            threads=threads,
            variant=variant,
            operating_point=operating_point,
            prevalence=prevalence,
            max_pixels=DEFAULT_MAX_PIXELS if max_pixels is None else max_pixels,
            require_signature=require_signature,
        ) as diagnoser,
    ):
        counters = Counters(diagnoser.bundle, folder, health, metrics)
        note(f"watching '{folder}', {len(ledger)} pictures have their lines in '{output}'")
        try:
            work(diagnoser, folder, ledger, counters, stop, settle=settle, wait=wait, once=once)
        except BaseException as error:
            with contextlib.suppress(OutputError):
                counters.write(f"failed: {type(error).__name__}")
            raise
        note(f"stopped after {sum(counters.by_status.values())} pictures")
