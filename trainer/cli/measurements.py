"""`python -m trainer measurements ...`: how well the runtime measures and compares."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from trainer.data.ham10000 import Record

measurements_app = typer.Typer(
    no_args_is_help=True,
    help="Check the runtime's measurements: on drawn lesions with known truth, on people's outlines, on repeats.",
)

Data = Annotated[Path, typer.Option(help="Folder of the data set.")]
Split = Annotated[str, typer.Option(help="train or val; the test split is for a bundle's report alone.")]
Limit = Annotated[int | None, typer.Option(min=2, help="At most so many, spread over all.")]
Bundle = Annotated[str | None, typer.Option(help="Bundle by path or name.", show_default="the one in the package")]
Into = Annotated[
    Path | None,
    typer.Option(
        help="A Markdown page: the table goes between its marks <!-- NAME --> and <!-- /NAME -->, "
        "NAME being this command's."
    ),
]


@measurements_app.command()
def drawn(into: Into = None) -> None:
    """Measure lesions drawn from formulas beside their truth; needs no data."""
    from trainer.scoring.abcd import drawn_table

    _put(drawn_table(), "drawn", into)


@measurements_app.command()
def agreement(data: Data, split: Split = "val", limit: Limit = None, bundle: Bundle = None, into: Into = None) -> None:
    """Measure real pictures on the network's outline and on the one that a person drew."""
    from edge_infer import Diagnoser
    from trainer.scoring.abcd import agreement_table, agreements, measured_twice

    records = _records(data, split, limit, masks=True)
    with Diagnoser.load(bundle, providers=["cpu"], measurements=True) as diagnoser, _bar(len(records)) as bar:
        pairs = list(measured_twice(records, diagnoser, lambda: bar.update(1)))
        name = f"{diagnoser.manifest.name} {diagnoser.manifest.version}"
    note = f"Bundle `{name}`, {len(pairs)} of {len(records)} pictures of `{split}` answered.\n\n"
    _put(note + agreement_table(agreements(pairs)), "agreement", into)


@measurements_app.command()
def repeats(data: Data, split: Split = "val", limit: Limit = None, bundle: Bundle = None, into: Into = None) -> None:
    """Compare two pictures of one lesion, which did not change, and pictures of different lesions."""
    from edge_infer import Diagnoser
    from trainer.scoring.repeats import compare_pairs, pairs_of, repeats_table

    same, other = pairs_of(_records(data, split, None))
    every = 1 if limit is None else max(1, len(same) // limit)
    same, other = same[::every][:limit], other[::every][:limit]
    with Diagnoser.load(bundle, providers=["cpu"], measurements=True) as diagnoser, _bar(2 * len(same)) as bar:
        found = [compare_pairs(pairs, diagnoser, lambda: bar.update(1)) for pairs in (same, other)]
        name = f"{diagnoser.manifest.name} {diagnoser.manifest.version}"
    _put(f"Bundle `{name}`, lesions of `{split}`.\n\n" + repeats_table(*found), "repeats", into)


def _records(data: Path, split: str, limit: int | None, masks: bool = False) -> list[Record]:
    from trainer.data.isic import read_dataset
    from trainer.data.splits import spread, standard_split
    from trainer.errors import DataError

    if split not in ("train", "val"):
        raise DataError(f"'{split}' is no split to try things on.", "Choose train or val.")
    records = standard_split(read_dataset(data, strict=False))[split]
    return spread([record for record in records if record.mask_path is not None or not masks], limit)


def _bar(count: int) -> Any:
    return typer.progressbar(length=count, label="pictures", file=typer.get_text_stream("stderr"))


def _put(table: str, name: str, into: Path | None) -> None:
    """Prints the table, or writes it between a page's marks."""
    from edge_infer.files import write_atomically
    from trainer.errors import TrainerError

    if into is None:
        typer.echo(table, nl=False)
        return
    text = into.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise TrainerError(f"'{into}' has no marks {begin.strip()} and {end}.", "Put them where the table belongs.")
    before, _, rest = text.partition(begin)
    write_atomically(into, f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}".encode())
