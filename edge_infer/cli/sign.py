"""`edge-infer sign`: says who published a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_infer.cli.terminal import note


def sign(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Name or folder of the bundle to sign.")],
    key: Annotated[
        Path,
        typer.Option("--key", metavar="FILE", help="Your private key: Ed25519 in PEM, without a password."),
    ],
    make_key: Annotated[
        bool,
        typer.Option(
            "--make-key",
            help="Make the key first, readable by you alone, and the public key beside it as FILE.pub, to be given to "
            "those who use your bundles. An existing key is never written over.",
        ),
    ] = False,
) -> None:
    """Sign a bundle.

    Checks every file's hash, then writes bundle.sig: an Ed25519 signature of bundle.json, which lists the hashes of all
    other files. Others check it with --require-signature and your public key. Needs the extra [sign].
    """
    from edge_infer.bundle import signature
    from edge_infer.bundle.store import load_bundle
    from edge_infer.files import write_atomically

    loaded = load_bundle(bundle)
    if make_key:
        note(f"the public key is in {signature.make_key(key)}")
    file = loaded.path / signature.SIGNATURE
    write_atomically(file, signature.sign(loaded.raw, key), durable=True)
    typer.echo(f"signed {loaded.manifest.name} {loaded.manifest.version} ({loaded.sha256[:12]}): {file}")
