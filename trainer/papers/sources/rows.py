"""Arms as files: one JSON with all figures, and one table with a row a picture, so that tables need no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_infer.files import write_atomically
from edge_infer.schema import SchemaError, dump, parse
from trainer.data.ham10000 import Record
from trainer.errors import DataError
from trainer.report.summary import Figures
from trainer.scoring.alone import Scores
from trainer.scoring.columns import SUFFIX, Column, Kind, read_columns, write_columns

SCHEMA = 1


@dataclass(frozen=True)
class ArmRow:
    """One training of one arm.

    Attributes:
        schema: version of this file's form.
        recipe_name: the recipe that the arms change.
        name: of the arm.
        what: what sets it apart, in words.
        seed: of training.
        left_out: the source that it never saw; "" where there is none.
        split: how the pictures were drawn.
        initialisation: the weights that it started from.
        train_images: pictures that taught.
        epochs, recipe_epochs: of this training, and of the recipe.
        size, recipe_size: side of the input in pixels.
        train_minutes: wall time of all epochs.
        threads: CPU threads.
        hardware: the processor.
        recipe: as trained.
        figures: by source, and the sources' mean; see `trainer.scoring.alone.figures`.
    """

    schema: int
    recipe_name: str
    name: str
    what: str
    seed: int
    left_out: str
    split: str
    initialisation: str
    train_images: int
    epochs: int
    recipe_epochs: int
    size: int
    recipe_size: int
    train_minutes: float
    threads: int
    hardware: str
    recipe: dict[str, Any]
    figures: dict[str, Figures]


def stem_of(name: str, seed: int) -> str:
    """File name of an arm's training without its ending."""
    return f"{name}-seed{seed}"


def write_arm(folder: Path, row: ArmRow, scores: Scores) -> Path:
    """Writes both files at once; returns the path of the JSON."""
    stem = stem_of(row.name, row.seed)
    store_scores(scores, folder / stem)
    path = folder / f"{stem}.json"
    text = json.dumps(dump(row), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(path, (text + "\n").encode())
    return path


def store_scores(scores: Scores, stem: Path) -> Path:
    """Writes a network's answers at once; `read_scores` reads them. Returns the file's path."""
    path = stem.with_name(f"{stem.name}{SUFFIX}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_columns(path, _columns(scores))
    return path


def read_arm(path: Path) -> ArmRow:
    """Reads an arm's JSON.

    Raises:
        DataError: missing, or of another form.
    """
    try:
        row = parse(ArmRow, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, SchemaError) as error:
        raise DataError(
            f"'{path}' is no arm of a comparison: {error}.", "Make it with `trainer compare-sources`."
        ) from error
    if row.schema != SCHEMA:
        raise DataError(f"'{path}' has form {row.schema}, known is {SCHEMA}.", "Make it again.")
    return row


def read_arms(folder: Path) -> list[ArmRow]:
    """All arms of a folder, by name and seed."""
    return [read_arm(path) for path in sorted(folder.glob("*.json"))]


def read_scores(path: Path) -> Scores:
    """Reads what `write_arm` wrote beside the JSON; the records know only what figures need.

    Raises:
        DataError: the file is missing or not such a table.
    """
    try:
        columns = read_columns(path)
        records = _records(columns)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"'{path}' is no table of scores: {error}.", "Make the arm again.") from error
    classes = tuple(name.removeprefix("p_") for name in columns if name.startswith("p_"))
    rows = [columns[f"p_{name}"] for name in classes]
    probabilities = np.array(rows, np.float64).T if rows else np.zeros((len(records), 0))
    dice = np.array(columns["dice"], np.float64) if "dice" in columns else None
    return Scores(tuple(records), classes, probabilities, dice)


def _records(columns: Mapping[str, Sequence[Any]]) -> list[Record]:
    names = ("image_id", "lesion_id", "dx", "source")
    return [
        Record(
            image_id=image,
            lesion_id=lesion,
            dx=dx,
            split="",
            age=None,
            sex="",
            localization="",
            dx_type="",
            image_path=Path(image),
            mask_path=None,
            source=source,
        )
        for image, lesion, dx, source in zip(*(columns[name] for name in names), strict=True)
    ]


def _columns(scores: Scores) -> list[Column]:
    found = [
        Column(name, Kind.TEXT, [getattr(record, name) for record in scores.records])
        for name in ("image_id", "lesion_id", "source", "dx")
    ]
    found += [
        Column(f"p_{name}", Kind.NUMBER, scores.probabilities[:, position].tolist())
        for position, name in enumerate(scores.classes)
    ]
    return found if scores.dice is None else [*found, Column("dice", Kind.NUMBER, scores.dice.tolist())]
