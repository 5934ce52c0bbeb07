"""`edge-infer batch`: archives in partitions, planned once, worked off by any number of processes and machines."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_infer.cli.grouped import DECIDING, RUNNING, GroupedCommand
from edge_infer.cli.guard import EXIT_BROKEN, EXIT_CODES, EXIT_IMAGE, complain, guarded
from edge_infer.cli.options import BundleOption, PrevalenceOption, ProviderOption, VariantOption
from edge_infer.cli.terminal import note

if TYPE_CHECKING:
    from edge_infer.batch.running import Progress
    from edge_infer.bundle.manifest import Manifest

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `batch plan` made.", show_default=False)]
MovedBundleOption = Annotated[
    str | None,
    typer.Option(
        "--bundle",
        metavar="NAME|DIR",
        help="Where the planned bundle is on this machine; its hash must be the planned one.",
        show_default="where the plan says",
    ),
]


class On(StrEnum):
    """Engines that work partitions off."""

    PROCESSES = "processes"
    RAY = "ray"


batch = typer.Typer(
    name="batch",
    help="Diagnose an archive in partitions.\n\n"
    "`plan` lists the pictures, `run` works them off, `status`, `merge` and `summary` look at what is done. A run that "
    "was killed anywhere and is started again does just what is missing, and its files are the same bytes.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
)


def plan(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="IN",
            help="Folders (searched with their subfolders), quoted patterns, pictures, .tar shards, lists (.csv or "
            ".parquet with a column of paths, .txt with one a line), and URLs such as s3://bucket/folder for which "
            "fsspec has a driver. A picture given twice counts once.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="RUN", help="Folder to make.", show_default=False)],
    column: Annotated[
        str | None,
        typer.Option(
            "--column",
            metavar="NAME",
            help="Column of a list that holds the paths; they are relative to the list.",
            show_default="source, path, image, file, filename or url",
        ),
    ] = None,
    partition_size: Annotated[
        int, typer.Option("--partition-size", metavar="N", min=1, help="Pictures in a partition.")
    ] = 1000,
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
    abstain: Annotated[
        float | None,
        typer.Option(
            "--abstain",
            metavar="SHARE",
            help="Leave this share of least certain pictures undecided; `edge-infer inspect` lists the shares.",
            show_default="every picture is decided",
            rich_help_panel=DECIDING,
        ),
    ] = None,
    prevalence: PrevalenceOption = None,
    variant: VariantOption = None,
    provider: ProviderOption = None,
    batch_size: Annotated[
        int,
        typer.Option("--batch-size", metavar="N", min=1, help="Pictures per network call.", rich_help_panel=RUNNING),
    ] = 8,
    max_pixels: Annotated[
        int | None,
        typer.Option("--max-pixels", metavar="N", min=1, help="Refuse larger pictures.", show_default="100 million"),
    ] = None,
) -> None:
    """List pictures into partitions.

    Everything that decides about an answer is fixed here: bundle by its hash, variant, operating point, prevalence,
    batches. The folder appears whole or not at all. Memory does not grow with the number of pictures.
    """
    from edge_infer.batch.listing import list_entries
    from edge_infer.batch.plan import Options, portable_bundle, write_plan
    from edge_infer.bundle.store import DEFAULT_BUNDLE, find_bundle, read_manifest
    from edge_infer.extras import need
    from edge_infer.steps.image import DEFAULT_MAX_PIXELS
    from edge_infer.steps.prevalence import known_ratio

    need("pyarrow", "batch")
    found = read_manifest(find_bundle(bundle))
    point = found.manifest.operating_point(operating_point)
    if abstain is not None:
        point.band(abstain)
    known_ratio(found.manifest.calibration, prevalence)
    found.manifest.variant("segmenter", variant)
    options = Options(
        bundle=portable_bundle(bundle, DEFAULT_BUNDLE),
        variant=variant,
        operating_point=point.name,
        abstain=abstain,
        providers=tuple(provider) if provider else None,
        batch_size=batch_size,
        max_pixels=DEFAULT_MAX_PIXELS if max_pixels is None else max_pixels,
        prevalence=prevalence,
    )
    made = write_plan(
        output,
        list_entries(inputs, column),
        bundle=found.identity,
        options=options,
        inputs=inputs,
        partition_size=partition_size,
    )
    typer.echo(
        f"{made.pictures} pictures, {made.bytes / 1e6:.1f} MB, in {len(made.partitions)} partitions of at most "
        f"{partition_size}; next: edge-infer batch run {output}"
    )


def run(
    folder: RunArgument,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=1,
            help="Processes of one thread each, or actors on Ray.",
            show_default="the processors that this process may use, or that the cluster has",
        ),
    ] = None,
    shard_of: Annotated[
        str | None,
        typer.Option(
            "--shard-of",
            metavar="I/N",
            help="Work off every N-th partition, starting with the I-th: one machine of N on a shared folder.",
            show_default="all partitions",
        ),
    ] = None,
    on: Annotated[
        On,
        typer.Option("--on", help="Processes of this machine, or a Ray cluster whose nodes share the folders."),
    ] = On.PROCESSES,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="HOST:PORT",
            help="Of the Ray cluster's head.",
            show_default="RAY_ADDRESS, else the cluster that runs on this machine, else one is started",
        ),
    ] = None,
    bundle: MovedBundleOption = None,
) -> None:
    """Work off what is missing.

    Each partition becomes one Parquet file, written under another name and then moved into place. Unreadable and
    refused pictures are rows. Where a store fails, or workers die, the partition is left undone and named; run again.
    """
    from edge_infer.batch.on_ray import cluster
    from edge_infer.batch.running import processes, run_batch
    from edge_infer.engines.threads import available_threads

    if address is not None and on is not On.RAY:
        raise typer.BadParameter("only with --on ray.", param_hint="--address")
    engine = cluster(address, workers) if on is On.RAY else processes(workers or available_threads())
    progress = run_batch(folder, engine, shard=_shard(shard_of), bundle=bundle, report=_reporter())
    status = progress.tally.status
    note(
        f"{progress.tally.rows} of {progress.pictures} pictures: {status['ok']} with a probability, "
        f"{status['indeterminate']} indeterminate, {status['error']} failed."
    )
    for failure in progress.failures:
        complain(failure)
    if progress.failures:
        raise typer.Exit(EXIT_BROKEN)
    if status["error"]:
        raise typer.Exit(EXIT_IMAGE)


def _shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise typer.BadParameter("give it as I/N with I from 1 to N, such as 2/8.", param_hint="--shard-of")
    return int(match[1]), int(match[2])


def _reporter(every: float = 10.0) -> Callable[[Progress], None]:
    """Prints progress on stderr: on a terminal in place, elsewhere a line at most every `every` seconds."""
    terminal = sys.stderr.isatty()
    last = float("-inf")

    def report(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if not terminal and now - last < every and progress.left:
            return
        last = now
        text = (
            f"{progress.found_partitions + progress.done_partitions}/{progress.partitions} partitions, "
            f"{progress.found_pictures + progress.done_pictures}/{progress.pictures} pictures"
        )
        if progress.done_pictures:
            text += f", {progress.rate:.1f}/s, {_duration(progress.left / progress.rate)} left"
        typer.echo(f"\r{text}   " if terminal else text, err=True, nl=not terminal or not progress.left)

    return report


def _duration(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def status(folder: RunArgument) -> None:
    """Show what is done.

    Reads the parts' footers alone. A part that is damaged or belongs to another plan counts as missing.
    """
    from edge_infer.batch.parts import Tally, tallies
    from edge_infer.batch.plan import read_plan

    made = read_plan(folder)
    done = tallies(folder, made)
    tally = sum((entry for entry in done if entry is not None), Tally.empty())
    missing = [index for index, entry in enumerate(done) if entry is None]
    typer.echo(f"bundle      {made.bundle_name} {made.bundle_version} ({made.bundle_sha256[:12]})")
    typer.echo(f"partitions  {len(done) - len(missing)} of {len(done)} done")
    typer.echo(f"pictures    {tally.rows} of {made.pictures} done")
    for title, counts in (("status", tally.status), ("reason", tally.reason), ("error", tally.error)):
        for name, count in counts.most_common():
            typer.echo(f"{title:<12}{count:>9}  {name}")
    if missing:
        shown = ", ".join(map(str, missing[:10])) + (", …" if len(missing) > 10 else "")
        typer.echo(f"missing     {shown}; next: edge-infer batch run {folder}")


def merge(
    folder: RunArgument,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="A .parquet or .csv file.", show_default=False)
    ],
    bundle: MovedBundleOption = None,
) -> None:
    """Join all parts into one file, in the order of the plan."""
    from edge_infer.batch.merging import merge as merge_parts

    made = merge_parts(folder, output, _manifest(folder, bundle))
    typer.echo(f"{made.pictures} pictures in {output}")


def summary(
    folder: RunArgument,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="An .html file.", show_default=False)],
    bundle: MovedBundleOption = None,
) -> None:
    """Write a page for people: distributions, refusals by reason, the least certain pictures.

    Of what is done so far. It shows paths of pictures and no picture.
    """
    from edge_infer.batch.plan import read_plan
    from edge_infer.batch.summary import summary_page
    from edge_infer.files import write_atomically
    from edge_infer.steps.prevalence import known_ratio, move

    manifest, options = _manifest(folder, bundle), read_plan(folder).options
    point = manifest.operating_point(options.operating_point)
    if options.prevalence is not None:
        point = move(point, known_ratio(manifest.calibration, options.prevalence))
    write_atomically(output, summary_page(folder, point).encode("utf-8"))
    typer.echo(str(output))


def _manifest(folder: Path, bundle: str | None) -> Manifest:
    from edge_infer.batch.plan import read_plan
    from edge_infer.batch.work import planned_bundle

    return planned_bundle(read_plan(folder), bundle).manifest


for command in (plan, run, status, merge, summary):
    batch.command(cls=GroupedCommand, epilog=EXIT_CODES)(guarded(command))
