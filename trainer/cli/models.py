"""`python -m trainer models`."""

from __future__ import annotations

import typer


def models() -> None:
    """List the networks that recipes can name, with parameters and multiply-adds."""
    from trainer.models import entries
    from trainer.models.complexity import measure

    typer.echo(f"{'name':<34}{'task':<16}{'input':>6}{'Mparams':>9}{'GFLOPs':>8}  summary")
    for item in entries():
        size = measure(item)
        typer.echo(
            f"{item.name:<34}{item.task:<16}{item.size:>6}{size.parameters / 1e6:>9.2f}{size.gflops:>8.2f}  "
            f"{item.summary}"
        )
