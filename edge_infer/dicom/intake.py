"""Whatever is given - a path or the bytes of a file - as a `Diagnoser` takes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge_infer.dicom.recognise import is_dicom, looks_like_dicom

if TYPE_CHECKING:
    from edge_infer.dicom.reading import DicomPicture


def dicom_picture(file: Path | bytes, frame: int | None = None) -> DicomPicture | None:
    """A frame of the file where it is DICOM, otherwise None.

    Args:
        file: path, or the bytes of the whole file.
        frame: counted from 1; None where there is one frame only.
    """
    if not (is_dicom(file) if isinstance(file, bytes) else looks_like_dicom(file)):
        return None
    from edge_infer.dicom.reading import DicomPicture

    return DicomPicture(file, frame)


def as_picture(file: Path | bytes, frame: int | None = None) -> Path | bytes | DicomPicture:
    """`dicom_picture`, or the file itself where it is not DICOM."""
    return dicom_picture(file, frame) or file
