"""One frame of a data set as RGB uint8, as stored: every photometric interpretation, every coding."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_infer.dicom.checks import broken, text_of, whole_number
from edge_infer.dicom.codestream import check_size, without_metadata
from edge_infer.dicom.extended import SYNTAX, decode_extended
from edge_infer.dicom.grey import to_grey
from edge_infer.errors import DicomNotInstalledError, DicomUnsupportedError, ImageDecodeError
from edge_infer.steps.image import check_pixels, open_picture

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_JPEG = "1.2.840.10008.1.2.4.50"
_RLE = "1.2.840.10008.1.2.5"
_NATIVE = {
    "1.2.840.10008.1.2": "implicit little endian",
    "1.2.840.10008.1.2.1": "explicit little endian",
    "1.2.840.10008.1.2.1.99": "deflated",
    "1.2.840.10008.1.2.2": "explicit big endian",
}
_DECODERS = {
    _JPEG: "gdcm",
    SYNTAX: "gdcm",  # JPEG extended, 8 and 12 bits
    "1.2.840.10008.1.2.4.57": "gdcm",  # JPEG lossless
    "1.2.840.10008.1.2.4.70": "gdcm",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pylibjpeg",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91": "pylibjpeg",
    _RLE: "pylibjpeg",
}
"""Transfer syntax: the decoder, always the same one, so that one file gives the same pixels everywhere."""
_COLOURS = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"})
_GREYS = frozenset({"MONOCHROME1", "MONOCHROME2"})
_PALETTE = "PALETTE COLOR"
_DEEP = "Samples of {} bits were reduced to 8 bits."
_FEW = "The picture has at most {} colours; finer shades were lost when it was saved."


def read_frame(dataset: Dataset, frame: int, max_pixels: int) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Decodes one frame.

    JPEG baseline in YBR goes the way of any JPEG file, so that a camera's JPEG gives the same pixels with and without
    DICOM around it.

    Args:
        dataset: whose pixels were found to be there.
        frame: counted from 1; it exists.
        max_pixels: more are refused before anything is decoded.

    Returns:
        RGB uint8, shape (rows, columns, 3), and what was left out, in sentences for people.

    Raises:
        DicomBrokenError: the pixels are damaged, cut short, or contradict the attributes.
        DicomUnsupportedError: a coding or colour space that is not read here.
        ImageTooLargeError: over `max_pixels`.
    """
    rows, columns = whole_number(dataset, "Rows"), whole_number(dataset, "Columns")
    check_pixels(rows, columns, max_pixels)
    colours, syntax = _colours(dataset), _syntax(dataset)
    coded = None
    if syntax not in _NATIVE and syntax != _RLE:
        coded = _coded_frame(dataset, frame)
        check_size(coded, rows, columns)
        if syntax == _JPEG and colours.startswith("YBR"):
            return _as_jpeg(coded, max_pixels)
    if coded is not None and syntax == SYNTAX and colours in _GREYS and whole_number(dataset, "BitsStored") == 12:
        array, meaning = _guarded(lambda: decode_extended(coded, dataset)), colours
    else:
        array, meaning = _decode(dataset, syntax, frame)
    if array.shape[:2] != (rows, columns):
        raise broken("a frame has another size than its header says")
    notes: list[str] = []
    depth = whole_number(dataset, "BitsStored")
    if colours == _PALETTE:
        pixels, entries = _palette(array, dataset)
        notes.append(_FEW.format(entries))
    elif colours in _GREYS:
        grey = to_grey(array, dataset)
        pixels = np.repeat(grey[..., None], 3, axis=2)
    elif meaning != "RGB" or array.ndim != 3 or array.shape[2] != 3:
        raise broken("its samples are no RGB colours")
    else:
        pixels = _to_bytes(array, depth)
    if depth > 8 and colours != _PALETTE:
        notes.append(_DEEP.format(depth))
    return pixels, tuple(notes)


