"""`edge-infer benchmark`; `edge_infer.cli.app` registers `benchmark` under that name."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_infer.cli.guard import EXIT_BROKEN

if TYPE_CHECKING:
    from edge_infer.bundle.store import Bundle


class Output(StrEnum):
    """What goes to stdout."""

    TABLE = "table"
    JSON = "json"


def benchmark(
    bundle: Annotated[
        str | None,
        typer.Option("--bundle", metavar="NAME|DIR", help="Bundle to measure.", show_default="the one in the package"),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="NAME",
            help="Target to measure; repeat it. One that does not start is a failed row.",
            show_default="every available one",
        ),
    ] = None,
    list_targets: Annotated[
        bool, typer.Option("--list-targets", help="List all targets, and why some are not available here.")
    ] = False,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Answer in half a minute: which installed engine and variant is fastest here and still gives the "
            "bundle's answers, and the options that choose it. Takes --bundle and one --threads; no file is written.",
        ),
    ] = False,
    threads: Annotated[
        list[int] | None,
        typer.Option("--threads", min=1, metavar="N", help="Repeat it.", show_default="1 and all usable ones"),
    ] = None,
    batch_size: Annotated[
        list[int] | None,
        typer.Option("--batch-size", min=1, metavar="N", help="Of Offline; repeat it.", show_default="1 and 8"),
    ] = None,
    pictures: Annotated[
        list[Path] | None,
        typer.Option(
            "--pictures", metavar="FILE|DIR", exists=True, help="Pictures to diagnose.", show_default="the bundle's own"
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Labelled data in HAM10000's layout: adds Dice, AUC and flipped decisions to every row.",
        ),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", help="Split of --data. Timing needs no `test`, which is for a bundle's report.")
    ] = "val",
    limit: Annotated[int | None, typer.Option("--limit", min=2, help="Pictures of --data to use.")] = None,
    reference: Annotated[
        str | None,
        typer.Option("--reference", metavar="NAME|DIR", help="float32 bundle that --data is compared with."),
    ] = None,
    runs: Annotated[
        int, typer.Option("--runs", min=1, help="Fewest SingleStream queries a row; p99 needs 563, p90 53.")
    ] = 600,
    seconds: Annotated[float, typer.Option("--seconds", min=0.0, help="Least time of each scenario a row.")] = 5.0,
    sustained: Annotated[
        float, typer.Option("--sustained", min=0.0, metavar="MINUTES", help="Also run back to back for so long.")
    ] = 0.0,
    cold: Annotated[int, typer.Option("--cold", min=0, help="New processes started for each row.")] = 5,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", dir_okay=False, help="Result file to write (JSON).")
    ] = None,
    format: Annotated[Output, typer.Option("--format", help="What to print.")] = Output.TABLE,
) -> None:
    """Measure a bundle on this device: latency, throughput, cold start, memory, and whether the answers are right.

    Targets take turns, raw samples are kept, and a target that does not become active or deviates from the bundle's
    golden examples gets no speed-up figure. Close other programs first.
    """
    from edge_infer.benchmark.measure import Effort
    from edge_infer.benchmark.opening import discover
    from edge_infer.benchmark.plan import Plan
    from edge_infer.benchmark.quick import fastest_of
    from edge_infer.benchmark.result_file import write_results
    from edge_infer.benchmark.suite import run_suite
    from edge_infer.benchmark.table import format_results
    from edge_infer.bundle.store import load_bundle

    loaded = load_bundle(bundle)
    if list_targets:
        for entry in discover(loaded):
            typer.echo(f"{entry.target:<22} {'available' if entry.available else 'no: ' + entry.reason}")
        return
    if quick:
        _quick(loaded, threads, output)
        return
    plan = Plan(
        targets=tuple(target or ()),
        threads=tuple(threads or ()),
        batch_sizes=tuple(batch_size or (1, 8)),
        pictures=tuple(pictures or ()),
        data=data,
        split=split,
        data_limit=limit,
        reference=load_bundle(reference) if reference else None,
        effort=Effort(runs=runs, seconds=seconds),
        offline_seconds=seconds,
        sustained_minutes=sustained,
        cold_starts=cold,
        probe_seconds=min(1.0, seconds),
    )
    start = time.monotonic()

    def progress(text: str) -> None:
        if sys.stderr.isatty():
            typer.echo(f"\r\033[K{time.monotonic() - start:5.0f} s  {text}", nl=False, err=True)

    results = run_suite(loaded, plan, progress)
    if sys.stderr.isatty():
        typer.echo("\r\033[K", nl=False, err=True)
    if output is not None:
        write_results(output, results)
    if format is Output.JSON:
        import json

        from edge_infer.schema import dump

        typer.echo(json.dumps(dump(results), ensure_ascii=False, allow_nan=False))
    else:
        typer.echo(f"{format_results(results)}\n\n{fastest_of(results)}")
        if output is not None:
            typer.echo(f"\nwritten to {output}")
    if any(row.status == "failed" for row in results.rows):
        raise typer.Exit(EXIT_BROKEN)


def _quick(bundle: Bundle, threads: list[int] | None, output: Path | None) -> None:
    from edge_infer.benchmark.quick import lines, quick_look
    from edge_infer.engines.threads import available_threads

    if output is not None:
        raise typer.BadParameter("a quick look is too short for a result file; leave one out.", param_hint="--output")
    if len(threads or ()) > 1:
        raise typer.BadParameter("a quick look takes one number of threads.", param_hint="--threads")
    count = threads[0] if threads else available_threads()
    typer.echo(f"{bundle.manifest.name} {bundle.manifest.version}, {count} threads, pictures of 600x450")
    for line in lines(quick_look(bundle, count, lambda text: typer.echo(f"  {text}", err=True))):
        typer.echo(line)
