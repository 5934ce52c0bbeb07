"""A table of labelled pictures: which picture, melanoma or not, which lesion or patient, and what else is known."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_infer.errors import InputError
from edge_infer.files import PICTURE_SUFFIXES

PICTURE_COLUMNS = ("image", "image_id", "isic_id", "path", "file", "filename", "source", "picture")
LABEL_COLUMNS = ("melanoma", "dx", "diagnosis", "label", "target")
GROUP_COLUMNS = ("patient_id", "patient", "lesion_id", "lesion")
ATTRIBUTE_COLUMNS = ("sex", "age", "localization", "site", "anatom_site_general", "skin_type", "dx_type", "device")
MELANOMA_VALUES = frozenset({"1", "1.0", "true", "yes", "mel", "melanoma"})
UNCLEAR_VALUES = frozenset({"malignant", "unknown", "uncertain", "indeterminate", "unsure", "?", "na", "n/a", "nan"})
"""Labels that are neither: a carcinoma is malignant and no melanoma. They must be mapped or left out by their owner."""


@dataclass(frozen=True)
class Columns:
    """Names of columns; None takes the first known one that the table has.

    Attributes:
        picture: a path or an id, see `read_labels`.
        label: see `read_labels`.
        group: lesion or patient; pictures of one group count together in intervals.
        attributes: for subgroups; None takes those of `ATTRIBUTE_COLUMNS` that the table has.
    """

    picture: str | None = None
    label: str | None = None
    group: str | None = None
    attributes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Labelled:
    """One labelled picture.

    Attributes:
        path: of the file.
        melanoma: the truth.
        group: its lesion or patient; its own path where the table has neither.
        attributes: value by column, "unknown" where the cell is empty; ages in bands.
    """

    path: Path
    melanoma: bool
    group: str
    attributes: Mapping[str, str]


@dataclass(frozen=True)
class Labels:
    """What a table says.

    Attributes:
        pictures: in the table's order.
        columns: those that were used.
        values: how often each label stands there, with what it was taken for: ("mel", True).
        unlabelled: rows that were left out because their label is empty.
    """

    pictures: tuple[Labelled, ...]
    columns: Columns
    values: Mapping[tuple[str, bool], int]
    unlabelled: int


def read_labels(
    table: Path,
    *,
    pictures: Path | None = None,
    columns: Columns | None = None,
    melanoma: Iterable[str] = MELANOMA_VALUES,
    where: Mapping[str, str] | None = None,
) -> Labels:
    """Reads a CSV of labelled pictures.

    Args:
        table: UTF-8, with a header.
        pictures: folder that paths and ids are relative to; None takes the table's own. An id without a suffix is
            looked up with every suffix of a picture.
        columns: see `Columns`.
        melanoma: labels that mean melanoma, in any case; every other one means that it is none, but for those of
            `UNCLEAR_VALUES`.
        where: only rows whose columns have these values.

    Raises:
        InputError: the table cannot be read, lacks a column, names a picture that is absent or twice, has a label that
            is neither, or has no row left.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            names = list(reader.fieldnames or ())
            rows = [row for row in reader if all(row.get(key) == value for key, value in (where or {}).items())]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The table '{table}' cannot be read: {error}.", "Save it as CSV in UTF-8.") from error
    for name in where or {}:
        _require(table, names, (name,))
    chosen = _choose(table, names, columns or Columns())
    wanted = frozenset(value.casefold() for value in melanoma)
    found, values, unlabelled = [], Counter[tuple[str, bool]](), 0
    folder = table.parent if pictures is None else pictures
    for row in rows:
        label = (row[str(chosen.label)] or "").strip()
        if not label:
            unlabelled += 1
            continue
        positive = label.casefold() in wanted
        if not positive and label.casefold() in UNCLEAR_VALUES:
            raise InputError(
                f"The label '{label}' in '{table}' says neither melanoma nor that it is none.",
                "Empty the cell to leave the row out, or name what means melanoma with --melanoma.",
            )
        values[label, positive] += 1
        path = find_picture(folder, row[str(chosen.picture)] or "")
        group = (row[chosen.group] or "").strip() if chosen.group else ""
        known = {name: _value(name, row[name] or "") for name in chosen.attributes or ()}
        found.append(Labelled(path, positive, group or str(path), known))
    if not found:
        raise InputError(f"No labelled picture is left of '{table}'.", "Check --where and the label column.")
    twice = [path for path, count in Counter(picture.path for picture in found).items() if count > 1]
    if twice:
        raise InputError(f"'{twice[0]}' stands twice in '{table}'.", "Keep one row a picture.")
    return Labels(tuple(found), chosen, values, unlabelled)


def find_picture(folder: Path, name: str) -> Path:
    """The file of a picture's path or id below a folder.

    Raises:
        InputError: there is none.
    """
    path = folder / name
    if name and path.is_file():
        return path
    for suffix in sorted(PICTURE_SUFFIXES):
        candidate = path.with_name(f"{path.name}{suffix}") if name else path
        if name and candidate.is_file():
            return candidate
    raise InputError(f"There is no picture '{path}'.", "Say with --pictures which folder the names are relative to.")


def age_band(text: str) -> str:
    """An age in years as one of four bands; "unknown" where it is no number."""
    try:
        age = float(text)
    except ValueError:
        return "unknown"
    if not 0 <= age < 150:
        return "unknown"
    return "below 30" if age < 30 else "30-49" if age < 50 else "50-69" if age < 70 else "70 and above"


def _value(name: str, text: str) -> str:
    return age_band(text) if name == "age" else text.strip() or "unknown"


def _choose(table: Path, names: Sequence[str], columns: Columns) -> Columns:
    picture = _require(table, names, PICTURE_COLUMNS if columns.picture is None else (columns.picture,))
    label = _require(table, names, LABEL_COLUMNS if columns.label is None else (columns.label,))
    if columns.group is not None:
        _require(table, names, (columns.group,))
    group = columns.group or next((name for name in GROUP_COLUMNS if name in names), None)
    for name in columns.attributes or ():
        _require(table, names, (name,))
    known = tuple(name for name in ATTRIBUTE_COLUMNS if name in names and name != label)
    return Columns(picture, label, group, known if columns.attributes is None else columns.attributes)


def _require(table: Path, names: Sequence[str], candidates: Sequence[str]) -> str:
    for candidate in candidates:
        if candidate in names:
            return candidate
    raise InputError(
        f"'{table}' has no column {' or '.join(candidates)}.",
        f"It has: {', '.join(names) or 'none'}.",
    )
