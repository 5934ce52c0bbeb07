"""`python -m trainer data ...` and `python -m trainer preview`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SHOWN = 10

data_app = typer.Typer(no_args_is_help=True, help="Look at a data set before training on it.")


@data_app.command()
def check(
    folder: Annotated[
        list[Path],
        typer.Argument(help="HAM10000 or the like, an ISIC challenge set of 2016 to 2019, or PH2; or several."),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    duplicates: Annotated[
        bool, typer.Option("--duplicates", help="Also list pictures that look alike across sources and splits.")
    ] = False,
) -> None:
    """Count classes, sizes and lesions; list missing files, rows in error, leaking splits and hidden duplicates.

    Exit status 1 where something is wrong.
    """
    from json import dumps

    from edge_infer.schema import dump
    from trainer.data.check import check_records
    from trainer.data.isic import detect, has_masks
    from trainer.data.sources import read_sources
    from trainer.errors import DataError

    name = ", ".join(detect(one) for one in folder)
    errors: list[DataError] = []
    records = read_sources(folder, strict=False, complain=errors.append)
    masks = any(has_masks(detect(one)) for one in folder)
    found = check_records(records, masks=masks, errors=errors, duplicates=duplicates)
    if json:
        typer.echo(dumps({"data": name} | dump(found), indent=2))
    else:
        typer.echo(f"{name}: {found.pictures} pictures of {found.lesions} lesions")
        typer.echo(f"lesions with several pictures: {found.repeated_lesions} (split by lesion, not by picture)")
        typer.echo(f"without a mask, as the metadata say: {found.without_mask}")
        tables = {"sources": found.sources, "classes": found.classes, "splits": found.splits, "sizes": found.sizes}
        for title, counts in tables.items():
            typer.echo(f"{title}: " + ", ".join(f"{key} {value}" for key, value in counts.items()))
        problems = {
            "unreadable pictures": found.unreadable,
            "without a readable mask": found.missing_masks,
            "empty masks": found.empty_masks,
            "lesions in two splits": found.leaking_lesions,
            "same picture under different lesions": [" = ".join(group) for group in found.same_picture],
        }
        for title, names in problems.items():
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            typer.echo(f"{title}: {len(names)}" + (f" ({', '.join(names[:SHOWN])}{more})" if names else ""))
        for title, lines in (("errors", found.errors), ("look alike across sources or splits", found.near_duplicates)):
            typer.echo("\n  ".join([f"{title}: {len(lines)}", *lines]))
    if found.problems:
        raise typer.Exit(1)


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
