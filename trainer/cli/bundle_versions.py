"""Commands about the versions of a bundle: `upgrade` and `compare-bundles`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.cli.readings import Reason, note_reading

if TYPE_CHECKING:
    from trainer.data.ham10000 import Record


def upgrade(
    bundle: Annotated[str, typer.Argument(help="Path or name of a bundle.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the copy; default the bundle's own.")] = None,
    version: Annotated[
        str | None,
        typer.Option(help="The bundle's new version, such as 1.0.1.", show_default="the third number grows"),
    ] = None,
) -> None:
    """Bring a bundle to the newest form of files and manifest, without changing a network or an answer."""
    from edge_infer.bundle.store import load_bundle
    from trainer.bundle.upgrade import upgrade_bundle

    loaded = load_bundle(bundle)
    manifest = upgrade_bundle(loaded, out or loaded.path, version)
    typer.echo(f"{out or loaded.path}: {manifest.name} {manifest.version}, schema {manifest.schema_version}")


def compare_bundles(
    old: Annotated[str, typer.Argument(help="Path or name of the bundle before.")],
    new: Annotated[str, typer.Argument(help="Path or name of the bundle after.")],
    pictures: Annotated[Path | None, typer.Option(help="Folder of pictures, searched with its subfolders.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Data set instead of --pictures: its labels tell which changes are right.")
    ] = None,
    split: Annotated[str, typer.Option(help="Of the data set: train, val or test.")] = "val",
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many pictures, spread over all.")] = None,
    variant: Annotated[str | None, typer.Option(help="Form of the networks, of both.", show_default="float32")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads per network.")] = None,
    reason: Reason = "versions compared by hand",
    out: Annotated[
        list[Path] | None,
        typer.Option("--out", "-o", help="Also write the result to this .md or .json file; may be given twice."),
    ] = None,
) -> None:
    """Report what a new bundle changes on the same pictures: decisions, refusals, probabilities, outlines, speed.

    Each bundle decides at its own default operating point, on the CPU. Pictures of a data set's `test` are entered in
    the ledger first, once for each bundle; those of --pictures are of no known split.
    """
    import json

    from edge_infer import Diagnoser
    from edge_infer.benchmark import changes
    from edge_infer.cli.sources import expand
    from edge_infer.files import write_atomically
    from edge_infer.schema import dump
    from trainer.data.splits import spread, standard_split
    from trainer.errors import DataError, TrainerError
    from trainer.scoring.ledger import decisions_hash

    wrong = [str(path) for path in out or () if path.suffix not in (".md", ".json")]
    if wrong:
        raise TrainerError(f"It cannot be written as {', '.join(wrong)}.", "Name a file that ends in .md or .json.")
    melanoma: dict[Path, bool] | None = None
    known: list[Record] = []
    records: list[Record] = []
    if pictures is not None and data is None:
        sources = expand([str(pictures)]).sources
        files = [source.path for source in sources if source.path is not None]
        every = max(1, -(-len(files) // limit)) if limit else 1
        files = files[::every]
    elif data is not None and pictures is None:
        from trainer.data.isic import read_dataset

        known = read_dataset(data, strict=False)
        parts = standard_split(known)
        if split not in parts:
            raise DataError(f"There is no split '{split}'.", f"Choose one of: {', '.join(parts)}.")
        records = spread(parts[split], limit)
        files = [record.image_path for record in records]
        melanoma = {record.image_path: record.dx == "mel" for record in records}
    else:
        raise TrainerError("It is not clear what to compare on.", "Give --pictures or --data.")

    def load(bundle: str) -> Diagnoser:
        return Diagnoser.load(bundle, providers=["cpu"], threads=threads, variant=variant)

    with load(old) as before, load(new) as after:
        for manifest in (before.manifest, after.manifest):
            what = f"{manifest.name} {manifest.version}"
            note_reading("compare-bundles", what, decisions_hash(manifest), known, records, reason)
        found = changes.compare_bundles(before, after, files, melanoma)
    text = changes.to_markdown(found)
    for path in out or ():
        whole = json.dumps(dump(found), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        write_atomically(path, (text if path.suffix == ".md" else whole).encode())
    typer.echo(text, nl=False)


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command()(upgrade)
    app.command("compare-bundles")(compare_bundles)
