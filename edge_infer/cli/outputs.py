"""The files that `diagnose` will write: checked against each other and against the pictures, before anything runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from edge_infer.cli.sources import Pictures, Source
from edge_infer.dicom.recognise import RESULT_SUFFIXES as DICOM_SUFFIXES
from edge_infer.files import OutputError, make_writable_folder


def claim_outputs(pictures: Pictures, folders: Sequence[Path], report: Path | None, dicom: Path | None = None) -> None:
    """Makes the folders for results, once it is sure that no file in them would harm another.

    Args:
        pictures: that results are written for.
        folders: each gets one picture for every result.
        report: a file of its own.
        dicom: a folder that gets DICOM objects for every result.

    Raises:
        OutputError: a file would be written over a given picture, over another result, or where a folder is; or a
            folder cannot be written to.
    """
    planned = [folder / f"{place}.png" for folder in folders for place in pictures.places.values()]
    if dicom is not None:
        planned += [dicom / f"{place}{suffix}" for place in pictures.places.values() for suffix in DICOM_SUFFIXES]
    _refuse_harm(pictures.sources, planned)
    for folder in (*folders, *([] if dicom is None else [dicom])):
        make_writable_folder(folder)
    if report is not None:
        _refuse_harm(pictures.sources, [report])
        make_writable_folder(report.parent)


def _refuse_harm(sources: Iterable[Source], files: Iterable[Path]) -> None:
    originals = {(found.st_dev, found.st_ino) for source in sources if (found := _stat(source.path)) is not None}
    planned: set[str] = set()
    for file in files:
        found = _stat(file)
        if found is not None and (found.st_dev, found.st_ino) in originals:
            raise OutputError(f"'{file}' is one of the given pictures.", "Save into another folder.")
        if file.is_dir():
            raise OutputError(f"'{file}' is a folder.", "Save into another folder, or give a file's name.")
        key = os.path.abspath(file).casefold()  # noqa: PTH100 - the file need not exist
        if key in planned:
            raise OutputError(f"Two results would be written to '{file}'.", "Give each --save option its own folder.")
        planned.add(key)


def _stat(path: Path | None) -> os.stat_result | None:
    try:
        return None if path is None else path.stat()
    except (OSError, ValueError):
        return None
