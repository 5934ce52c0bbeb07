"""Several data sets as one: every record knows its source, and no picture or lesion stands in two places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from trainer.data.ham10000 import SOURCE, Complain, Record, refuse
from trainer.data.isic import read_dataset
from trainer.errors import DataError
from trainer.recipe import Recipe


def read_sources(
    folders: Sequence[str | Path], *, strict: bool = True, complain: Complain | None = None
) -> list[Record]:
    """The records of all folders, in the order given; see `trainer.data.isic.read_dataset`.

    Args:
        folders: at least one data set.
        strict: a missing picture or mask is an error.
        complain: called with each problem in place of raising it; a folder that cannot be read is then left out.

    Raises:
        DataError: no folder is named; without `complain` also: a folder cannot be read, a picture is in two of them, or
            a lesion is in two sources or two splits.
    """
    report = complain or refuse
    if not folders:
        raise DataError("There is no data set.", "Name at least one folder.")
    records: list[Record] = []
    for folder in folders:
        try:
            records += read_dataset(folder, strict=strict, complain=complain)
        except DataError as error:
            report(error)
    for contradiction in [*contradictions(records), *_nameless(records)]:
        report(contradiction)
    return records


def _nameless(records: Sequence[Record]) -> list[DataError]:
    """An error for each further folder whose pictures carry HAM10000's name because it does not state their source."""
    tables = {record.listed_at.rpartition(", row ")[0]: record for record in records if record.source == SOURCE}
    return [
        DataError(
            f"{record.place}: its source is taken as '{SOURCE}', as that of another folder is.",
            "Write a column 'source' in the metadata of the folder that is another clinic's.",
        )
        for record in list(tables.values())[1:]
    ]


def contradictions(records: Sequence[Record]) -> list[DataError]:
    """One error for each picture that two folders list, and for each that shows a lesion of another source or split.

    A lesion is where its first picture is; of a picture that is there twice nothing else is said.
    """
    found: list[DataError] = []
    pictures: dict[str, Record] = {}
    lesions: dict[str, Record] = {}
    for record in records:
        first = pictures.setdefault(record.image_id, record)
        if first is not record:
            found.append(
                DataError(
                    f"{record.place}: {record.image_id} is in '{first.source}' ({first.place}) and in "
                    f"'{record.source}'.",
                    "Leave one of the two folders out, or remove the picture from one metadata file.",
                )
            )
            continue
        first = lesions.setdefault(record.lesion_id, record)
        if (first.source, first.split) == (record.source, record.split):
            continue
        kind = "source" if first.source != record.source else "split"
        found.append(
            DataError(
                f"{record.place}: lesion {record.lesion_id} is in {kind} '{getattr(first, kind)}' ({first.image_id}, "
                f"{first.place}) and in {kind} '{getattr(record, kind)}' ({record.image_id}).",
                "Give all pictures of a lesion the same source and split.",
            )
        )
    return found


def taught(recipe: Recipe, records: Sequence[Record], everything: Sequence[Record] | None = None) -> list[Record]:
    """The records that a recipe learns from or is validated on: of its sources, as each may teach.

    Networks that outline take pictures with masks only, and so do those that see the lesion on black.

    Args:
        recipe: what is learnt.
        records: one part of the data.
        everything: all parts, of which one alone may lack a source; None: `records` are all there is.

    Raises:
        DataError: the recipe names a source that the data do not hold, no record is left, or the lesion is to be shown
            on black and a source has no masks at all.
    """
    chosen = recipe.data.sources
    known = {record.source for record in (records if everything is None else everything)}
    if unknown := sorted(set(chosen) - known):
        raise DataError(
            f"The recipe '{recipe.name}' names the source {unknown[0]}, and the data hold {', '.join(sorted(known))}.",
            "Give its folder with --data, or correct data.sources.",
        )
    masks, classes = recipe.task != "classification", recipe.task != "segmentation"
    on_black = recipe.data.roi is not None and recipe.data.roi.background == "zero"
    may_teach = [
        record
        for record in records
        if record.image_id not in recipe.data.without and _teaches(chosen, record.source, masks, classes)
    ]
    fitting = [record for record in may_teach if record.mask_path is not None or not (masks or on_black)]
    if on_black and (lost := {record.source for record in may_teach} - {record.source for record in fitting}):
        raise DataError(
            f"'{recipe.name}' shows the lesion on black, and no picture of {min(lost)} has a mask to cut it out by.",
            "Leave that source out of data.sources, or keep the background.",
        )
    if records and not fitting:
        raise DataError(f"No picture is left for '{recipe.name}'.", "It needs masks, or other data.sources.")
    return fitting


def _teaches(chosen: Mapping[str, object], source: str, masks: bool, classes: bool) -> bool:
    if not chosen:
        return True
    what = getattr(chosen.get(source), "teaches", "nothing")
    return what == "all" or (what == "masks" and masks and not classes) or (what == "classes" and classes and not masks)
