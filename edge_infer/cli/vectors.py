"""`edge-infer vectors`: conformance vectors for ports, written or replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_infer.cli.options import BundleArgument, Format
from edge_infer.cli.terminal import prepare_stdout


def vectors(
    bundle: BundleArgument = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", file_okay=False, help="Write the bundle's vectors here."),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            "--check",
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Replay this folder's vectors on this machine.",
        ),
    ] = None,
) -> None:
    """Write conformance vectors for ports, or replay them.

    Vectors are small files with the input and the result of every step, in a form that any language reads. A port that
    computes the same within the stated tolerances gives the same answers. DIR gets a README.md that describes them.
    """
    from edge_infer.conformance.run import replay_vectors
    from edge_infer.conformance.store import VectorsError, read_folder
    from edge_infer.conformance.write import write_vectors
    from edge_infer.diagnoser import Diagnoser

    if output is None and check is None:
        raise typer.BadParameter("Give --output DIR to write vectors, or --check DIR to replay them.")
    prepare_stdout(Format.CARD)
    with Diagnoser.load(bundle, providers=["cpu"], threads=1) as diagnoser:
        if output is not None:
            index, size = write_vectors(diagnoser, output)
            typer.echo(f"{len(index.vectors)} vectors, {size / 1e6:.2f} MB, of bundle {index.bundle.name} in {output}")
        if check is None:
            return
        index = read_folder(check)
        outcomes = list(replay_vectors(index, diagnoser))
        for step, entry in index.steps.items():
            mine = [outcome for outcome in outcomes if outcome.vector.step == step]
            bad = [outcome for outcome in mine if not outcome.passed]
            typer.echo(f"  {'FAILED' if bad else 'ok':<8}{step:<20}{len(mine):>5}  {entry.about}")
            for outcome in bad:
                typer.echo(f"          {outcome.vector.name}: {'; '.join(outcome.failures)}")
        failed = sum(not outcome.passed for outcome in outcomes)
        if failed:
            raise VectorsError(
                f"{failed} of {len(index.vectors)} vectors failed.",
                "Tell the project which OpenCV and ONNX Runtime are installed: `edge-infer doctor`.",
            )
