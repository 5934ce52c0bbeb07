"""`python -m benchmarks`: see the package."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.ports.command import app as ports
from edge_infer.errors import EdgeInferError

app = typer.Typer(
    help="Peers side by side, the project's goals, and reports over result files.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Pictures = Annotated[
    list[Path] | None,
    typer.Option("--pictures", exists=True, help="Pictures or folders.", show_default="the drawn ones in examples/"),
]
Work = Annotated[
    Path | None,
    typer.Option(
        "--work", file_okay=False, help="Folder that keeps the exported pair.", show_default="a temporary one"
    ),
]
Shipped = Annotated[
    str | None,
    typer.Option("--shipped", metavar="NAME|DIR", help="The shipped bundle.", show_default="the default one"),
]
Segmenter = Annotated[str, typer.Option(help="Of the pair: a segmenter in the trainer's registry.")]
Classifier = Annotated[str, typer.Option(help="Of the pair: a classifier in the trainer's registry.")]
EXAMPLES = Path(__file__).parents[1] / "examples"


app.add_typer(ports, name="ports")


@app.callback()
def _root() -> None:
    pass


@app.command()
def peers(
    output: Annotated[Path, typer.Option("--output", "-o", dir_okay=False)] = Path("peers.json"),
    pictures: Pictures = None,
    peer: Annotated[list[str] | None, typer.Option("--peer", help="Repeat it.", show_default="all")] = None,
    threads: Annotated[list[int] | None, typer.Option("--threads", min=1, show_default="1 and 2")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Fewest queries of each; batches of 8 get a quarter.")] = 60,
    block: Annotated[int, typer.Option(min=1, help="Queries of one in a row.")] = 4,
    shipped: Shipped = None,
    segmenter: Segmenter = "unetplusplus",
    classifier: Classifier = "resnet50",
    work: Work = None,
) -> None:
    """The same two networks in PyTorch, torch.compile, OpenVINO, Pillow + torchvision, and here."""
    from benchmarks.peers import run_peers, usable_threads
    from edge_infer.benchmark.measure import Effort
    from edge_infer.benchmark.result_file import write_results
    from edge_infer.benchmark.table import format_results
    from edge_infer.bundle.store import find_bundle

    paths = pictures or [EXAMPLES]
    with tempfile.TemporaryDirectory() as temporary:
        bundles = pair_bundles(work or Path(temporary), paths, segmenter, classifier)
        try:
            bundles["shipped"] = find_bundle(shipped)
        except EdgeInferError as error:
            typer.echo(f"no shipped bundle: {error}", err=True)
        results = run_peers(
            bundles,
            paths,
            peers=peer or (),
            threads=threads or usable_threads(),
            segmenter=segmenter,
            classifier=classifier,
            effort=Effort(warmup=3, runs=runs, seconds=0.0, block=block),
            progress=lambda text: typer.echo(text, err=True),
        )
    write_results(output, results)
    typer.echo(format_results(results))
    typer.echo(f"\nwritten to {output}")


@app.command()
def goals(
    output: Annotated[Path, typer.Option("--output", "-o", dir_okay=False)] = Path("goals.json"),
    peers_file: Annotated[
        list[Path] | None,
        typer.Option(
            "--peers", exists=True, help="Take the speed-ups over PyTorch from these results of `peers`; repeat it."
        ),
    ] = None,
    pictures: Pictures = None,
    shipped: Shipped = None,
    segmenter: Segmenter = "unetplusplus",
    classifier: Classifier = "resnet50",
    work: Work = None,
    rounds: Annotated[int, typer.Option(min=4, help="Of every comparison.")] = 30,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of every Offline figure.")] = 20.0,
    history: Annotated[
        Path | None,
        typer.Option("--history", dir_okay=False, help="CSV file: compare with its last run here, then add this one."),
    ] = None,
    memory_pictures: Annotated[int, typer.Option(min=1)] = 10_000,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="PART",
            help="Measure this part alone: speed-ups, outside, large, cold, many or memory; repeat it.",
            show_default="all",
        ),
    ] = None,
) -> None:
    """The project's goals, most of them ratios, in one run on this machine: goal, measured, reached.

    On a quiet machine it takes a quarter of an hour. Each figure is written as soon as it is there. Exit code 1 where a
    goal is missed or could not be measured.
    """
    from benchmarks import goals as g
    from edge_infer.benchmark.result_file import read_results
    from edge_infer.bundle.store import load_bundle

    def progress(text: str) -> None:
        typer.echo(text, err=True)

    unknown = sorted(set(only or ()) - set(g.PARTS))
    if unknown:
        raise typer.BadParameter(f"no {', '.join(unknown)}; there are: {', '.join(g.PARTS)}.", param_hint="--only")
    given = tuple(item for path in peers_file or () for item in g.from_peers(read_results(path)))
    settings = g.Settings(segmenter, classifier, rounds, seconds, memory_pictures, not given, tuple(only or g.PARTS))

    def keep(found: g.Goals) -> None:
        g.write_goals(output, replace(found, goals=(*given, *found.goals)))

    with tempfile.TemporaryDirectory() as temporary:
        paths = pictures or [EXAMPLES]
        results = g.measure_goals(
            load_bundle(shipped),
            lambda: pair_bundles(work or Path(temporary), paths, segmenter, classifier),
            paths,
            settings,
            progress,
            keep,
        )
    results = replace(results, goals=(*given, *results.goals))
    g.write_goals(output, results)
    typer.echo(g.markdown(results))
    if history is not None:
        for line in g.against_last(history, results):
            typer.echo(line)
        g.add_to_history(history, results)
    for warning in results.warnings:
        typer.echo(f"warning: {warning}")
    typer.echo(f"{results.seconds:.0f} seconds; written to {output} and {output.with_suffix('.md')}")
    if not all(item.met for item in results.goals):
        raise typer.Exit(1)


@app.command()
def variants(
    bundle: Annotated[str | None, typer.Argument(metavar="[BUNDLE]", help="Name or folder of a bundle.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", dir_okay=False)] = Path("variants.json"),
    rounds: Annotated[int, typer.Option(min=4, help="How often each is timed.")] = 40,
) -> None:
    """Sizes and single-thread times of a bundle's variants against PyTorch eager, in turn in one process."""
    from benchmarks.variants import compare_variants, markdown, write_comparison
    from edge_infer.bundle.store import load_bundle

    result = compare_variants(load_bundle(bundle), rounds)
    write_comparison(output, result)
    typer.echo(markdown(result))
    typer.echo(f"written to {output} and {output.with_suffix('.md')}")


