"""`python -m trainer data ...` and `python -m trainer preview`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trainer.data.duplicates import Alike

data_app = typer.Typer(no_args_is_help=True, help="Look at a data set before training on it.")


@data_app.command()
def check(
    folder: Annotated[
        list[Path],
        typer.Argument(help="HAM10000 or the like, an ISIC challenge set of 2016 to 2019, or PH2; or several."),
    ],
    recipe: Annotated[
        str | None,
        typer.Option(help="Bundle recipe (a name, or path of a TOML file) whose sources the folders must hold."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    duplicates: Annotated[
        bool, typer.Option("--duplicates", help="Also list pictures that look alike across sources and splits.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Also write the list of --duplicates to this Markdown file.")] = None,
) -> None:
    """Count classes, sizes and lesions; list every fault with its file, its row and a remedy.

    Faults: missing columns and cells, unknown diagnoses, ages and splits, a split in some rows of a source only,
    pictures and masks that are missing, damaged or cut short, masks that are empty or of another aspect ratio,
    pictures in two folders, lesions in two sources or splits, the same picture under two lesions; with --recipe, a
    source that is missing or cannot calibrate the bundle.
    Exit status 1 where something is wrong.
    """
    from json import dumps

    from edge_infer.files import write_atomically
    from edge_infer.schema import dump
    from trainer.data.check import check_folders, nothing_further
    from trainer.errors import TrainerError

    if out is not None and not duplicates:
        raise TrainerError("--out takes the list of pictures that look alike.", "Give --duplicates too.")
    further = nothing_further
    if recipe is not None:
        from trainer.bundle.sources import recipe_faults

        further = partial(recipe_faults, recipe)
    found = check_folders(folder, further, duplicates=duplicates)
    name = ", ".join(map(_kind, folder))
    if out is not None:
        write_atomically(out, _page(found.near_duplicates, found.sources).encode())
    if json:
        typer.echo(dumps({"data": name} | dump(found), indent=2))
    else:
        typer.echo(f"{name}: {found.pictures} pictures of {found.lesions} lesions")
        typer.echo(f"lesions with several pictures: {found.repeated_lesions} (split by lesion, not by picture)")
        typer.echo(f"without a mask, as the metadata say: {found.without_mask}")
        tables = {"sources": found.sources, "classes": found.classes, "splits": found.splits, "sizes": found.sizes}
        for title, counts in tables.items():
            typer.echo(f"{title}: " + ", ".join(f"{key} {value}" for key, value in counts.items()))
        pairs = [str(pair) for pair in found.near_duplicates]
        for title, lines in (("errors", found.errors), ("look alike across sources or splits", pairs)):
            typer.echo("\n  ".join([f"{title}: {len(lines)}", *lines]))
    if found.errors:
        raise typer.Exit(1)


def _kind(folder: Path) -> str:
    """The folder's name, and the data set that its files are laid out as."""
    from trainer.data.isic import detect
    from trainer.errors import DataError

    try:
        return f"{folder.resolve().name} (laid out as {detect(folder)})"
    except DataError:
        return f"{folder.resolve().name} (no known data set)"


def _page(pairs: Sequence[Alike], sources: Mapping[str, int]) -> str:
    """The list of `--duplicates` as Markdown; `sources` are how many pictures of each were compared."""
    from trainer.data.duplicates import HASH_SIDE, MAX_DISTANCE, MIN_CORRELATION
    from trainer.report.markdown import markdown_table

    head = ["picture", "source", "split", "looks like", "its source", "its split", "correlation"]
    rows = [
        [
            *(pair.first, pair.first_source, pair.first_split),
            *(pair.second, pair.second_source, pair.second_split),
            f"{pair.correlation:.3f}",
        ]
        for pair in pairs
    ]
    return (
        "# Pictures that look alike across sources and splits\n\n"
        "Written by `python -m trainer data check DIR ... --duplicates --out FILE`. Compared are pictures of "
        f"{', '.join(f'{source} ({count})' for source, count in sources.items())}. A pair is listed here where its two "
        "pictures are of different lesions and of different sources or splits, their hashes differ in at most "
        f"{MAX_DISTANCE} of {HASH_SIDE**2} bits, and their fine detail correlates by at least {MIN_CORRELATION}. "
        f"Pairs: {len(pairs)}.\n\n" + markdown_table(head, rows)
    )


def preview(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe in trainer/recipes, or path of a TOML file.")],
    data: Annotated[list[Path], typer.Option(help="Folder of a data set; may be repeated.")],
    out: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("preview.png"),
    count: Annotated[int, typer.Option(min=1, help="Pictures, one a column.")] = 8,
    draws: Annotated[int, typer.Option(min=1, help="Augmentations of each, one a row.")] = 4,
    cache: Annotated[Path, typer.Option(help="Folder for decoded pictures.")] = Path("cache"),
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
) -> None:
    """Write a contact sheet of augmented training pictures, masks outlined in green."""
    import cv2

    from trainer.data.sources import read_sources, taught
    from trainer.data.splits import spread, standard_split
    from trainer.recipe import load_recipe
    from trainer.training.preview import contact_sheet
    from trainer.training.tasks import training_data

    chosen = load_recipe(recipe)
    records = spread(taught(chosen, standard_split(read_sources(data))["train"]), count)
    sheet = contact_sheet(chosen, training_data(chosen, records, cache), count, draws, seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    encoded, content = cv2.imencode(".png", sheet[..., ::-1])
    assert encoded
    out.write_bytes(content.tobytes())
    typer.echo(f"{out}: {sheet.shape[1]}x{sheet.shape[0]}")