def _colours(dataset: Dataset) -> str:
    """The photometric interpretation, once it is sure that it is read here and fits the number of samples."""
    colours = text_of(dataset, "PhotometricInterpretation")
    if not colours:
        raise broken("its PhotometricInterpretation is missing")
    if colours not in _COLOURS | _GREYS | {_PALETTE}:
        shown = colours if colours.replace("_", "").isalnum() and len(colours) <= 16 else "unknown"
        raise DicomUnsupportedError(
            f"Pixels of the photometric interpretation {shown} are not read.", "Export the picture as RGB."
        )
    samples, bits = whole_number(dataset, "SamplesPerPixel"), whole_number(dataset, "BitsAllocated")
    if samples != (3 if colours in _COLOURS else 1):
        raise broken(f"{colours} with {samples} samples a pixel is none")
    if bits not in (8, 16) or not 1 < whole_number(dataset, "BitsStored") <= bits:
        raise DicomUnsupportedError(
            f"Samples of {bits} bits are not read, or not so many of them are stored.", "Export the picture anew."
        )
    if colours not in _GREYS and dataset.get("PixelRepresentation") == 1:
        raise broken("its colours are numbers with a sign")
    return colours


def _syntax(dataset: Dataset) -> str:
    from pydicom.uid import UID

    syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    if not syntax:
        raise broken("its transfer syntax is missing")
    if syntax not in _NATIVE and syntax not in _DECODERS:
        raise DicomUnsupportedError(f"Pixels coded as {UID(syntax).name[:64]} are not read.", "Export the picture.")
    return syntax


def _coded_frame(dataset: Dataset, frame: int) -> bytes:
    from pydicom.encaps import get_frame

    count = whole_number(dataset, "NumberOfFrames", default=1)
    coded: bytes = _guarded(lambda: get_frame(dataset.PixelData, frame - 1, number_of_frames=count))
    return coded


def _decode(dataset: Dataset, syntax: str, frame: int) -> tuple[NDArray[Any], str]:
    from pydicom.pixels.decoders.base import get_decoder

    decoder, plugin = get_decoder(syntax), _DECODERS.get(syntax, "")
    if plugin and plugin not in decoder.available_plugins:
        raise DicomNotInstalledError(
            f"The decoder of this file's pixels ({plugin}) is not installed.",
            "Install it with: pip install 'edge-infer[dicom]'",
        )
    array, meta = _guarded(lambda: decoder.as_array(dataset, index=frame - 1, decoding_plugin=plugin))
    return array, str(meta.get("photometric_interpretation"))


def _as_jpeg(frame: bytes, max_pixels: int) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    try:
        picture = open_picture(without_metadata(frame), max_pixels=max_pixels)
    except ImageDecodeError as error:
        raise broken("its JPEG is damaged or cut short") from error
    return picture.pixels, picture.warnings


def _palette(array: NDArray[Any], dataset: Dataset) -> tuple[NDArray[np.uint8], int]:
    from pydicom.pixels.processing import apply_color_lut

    colours = _guarded(lambda: apply_color_lut(array, dataset))
    entries = len(dataset.RedPaletteColorLookupTableDescriptor) and int(dataset.RedPaletteColorLookupTableDescriptor[0])
    return _to_bytes(colours[..., :3], 8 * colours.dtype.itemsize), entries or 2**16


def _to_bytes(array: NDArray[Any], depth: int) -> NDArray[np.uint8]:
    """Unsigned samples of `depth` bits as uint8: the upper 8 bits of deeper ones, shallower ones spread over 0..255."""
    if depth > 8:
        array = array >> (depth - 8)
    elif depth < 8:
        array = np.rint(array * (255 / (2**depth - 1)))
    return np.ascontiguousarray(array).astype(np.uint8)


def _guarded(step: Callable[[], Any]) -> Any:
    """A step of pydicom and its decoders, whose exceptions depend on what is damaged; their words may quote values."""
    try:
        return step()
    except Exception as error:
        raise broken("its pixels cannot be decoded") from error
