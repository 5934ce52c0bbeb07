"""`python -m trainer compare ...`, `python -m trainer costs` and `python -m trainer results`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from trainer.papers.job import Job

Name = TypeVar("Name")

RESULTS = Path(__file__).parents[1] / "results" / "compare"
REPORT = Path(__file__).parents[1] / "RESULTS.md"


def compare(
    table: Annotated[
        str,
        typer.Argument(
            help="segmenters (S1 to S4 and S8's mask branch), classifiers (S5 to S7), roi (with and without region of "
            "interest), metadata (S9 against the image alone), branches (CLNet, S8, against its branches alone) or "
            "ablations (a recipe against itself with one thing changed). all: every row of all but the ablations, "
            "cheapest first, each in the time of --budget."
        ),
    ],
    data: Annotated[Path, typer.Option(help="Folder of the data set.")],
    out: Annotated[Path, typer.Option(help="Folder of results; each table gets a folder in it.")] = RESULTS,
    runs: Annotated[Path, typer.Option(help="Folder of the training runs; interrupted ones go on.")] = Path(
        "runs/compare"
    ),
    only: Annotated[list[str] | None, typer.Option(help="Only this row; may be given several times.")] = None,
    base: Annotated[
        str | None, typer.Option(help="Recipe whose variants the tables roi, metadata, branches and ablations compare.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Overrides the recipes' epochs.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only so many pictures of each split.")] = None,
    test_limit: Annotated[
        int | None, typer.Option(min=1, help="Pictures of `test`, where others than --limit.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=16, help="Side of the networks' input in pixels; cache and crops scale along.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Overrides the recipes' seed.")] = None,
    split: Annotated[
        str,
        typer.Option(
            help="column (the data set's own, by lesion), lesion-80-20, lesion-60-20-20, development (train and val "
            "halved by lesion: for choices), or image-80-20 as the papers did, which leaks and is marked so."
        ),
    ] = "column",
    segmenter: Annotated[
        str | None,
        typer.Option(
            help="Bundle, or a segmenter's best.pt: classifiers are evaluated on its crops too, and the ablation "
            "predicted-masks trains on them."
        ),
    ] = None,
    imagenet: Annotated[
        Path | None, typer.Option(help="Folder of ImageNet weights; networks that have some there start from them.")
    ] = None,
    init_weights: Annotated[
        list[str] | None, typer.Option(help="ROW=FILE: initial weights of one row; may be given several times.")
    ] = None,
    external: Annotated[
        Path | None,
        typer.Option(help="Another data set that no row learns from: each row gets figures on its test pictures too."),
    ] = None,
    pace: Annotated[
        str, typer.Option("--budget", help="Of `all`: hour or medium (20 minutes), in minutes of one core.")
    ] = "hour",
    status: Annotated[
        bool, typer.Option("--status", help="Of `all`: say what is done, running and left; train nothing.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train and evaluate again what is there already.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    cache: Annotated[Path, typer.Option(help="Folder for decoded pictures.")] = Path("cache"),
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Train systems side by side and evaluate them on `test`: one of the papers' comparisons.

    Each row is a recipe. Rows that are done are skipped, interrupted ones continued, so the same command completes a
    table; rows may also be made one at a time (--only), at budgets of their own, on several machines. Smaller budgets
    than the recipes' are marked in every output. The folder gets one JSON and one Parquet file of per-image predictions
    a row, and a README.md with the tables.

    `all` works off every row, in a schedule that fits the budget on this machine: published input where it fits, last
    epoch, averaged weights. Start it once a core, with --threads 1, in the same folders: they share the rows. To make
    a row a second time: --only ROW --seed 1 --out trainer/results/compare/again, and other --runs: it keeps the first
    one's schedule, and `results` compares the two.
    """
    import torch

    from trainer.data.splits import SPLIT_NAMES
    from trainer.errors import TrainerError
    from trainer.papers.job import Job
    from trainer.papers.plan import Budget
    from trainer.papers.plans import TABLES
    from trainer.papers.run import compare as run

    if threads:
        torch.set_num_threads(threads)
    job = Job(
        table="segmenters" if table == "all" else _one_of(table, TABLES, "table"),
        data=data,
        out=out,
        runs=runs,
        base=base,
        only=tuple(only or ()),
        budget=Budget(epochs, limit, test_limit, size, seed),
        split=_one_of(split, SPLIT_NAMES, "split"),
        segmenter=segmenter,
        weights=dict(map(_assignment, init_weights or ())),
        imagenet=imagenet,
        external=external,
        fresh=fresh,
        device=device,
        cache=cache,
    )
    if table == "all":
        asked: dict[str, object] = {
            "--epochs": epochs,
            "--limit": limit,
            "--test-limit": test_limit,
            "--size": size,
            "--base": base,
        }
        asked |= {"--fresh": fresh or None, "--init-weights": init_weights or None}
        if given := [name for name, value in asked.items() if value is not None]:
            raise TrainerError(
                f"'all' fits every row to --budget, and takes no {' and no '.join(given)}.",
                "Leave it out, or make a row in its table: `compare TABLE --only ROW`.",
            )
        _work_off(job, pace, status)
        return
    typer.echo(run(job, lambda text: typer.echo(text, err=True)))


