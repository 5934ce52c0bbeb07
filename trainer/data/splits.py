"""Which picture trains, validates or tests. The unit is the lesion: pictures of one lesion never part ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from trainer.data.ham10000 import Record
from trainer.errors import DataError

SPLITS = ("train", "val", "test")

SplitName = Literal["column", "lesion-80-20", "lesion-60-20-20", "image-80-20", "development"]
SPLIT_NAMES: tuple[SplitName, ...] = get_args(SplitName)
LEAKING: tuple[SplitName, ...] = ("image-80-20",)
"""Splits by picture, as the papers drew them: a lesion in `test` may have a sibling in `train`."""


def parse_split_name(name: str) -> SplitName:
    """A protocol by name.

    Raises:
        DataError: there is none of this name.
    """
    for known in SPLIT_NAMES:
        if known == name:
            return known
    raise DataError(f"There is no split '{name}'.", f"Choose one of: {', '.join(SPLIT_NAMES)}.")


def split_by_column(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Follows the metadata's own `split` column.

    Raises:
        DataError: the column is missing or holds an unknown value, or a lesion is in two splits.
    """
    unknown = sorted({record.split for record in records} - set(SPLITS))
    if unknown:
        raise DataError(
            f"The metadata's split column holds {', '.join(repr(value) for value in unknown)}.",
            f"Use {', '.join(SPLITS)}, or draw a split by lesion.",
        )
    parts: dict[str, list[Record]] = {name: [] for name in SPLITS}
    for record in records:
        parts[record.split].append(record)
    check_disjoint(parts)
    return parts


def split_by_lesion(records: Sequence[Record], folds: int = 5, seed: int = 0) -> dict[str, list[Record]]:
    """Draws a split by lesion, stratified by diagnosis: one fold each tests and validates, the others train.

    Five folds give 60/20/20.

    Raises:
        DataError: there are too few lesions for this many folds.
    """
    fold_of = lesion_folds(records, folds, seed)
    parts: dict[str, list[Record]] = {name: [] for name in SPLITS}
    for record, fold in zip(records, fold_of, strict=True):
        parts[{0: "test", 1: "val"}.get(int(fold), "train")].append(record)
    check_disjoint(parts)
    return parts


def lesion_folds(records: Sequence[Record], folds: int, seed: int = 0) -> NDArray[np.int64]:
    """The fold (from 0) that holds each record out, int64, shape (n,): by lesion, stratified by diagnosis.

    Raises:
        DataError: there are too few lesions, or pictures of every diagnosis, for this many folds.
    """
    labels = strata(records)
    lesions = np.array([record.lesion_id for record in records])
    if len(set(lesions)) < folds:
        raise DataError(f"{len(set(lesions))} lesions are too few for {folds} folds.", "Use fewer folds or more data.")
    if (most := int(np.unique(labels, return_counts=True)[1].max())) < folds:
        raise DataError(
            f"No diagnosis has more than {most} pictures, too few for {folds} folds that each hold one.",
            "Use fewer folds or more data.",
        )
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    fold_of = np.zeros(len(labels), np.int64)
    for fold, (_, held) in enumerate(splitter.split(np.zeros(len(labels)), labels, lesions)):
        fold_of[held] = fold
    return fold_of


def strata(records: Sequence[Record]) -> NDArray[np.str_]:
    """What draws are stratified by, shape (n,): the diagnosis, with its source before it where there are several.

    Raises:
        DataError: a diagnosis is none of the seven.
    """
    several = len({record.source for record in records}) > 1
    names = [record.dx if record.label >= 0 else "" for record in records]
    return np.array([f"{record.source}/{dx}" if several else dx for record, dx in zip(records, names, strict=True)])


def cross_fit(
    records: Sequence[Record], folds: int, fold: int | None, of: Literal["train+val", "train"] = "train+val"
) -> dict[str, list[Record]]:
    """`train` and `val` of one network of a cross-fitted recipe, drawn from the standard split's `train` and `val`.

    The test split is in neither.

    Args:
        records: the whole data set.
        folds: number of folds.
        fold: the fold that is held out as `val`, from 1; None is the network that ships: it learns from all folds, and
            `val` is empty.
        of: `train` draws from the standard split's `train` alone.

    Raises:
        DataError: there is no such fold, or there are too few lesions.
    """
    parts = standard_split(records)
    known = parts["train"] + (parts["val"] if of == "train+val" else [])
    if fold is None:
        return {"train": known, "val": []}
    if not 1 <= fold <= folds:
        raise DataError(
            f"There is no fold {fold}.", f"The recipe has folds 1 to {folds}." if folds else "Leave it out."
        )
    held = lesion_folds(known, folds) == fold - 1
    chosen = {
        "train": [record for record, out in zip(known, held, strict=True) if not out],
        "val": [record for record, out in zip(known, held, strict=True) if out],
    }
    check_disjoint(chosen)
    return chosen


def check_disjoint(parts: dict[str, list[Record]]) -> None:
    """Raises DataError where two splits share a lesion: figures measured on them would be too good."""
    owner: dict[str, str] = {}
    for name, records in parts.items():
        for record in records:
            first = owner.setdefault(record.lesion_id, name)
            if first != name:
                raise DataError(
                    f"Lesion {record.lesion_id} is in '{first}' and in '{name}': the split leaks.",
                    "Split by lesion, not by picture.",
                )


