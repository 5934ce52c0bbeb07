"""Commands about the versions of a bundle: `upgrade` and `compare-bundles`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command()(upgrade)
