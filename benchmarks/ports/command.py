"""`python -m benchmarks ports ...`"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Other languages beside this runtime.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
REPOSITORY = Path(__file__).parents[2]

Pictures = Annotated[list[Path], typer.Option("--pictures", exists=True, help="Pictures or folders; repeat it.")]
Bundles = Annotated[
    list[Path] | None,
    typer.Option(
        "--bundle", exists=True, file_okay=False, help="Folder of a bundle; repeat it.", show_default="mobile"
    ),
]
Count = Annotated[int, typer.Option("--count", min=1, help="Of the pictures, evenly spread over their names.")]
Output = Annotated[Path, typer.Option("--output", "-o", dir_okay=False, help="Markdown file to write.")]


def _bundles(given: list[Path] | None) -> list[Path]:
    from edge_infer.bundle.store import DEFAULT_BUNDLE

    return given or [REPOSITORY / "exported" / DEFAULT_BUNDLE]


def _write(output: Path, title: str, how: str, table: str) -> None:
    from edge_infer.files import write_atomically

    day = datetime.datetime.now(datetime.UTC).date()
    write_atomically(output, f"# {title}\n\n{how} Run on {day}.\n\n{table}\n".encode())
    typer.echo(table)
    typer.echo(f"written to {output}")


def _progress(text: str) -> None:
    typer.echo(text, err=True)


@app.command()
def node(pictures: Pictures, bundle: Bundles = None, count: Count = 200, output: Output = Path("node.md")) -> None:
    """The sample service in Node beside this runtime: same decisions, and how far probabilities lie apart."""
    from benchmarks.ports.answers import compare_answers, table
    from benchmarks.ports.choose import chosen

    files = chosen(pictures, count)
    compared = [compare_answers(each, files, _progress) for each in _bundles(bundle)]
    how = (
        "Written by `python -m benchmarks ports node`: each file's bytes posted to `ports/js/examples/node-service`, "
        "and the same file decoded in full by this runtime."
    )
    _write(output, "Answers in Node and in Python", how, table(compared))
    if not all(pair.same for each in compared for pair in each.pairs):
        raise typer.Exit(1)


@app.command()
def flips(
    pictures: Pictures,
    bundle: Bundles = None,
    count: Count = 200,
    least_side: Annotated[
        list[int] | None,
        typer.Option("--least-side", min=1, help="Shorter side that reduced pictures keep; repeat it."),
    ] = None,
    output: Output = Path("flips.md"),
) -> None:
    """Decisions that change where a large JPEG is decoded at a fraction, as here, and in full, as in a browser."""
    from benchmarks.ports.choose import chosen
    from benchmarks.ports.flips import LARGE, QUALITY, count_flips, table

    found = count_flips(_bundles(bundle), chosen(pictures, count), _progress, least_side or ())
    how = (
        f"Written by `python -m benchmarks ports flips`: pictures enlarged to {LARGE / 1e6:g} million pixels "
        f"(bicubic), stored as JPEG of quality {QUALITY} with colour at half size, then diagnosed from the file, which "
        "this runtime decodes at a fraction, and from its pixels decoded in full. Distances are those of the "
        "probability of melanoma."
    )
    _write(output, "Large JPEGs: decoded at a fraction, and in full", how, table(found))


@app.command()
def deviations(
    reports: Annotated[
        list[Path], typer.Argument(exists=True, dir_okay=False, metavar="REPORT...", help="Written by ports' runners.")
    ],
    vectors: Annotated[
        Path, typer.Option("--vectors", exists=True, file_okay=False, help="The vectors that they replayed.")
    ] = REPOSITORY / "exported/conformance",
    bundle: Annotated[
        Path | None, typer.Option("--bundle", exists=True, file_okay=False, help="Their bundle.", show_default="mobile")
    ] = None,
    output: Output = Path("deviations.md"),
) -> None:
    """How far each port is from this runtime, step by step."""
    from benchmarks.ports.deviations import here, read_report, table
    from edge_infer.conformance.store import read_folder
    from edge_infer.diagnoser import Diagnoser

    index = read_folder(vectors)
    found = [read_report(path, index) for path in reports]
    with Diagnoser.load(_bundles([bundle] if bundle else None)[0], providers=["cpu"], threads=1) as diagnoser:
        found.insert(0, here(index, diagnoser))
    ran = "; ".join(f"{each.port}: {each.runtime}, {each.engine or 'no engine'}" for each in found)
    how = (
        "Written by `python -m benchmarks ports deviations`: the largest deviation of every result over the vectors of "
        f"bundle `{index.bundle.name}` {index.bundle.sha256[:12]}. {ran}."
    )
    _write(output, "Deviations of the ports, by step", how, table(index, found))
    if any(line.status == "failed" for each in found for line in each.lines):
        raise typer.Exit(1)
