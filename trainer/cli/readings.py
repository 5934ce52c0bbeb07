"""What commands share that may open pictures of `test`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trainer.data.ham10000 import Record

Reason = Annotated[str, typer.Option(help="Why `test` is read, for the ledger.")]


def note_reading(
    command: str, what: str, identity: str, known: Sequence[Record], chosen: Sequence[Record], reason: str
) -> None:
    """Enters in the ledger those of the chosen pictures that are of the data's own `test`, before they are opened.

    Args:
        command: the words after `python -m trainer`.
        what, identity, reason: see `trainer.scoring.ledger.enter`.
        known: the whole data set.
        chosen: what is about to be opened; a picture that is there twice counts once.

    Raises:
        OutputError: the line cannot be written, so nothing must be read.
    """
    from trainer.cli.bundle import RESULTS
    from trainer.scoring.ledger import LEDGER, enter, of_test

    once = list({record.image_id: record for record in chosen}.values())
    enter(RESULTS / LEDGER, what, identity, of_test(known, once), f"python -m trainer {command}", reason)
