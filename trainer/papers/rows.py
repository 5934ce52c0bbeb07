"""Rows of the comparisons as files: one JSON and one table of predictions each, so that tables need no network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edge_infer.files import write_atomically
from edge_infer.schema import SchemaError, dump, parse
from trainer.data.splits import SplitName
from trainer.errors import DataError
from trainer.papers.measures import Figured
from trainer.scoring.columns import SUFFIX
from trainer.scoring.ledger import LEDGER
from trainer.scoring.predictions import Prediction, read_predictions, write_predictions

SCHEMA = 1

View = Literal["picture", "whole", "truth", "predicted"]
"""What was seen: the picture (segmentation); the whole picture, the true crop, the predicted crop (classification)."""


@dataclass(frozen=True)
class Compute:
    """What a row cost, and what a full run of its recipe would use.

    Attributes:
        train_images, val_images: pictures that taught, and that chose the epoch and the threshold.
        full_train_images: all pictures of the split's `train`.
        epochs, planned_epochs, recipe_epochs: done (a run may stop early), asked for here, and the recipe's own.
        best_epoch: the one that was evaluated: chosen on `val`, or in the ablations the last.
        size, recipe_size: side of the input in pixels, here and in the recipe.
        parameters: trainable weights.
        train_minutes: wall time of all epochs, validation included.
        evaluate_minutes: wall time of the evaluation on `val` and `test`.
        threads: CPU threads.
        device: `cpu` or the accelerator's name.
        hardware: the processor.
        core_minutes: processor time of all epochs, over the threads; None in rows from before this was kept.
    """

    train_images: int
    val_images: int
    full_train_images: int
    epochs: int
    planned_epochs: int
    recipe_epochs: int
    best_epoch: int
    size: int
    recipe_size: int
    parameters: int
    train_minutes: float
    evaluate_minutes: float
    threads: int
    device: str
    hardware: str
    core_minutes: float | None = None

    @property
    def minutes_of_one_core(self) -> float:
        """`core_minutes`, or wall time by threads where these are not known, which other work may have drawn out."""
        return self.train_minutes * self.threads if self.core_minutes is None else self.core_minutes

    @property
    def low_budget(self) -> bool:
        """Whether it saw fewer pictures, fewer epochs or a smaller input than its recipe asks for."""
        short = self.planned_epochs < self.recipe_epochs
        return short or self.train_images < self.full_train_images or self.size < self.recipe_size


@dataclass(frozen=True)
class Row:
    """One system in one comparison.

    Attributes:
        schema: version of this file's form.
        table: the comparison.
        name: of the row; with `view` it names the files.
        system: S1 to S10.
        what: what it is, in words.
        view: what was seen, see `View`.
        roi_from: the segmenter of predicted crops, "" otherwise.
        data: name of the data set.
        split: how `train`, `val` and `test` were drawn.
        leaks: whether lesions of `test` may have pictures in `train`.
        shared, shared_melanoma: share of the test pictures (of melanoma) of which that is so.
        test_limit: pictures of `test` that were evaluated; None: all.
        seed: of training.
        initialisation: the weights that it started from.
        recipe: as trained; None for S10, which learns nothing.
        compute: what it cost; None for S10.
        labels: the classes in order; empty for segmentation.
        positive: the class that decisions are about; "" for segmentation.
        predictions: file name of the per-image predictions, beside this file.
        figures: all figures on `test`.
        pace: the time that the schedule was fitted to, "" where it was not.
        cut: why the schedule takes longer than its pace, "" where it does not.
        external: figures on the `test` of sources that it did not learn from, by source; their predictions lie beside
            this file too, see `external_file`.
        curve: one entry an epoch, as in `history.csv`.
        segmenter: SHA-256 of the segmenter whose outlines it was shown or learnt from; "" where there is none, and in
            rows from before this was kept.
    """

    schema: int
    table: str
    name: str
    system: str
    what: str
    view: View
    roi_from: str
    data: str
    split: SplitName
    leaks: bool
    shared: float
    shared_melanoma: float
    test_limit: int | None
    seed: int
    initialisation: str
    recipe: dict[str, Any] | None
    compute: Compute | None
    labels: tuple[str, ...]
    positive: str
    predictions: str
    figures: Figured
    segmenter: str = ""
    pace: str = ""
    cut: str = ""
    external: dict[str, Figured] = field(default_factory=dict)
    curve: tuple[dict[str, float], ...] = ()


def ledger_of(out: Path) -> Path:
    """The ledger of readings of `test` above a folder of results: the nearest that is there, or one beside it."""
    near = [parent / LEDGER for parent in out.absolute().parents]
    return next((path for path in near if path.is_file()), out.parent / LEDGER)


def folder_of(out: Path, table: str, split: SplitName) -> Path:
    """Where a comparison's rows lie: rows of different splits are never in one table."""
    return out / (table if split == "column" else f"{table}-{split}")


def stem_of(name: str, view: View) -> str:
    """File name of a row without its ending."""
    return f"{name}-{view}-roi" if view in ("truth", "predicted") else name


def external_file(stem: str, source: str) -> str:
    """File name of a row's predictions on another source."""
    return f"{stem}-on-{source}{SUFFIX}"


def judged_elsewhere(view: View) -> bool:
    """Whether a row is judged on other sources too: not on predicted crops, whose segmenter may know these sources."""
    return view != "predicted"


def store_predictions(predictions: Sequence[Prediction], path: Path) -> list[Prediction]:
    """Writes predictions at once and returns them as they are read back, rounded, so that figures can be made again."""
    write_predictions(path, predictions)
    return read_predictions(path)


def write_row(row: Row, folder: Path) -> Path:
    """Writes a row at once, beside its predictions; returns its path."""
    path = folder / f"{Path(row.predictions).stem}.json"
    text = json.dumps(dump(row), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(path, (text + "\n").encode())
    return path


def read_row(path: Path) -> Row:
    """Reads what `write_row` wrote.

    Raises:
        DataError: missing, or of another form.
    """
    try:
        row = parse(Row, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, SchemaError) as error:
        raise DataError(f"'{path}' is no row of a comparison: {error}.", "Make it with `trainer compare`.") from error
    if row.schema != SCHEMA:
        raise DataError(f"'{path}' has form {row.schema}, known is {SCHEMA}.", "Make it again with `trainer compare`.")
    return row


def read_rows(folder: Path) -> list[Row]:
    """All rows of a comparison's folder, by system and name; empty where there is none."""
    rows = [read_row(path) for path in sorted(folder.glob("*.json"))]
    return sorted(rows, key=lambda row: (int(row.system.removeprefix("S")), row.name, row.view))