def results(
    folder: Annotated[Path, typer.Argument(help="Folder of the comparisons.")] = RESULTS,
    out: Annotated[Path, typer.Option(help="Markdown file to write.")] = REPORT,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail where a file says otherwise.")] = False,
) -> None:
    """Compose RESULTS.md, every system S1 to S10 beside the papers' figures, each table and the pictures, from rows."""
    import tempfile

    from edge_infer.files import write_atomically
    from trainer.errors import TrainerError
    from trainer.papers.figures import draw, unmeasured
    from trainer.papers.results import PICTURES, pages, unknown_rows
    from trainer.scoring.plots import figure_data, same_numbers

    remedy = "Run `python -m trainer results`."
    shown = folder / PICTURES
    with tempfile.TemporaryDirectory() as scratch:
        drawn = draw(folder, Path(scratch) if check else shown)
        for picture in drawn:
            if not check:
                typer.echo(picture)
            elif not same_numbers(figure_data(picture), figure_data(shown / picture.name)):
                raise TrainerError(f"{shown / picture.name} shows other numbers than {folder}.", remedy)
    if names := unmeasured(folder):
        typer.echo(f"Not drawn against cost, run `python -m trainer costs`: {', '.join(names)}", err=True)
    if names := unknown_rows(folder):
        typer.echo(f"Of no plan any more, take their files away: {', '.join(names)}", err=True)
    for path, text in pages(folder, out).items():
        if not check:
            write_atomically(path, text.encode())
            typer.echo(path)
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            raise TrainerError(f"{path} does not follow from {folder}.", remedy)


def costs(
    folder: Annotated[Path, typer.Argument(help="Folder of the comparisons.")] = RESULTS,
) -> None:
    """Measure what the rows' networks cost: operations, weights, time of their ONNX exports, in turn on one thread.

    Writes costs.json beside the comparisons; `results` draws accuracy against it. A quiet machine gives better times.
    """
    from trainer.papers.costs import measure_costs, write_costs

    typer.echo(write_costs(measure_costs(folder, lambda text: typer.echo(text, err=True)), folder))


def _work_off(job: Job, name: str, status: bool) -> None:
    from trainer.papers.pace import PACES
    from trainer.papers.queue import describe, entries, standing, work_off

    pace = PACES[_one_of(name, tuple(PACES), "budget")]
    if status:
        found = [standing(job, pace, entry) for entry in entries(job.only)]
    else:
        found = work_off(job, pace, job.only, say=lambda text: typer.echo(text, err=True))
    typer.echo(describe(found, pace))


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command()(compare)
    app.command()(results)
    app.command()(costs)


def _one_of(value: str, known: tuple[Name, ...], what: str) -> Name:
    import difflib

    from trainer.errors import TrainerError

    for name in known:
        if name == value:
            return name
    near = difflib.get_close_matches(value, [str(name) for name in known], n=1)
    hint = f"Did you mean '{near[0]}'? " if near else ""
    raise TrainerError(f"There is no {what} '{value}'.", f"{hint}Known: {', '.join(map(str, known))}.")


def _assignment(text: str) -> tuple[str, Path]:
    from trainer.errors import TrainerError

    name, equals, file = text.partition("=")
    if not equals or not file:
        raise TrainerError(f"'{text}' names no file.", "Write --init-weights ROW=FILE.")
    return name, Path(file)