def standard_split(records: Sequence[Record], seed: int = 0) -> dict[str, list[Record]]:
    """By source the prescribed split where every record has one, otherwise a drawn split by lesion (60/20/20).

    Where the data set prescribes no validation pictures, a tenth of the training lesions is drawn for it.

    Raises:
        DataError: two parts share a lesion, or a source prescribes the split of some records and not of others.
    """
    for fault in half_prescribed(records):
        raise fault
    parts: dict[str, list[Record]] = {name: [] for name in SPLITS}
    for own in _by_source(records).values():
        for name, chosen in (split_by_column(own) if _prescribed(own) else split_by_lesion(own, seed=seed)).items():
            parts[name] += chosen
    check_disjoint(parts)
    if parts["train"] and not parts["val"]:
        drawn = split_by_lesion(parts["train"], folds=10, seed=seed)
        parts |= {"train": drawn["train"] + drawn["test"], "val": drawn["val"]}
        check_disjoint(parts)
    return parts


def parts_of_sources(records: Sequence[Record]) -> dict[str, set[str]]:
    """Names of the parts that `standard_split` gives pictures of each source, without drawing any.

    Values of a split column that are no part's name are among them.
    """
    found = {
        source: {record.split for record in own} if _prescribed(own) else set(SPLITS)
        for source, own in _by_source(records).items()
    }
    if not any("val" in parts for parts in found.values()):
        return {source: parts | {"val"} if "train" in parts else parts for source, parts in found.items()}
    return found


def half_prescribed(records: Sequence[Record]) -> list[DataError]:
    """One error for each record without a split in a source where others have one.

    A split drawn for the whole source instead would put pictures of its `test` among those that are learnt from.
    """
    return [
        DataError(
            f"{record.place}: {record.image_id} has no split, and others of '{source}' have one.",
            f"Write one of {', '.join(SPLITS)}, or leave the column empty in all rows of the source.",
        )
        for source, own in _by_source(records).items()
        if any(record.split for record in own)
        for record in own
        if not record.split
    ]


def _by_source(records: Sequence[Record]) -> dict[str, list[Record]]:
    """The records of each source, sources and records in the order given."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.source, []).append(record)
    return found


def _prescribed(records: Sequence[Record]) -> bool:
    """Whether the records of one source come with their split."""
    return all(record.split for record in records)


def spread(records: Sequence[Record], limit: int | None) -> list[Record]:
    """At most `limit` records, evenly spaced over the list (metadata is often sorted by diagnosis); None: all."""
    if limit is None or limit >= len(records):
        return list(records)
    return [records[position * len(records) // limit] for position in range(limit)]


def named_split(records: Sequence[Record], name: SplitName, seed: int = 0) -> dict[str, list[Record]]:
    """`train`, `val` and `test` by the name of a protocol; each record's `split` says where it went.

    Args:
        records: the whole data set.
        name: `column` is `standard_split`; `lesion-80-20` and `lesion-60-20-20` are drawn by lesion, stratified by
            diagnosis; `image-80-20` is drawn by picture, stratified too, and leaks. Where nothing is left for `val`
            (80/20), a tenth of the other pictures is drawn for it in the same way. `development` halves the standard
            split's `train` and `val` by lesion and leaves its `test` alone, so that design choices may be made on what
            it calls `test`: four times as many pictures as the standard `val` has.
        seed: of the draw.
    """
    if name == "image-80-20":
        rest, test = _hold_out_pictures(records, 5, seed)
        train, val = _hold_out_pictures(rest, 10, seed)
        parts = {"train": train, "val": val, "test": test}
    elif name == "lesion-80-20":
        first = split_by_lesion(records, seed=seed)
        others = split_by_lesion(first["train"] + first["val"], folds=10, seed=seed)
        parts = {"train": others["train"] + others["test"], "val": others["val"], "test": first["test"]}
    elif name == "development":
        halves = cross_fit(records, 2, 1)
        names = strata(halves["train"]).tolist()
        others = split_by_lesion(halves["train"], min(10, max(names.count(item) for item in set(names))), seed)
        parts = {"train": others["train"] + others["test"], "val": others["val"], "test": halves["val"]}
    elif name == "lesion-60-20-20":
        parts = split_by_lesion(records, seed=seed)
    else:
        parts = standard_split(records, seed)
    if name not in LEAKING:
        check_disjoint(parts)
    return {part: [replace(record, split=part) for record in chosen] for part, chosen in parts.items()}


class Siblings(NamedTuple):
    """Share of the test pictures, 0..1, that have a picture of the same lesion in `train` or `val`: of all, and of
    melanoma (0 where there is none)."""

    all: float
    melanoma: float


def siblings(parts: dict[str, list[Record]]) -> Siblings:
    """How much a split leaks."""
    known = {record.lesion_id for part in ("train", "val") for record in parts[part]}

    def share(records: list[Record]) -> float:
        return sum(record.lesion_id in known for record in records) / len(records) if records else 0.0

    return Siblings(share(parts["test"]), share([record for record in parts["test"] if record.dx == "mel"]))


def _hold_out_pictures(records: Sequence[Record], folds: int, seed: int) -> tuple[list[Record], list[Record]]:
    """The records without and within one fold that is drawn by picture, stratified by diagnosis."""
    labels = [record.dx for record in records]
    largest = max(labels.count(dx) for dx in set(labels))
    if largest < 2:
        raise DataError(f"{len(records)} pictures are too few to be split.", "Use more data.")
    splitter = StratifiedKFold(min(folds, largest), shuffle=True, random_state=seed)
    kept, held = next(splitter.split(np.zeros(len(labels)), labels))
    return [records[i] for i in kept], [records[i] for i in held]