@app.command()
def profile(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, metavar="FILE", help="An ONNX file of a bundle.")
    ],
    runs: Annotated[int, typer.Option(min=1, help="Of each node the quickest run counts.")] = 6,
) -> None:
    """Which operations a network's time goes to in ONNX Runtime, on the CPU, one thread."""
    from benchmarks.profile import table, time_by_operation

    typer.echo(table(time_by_operation(file, runs)))


@app.command()
def report(
    files: Annotated[list[Path], typer.Argument(exists=True, metavar="RESULTS...", help="Result files, or folders.")],
    output: Annotated[Path, typer.Option("--output", "-o", file_okay=False, help="Folder to write to.")] = Path(
        "report"
    ),
    allow_different_bundles: Annotated[
        bool, typer.Option("--allow-different-bundles", help="Lay files of different networks side by side.")
    ] = False,
) -> None:
    """Markdown, CSV and one self-contained HTML page from result files."""
    from benchmarks.compare import load_files
    from benchmarks.report import write_report

    loaded = load_files(files, allow_different_bundles=allow_different_bundles)
    for path in write_report(loaded, output):
        typer.echo(f"written to {path}")


@app.command()
def serve(
    pictures: Pictures = None,
    seconds: Annotated[float, typer.Option("--seconds", min=1.0, help="Of each load.")] = 30.0,
    workers: Annotated[int, typer.Option("--workers", min=1)] = 1,
    queue: Annotated[int, typer.Option("--queue", min=0)] = 8,
    bundle: Shipped = None,
    output: Annotated[Path, typer.Option("--output", "-o", dir_okay=False)] = Path("serve.json"),
) -> None:
    """The service at 1, 2 and 4 times of its capacity: latency, requests turned away, memory; is one lost?

    Exit code 1 where one is, or where memory grows by more than 2 %.
    """
    from benchmarks.serving import FLAT, HEAD, load_test, to_json, to_row
    from edge_infer.benchmark.runners import read_pictures

    result = load_test(
        read_pictures(pictures or [EXAMPLES]),
        bundle=bundle,
        workers=workers,
        queue=queue,
        seconds=seconds,
        progress=lambda text: typer.echo(text, err=True),
    )
    output.write_text(to_json(result), encoding="utf-8")
    typer.echo("\n".join([HEAD, *map(to_row, result.loads)]))
    typer.echo(f"\n{result.lost} lost; memory {result.growth:+.1%} from the first load to the last")
    if result.lost or result.growth > FLAT:
        raise typer.Exit(1)


