"""`DicomPicture`: a DICOM file as a picture that a `Diagnoser` takes like any other."""

from __future__ import annotations

import io
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_infer.dicom.checks import broken, check_kind, check_pixels_are_there, chosen_frame, whole_number
from edge_infer.dicom.geometry import Geometry, read_geometry, read_scale
from edge_infer.dicom.pixels import read_frame
from edge_infer.dicom.quiet import quietly
from edge_infer.dicom.recognise import FileMeta, is_dicom, is_enveloped, read_meta
from edge_infer.errors import (
    DicomBrokenError,
    DicomEncryptedError,
    DicomNotInstalledError,
    ExtraNotInstalledError,
    ImageTooLargeError,
)
from edge_infer.extras import need
from edge_infer.steps.image import DEFAULT_MAX_PIXELS, Picture, read_file

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_DEFLATED = "1.2.840.10008.1.2.1.99"
_AGAIN = "Check that it was copied or downloaded completely, or export it again."
_PROFILE = "The embedded colour profile was not applied; colours may be off."


@dataclass(frozen=True)
class Header:
    """What a file says about itself without its pixels.

    Attributes:
        dataset: all attributes but the pixels.
        frame: the chosen frame, counted from 1.
        frames: how many there are.
        geometry: from the stored matrix to the upright picture.
    """

    dataset: Dataset
    frame: int
    frames: int
    geometry: Geometry


@dataclass(frozen=True)
class DicomPicture:
    """A photograph in a DICOM file, one frame of it.

    Attributes:
        file: path, or the bytes of the whole file.
        frame: counted from 1; None where there is one frame only.

    Examples:
        >>> from edge_infer import Diagnoser
        >>> with Diagnoser.load() as diagnoser:
        ...     [diagnosis] = diagnoser.diagnose_many([DicomPicture("gone.dcm")])
        >>> diagnosis.error.code
        'image-not-found'
    """

    file: str | os.PathLike[str] | bytes
    frame: int | None = None

    @property
    def name(self) -> str | None:
        """Its path; None for bytes."""
        return None if isinstance(self.file, bytes) else os.fspath(self.file)

    def open_picture(self, max_pixels: int = DEFAULT_MAX_PIXELS) -> Picture:
        """Decodes the frame: RGB, upright, with square pixels.

        Raises:
            DicomError: not installed, no photograph, no pixels, encrypted, broken, ...; see its subclasses.
            ImageNotFoundError, ImageAccessError, ImageTooLargeError: see each.
        """
        dataset = self._read(max_pixels)
        header = self._header(dataset)
        with quietly():
            stored, notes = read_frame(dataset, header.frame, max_pixels)
        pixels = header.geometry.upright(stored, max_pixels)
        profile = bytes(dataset.get("ICCProfile") or b"")
        if profile and b"sRGB" not in profile and "sRGB".encode("utf-16-be") not in profile:
            notes = (*notes, _PROFILE)
        scale = read_scale(dataset)
        return Picture(pixels, pixels.shape[0], pixels.shape[1], warnings=notes, mm_per_pixel=scale)

    def read_header(self, max_pixels: int = DEFAULT_MAX_PIXELS) -> Header:
        """Reads the attributes of a file that `open_picture` takes; raises as it does."""
        dataset = self._read(max_pixels)
        header = self._header(dataset)
        del dataset.PixelData
        return header

    def _header(self, dataset: Dataset) -> Header:
        with quietly():
            check_kind(dataset)
            check_pixels_are_there(dataset)
            frame = chosen_frame(dataset, self.frame)
            frames = whole_number(dataset, "NumberOfFrames", default=1)
            geometry = read_geometry(dataset, whole_number(dataset, "Rows"), whole_number(dataset, "Columns"))
        return Header(dataset, frame, frames, geometry)

    def _read(self, max_pixels: int) -> Dataset:
        data = self.file if isinstance(self.file, bytes) else read_file(Path(self.file), max_pixels)
        meta = _check_file(data, max_pixels)
        try:
            pydicom = need("pydicom", "dicom")
        except ExtraNotInstalledError as error:
            raise DicomNotInstalledError(
                "This is a DICOM file, and what reads it is not installed.", error.remedy
            ) from error
        with quietly():
            try:
                dataset = pydicom.dcmread(io.BytesIO(data))
            except Exception as error:  # pydicom's, which depend on what is damaged, and may quote values
                raise broken("it cannot be read") from error
        if not meta.transfer_syntax:
            raise broken("its transfer syntax is missing")
        return dataset


def _check_file(data: bytes, max_pixels: int) -> FileMeta:
    if is_enveloped(data):
        raise DicomEncryptedError(
            "This DICOM file is in an encrypted envelope.", "Decrypt it with your archive's tool."
        )
    if not is_dicom(data):
        what = "empty (0 bytes)" if not data else "no DICOM file: it has no 'DICM' after its first 128 bytes"
        raise DicomBrokenError(f"The file is {what}.", _AGAIN)
    meta = read_meta(data)
    if meta.transfer_syntax == _DEFLATED:
        _check_inflated(data[meta.end :], 8 * max_pixels + 2**26)
    return meta


def _check_inflated(data: bytes, limit: int) -> None:
    """A small deflated file may hold any number of bytes; they are counted before they are kept."""
    inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    try:
        while data and not inflater.eof:
            size += len(inflater.decompress(data, 2**20))
            data = inflater.unconsumed_tail
            if size > limit:
                raise ImageTooLargeError(
                    f"The deflated DICOM file holds more than {limit / 1e6:.0f} MB.",
                    "Check the file, or raise max_pixels.",
                )
    except zlib.error as error:
        raise broken("its deflated part cannot be inflated") from error