@app.command()
def batch_kills(
    pictures: Annotated[
        list[Path], typer.Option("--pictures", exists=True, help="Pictures or folders to repeat under unique names.")
    ],
    work: Annotated[Path, typer.Option("--work", file_okay=False, help="Folder for the archive and both runs.")],
    count: Annotated[int, typer.Option("--count", min=1, help="Pictures of the archive.")] = 100_000,
    kills: Annotated[int, typer.Option("--kills", min=1)] = 10,
    workers: Annotated[int, typer.Option("--workers", min=1)] = 2,
    partition_size: Annotated[int, typer.Option("--partition-size", min=1)] = 1000,
    bundle: Shipped = None,
    variant: Annotated[
        str | None, typer.Option("--variant", metavar="NAME", help="Form of the networks.", show_default="float32")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the moments.")] = 0,
    output: Annotated[Path, typer.Option("--output", "-o", dir_okay=False)] = Path("batch-kills.json"),
) -> None:
    """An archive run undisturbed, and again with kill -9 at random moments: are all parts the same bytes?

    Exit code 1 where they are not.
    """
    from benchmarks.archive import kill_test, to_json

    result = kill_test(
        pictures,
        work,
        count=count,
        kills=kills,
        workers=workers,
        partition_size=partition_size,
        bundle=bundle,
        progress=lambda text: typer.echo(text, err=True),
        variant=variant,
        seed=seed,
    )
    output.write_text(to_json(result), encoding="utf-8")
    typer.echo(to_json(result))
    if not result.same_bytes:
        raise typer.Exit(1)


@app.command()
def batch_ray(
    pictures: Annotated[
        list[Path], typer.Option("--pictures", exists=True, help="Pictures or folders to repeat under unique names.")
    ],
    work: Annotated[Path, typer.Option("--work", file_okay=False, help="New folder for the archive and both runs.")],
    count: Annotated[int, typer.Option("--count", min=1, help="Pictures of the archive.")] = 2000,
    partition_size: Annotated[int, typer.Option("--partition-size", min=1)] = 50,
    bundle: Shipped = None,
    output: Annotated[Path, typer.Option("--output", "-o", dir_okay=False)] = Path("batch-ray.json"),
) -> None:
    """An archive on two Ray nodes on this machine; a worker and a node are killed: is anything lost, or there twice?

    Exit code 1 where it is.
    """
    from benchmarks.archive import to_json
    from benchmarks.ray_cluster import ray_kill_test

    result = ray_kill_test(
        pictures,
        work,
        count=count,
        partition_size=partition_size,
        bundle=bundle,
        progress=lambda text: typer.echo(text, err=True),
    )
    output.write_text(to_json(result), encoding="utf-8")
    typer.echo(to_json(result))
    if not result.whole:
        raise typer.Exit(1)


@app.command()
def batch_planning(
    counts: Annotated[list[int] | None, typer.Option("--count", min=1, show_default="10^3 to 10^6")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", dir_okay=False)] = Path("batch-planning.json"),
) -> None:
    """Time and peak memory of planning generated entries, as JSON and as a plot (SVG) beside it."""
    from benchmarks.archive import planning_cost, planning_plot, to_json

    with tempfile.TemporaryDirectory() as temporary:
        rows = planning_cost(
            Path(temporary),
            counts or [10**3, 10**4, 10**5, 10**6],
            lambda text: typer.echo(text, err=True),
        )
    output.write_text(to_json(rows), encoding="utf-8")
    output.with_suffix(".svg").write_text(planning_plot(rows), encoding="utf-8")
    typer.echo(to_json(rows))


def pair_bundles(folder: Path, pictures: list[Path], segmenter: str, classifier: str) -> dict[str, Path]:
    """The pair's bundles by precision, written where they are missing."""
    from benchmarks.networks import write_peer_bundles
    from edge_infer.benchmark.runners import read_pictures
    from edge_infer.bundle.manifest import MANIFEST

    folders = folder / "peers-float32", folder / "peers-int8"
    if not all((path / MANIFEST).is_file() for path in folders):
        typer.echo(f"exporting {segmenter} and {classifier}", err=True)
        folders = write_peer_bundles(folder, read_pictures(pictures), segmenter, classifier)
    return {"float32": folders[0], "int8": folders[1]}


def main() -> None:
    """The entry point: typed errors become a message and exit code 3."""
    try:
        app(standalone_mode=True)
    except EdgeInferError as error:
        typer.echo(f"error [{error.code}]: {error}", err=True)
        raise SystemExit(3) from error


if __name__ == "__main__":
    main()
