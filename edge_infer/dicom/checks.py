"""What is refused before any pixel is decoded: no photograph, no pixels, encrypted, no such frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_infer.dicom.recognise import MODEL
from edge_infer.errors import (
    DicomBrokenError,
    DicomEncryptedError,
    DicomFrameError,
    DicomNoPixelsError,
    DicomNotAPhotographError,
    DicomUnsupportedError,
)

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

DERMOSCOPY = "1.2.840.10008.5.1.4.1.1.77.1.7"
PHOTOGRAPHY = "1.2.840.10008.5.1.4.1.1.77.1.4"
SECONDARY_CAPTURES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.7",
        "1.2.840.10008.5.1.4.1.1.7.2",  # multi-frame, grey bytes
        "1.2.840.10008.5.1.4.1.1.7.3",  # multi-frame, grey words
        "1.2.840.10008.5.1.4.1.1.7.4",  # multi-frame, true colour
    }
)
CAPTURED_MODALITIES = frozenset({"", "DMS", "XC", "OT"})
"""What a secondary capture may be of: dermoscopy, a camera, anything else; a screen of a scanner is none of them."""
ACCEPTED = "Dermoscopic Photography, VL Photographic, Secondary Capture"
_AGAIN = "Check that it was copied or downloaded completely, or export it again."


def check_kind(dataset: Dataset) -> None:
    """Refuses what is no photograph.

    Raises:
        DicomNotAPhotographError: another SOP class or modality, or a result of this package.
    """
    kind = text_of(dataset, "SOPClassUID")
    if not kind:
        raise broken("it does not say what it holds")
    if kind not in SECONDARY_CAPTURES | {DERMOSCOPY, PHOTOGRAPHY}:
        raise DicomNotAPhotographError(
            f"This DICOM file is no photograph, but: {class_name(kind)}.", f"Give one of: {ACCEPTED}."
        )
    if text_of(dataset, "ManufacturerModelName") == MODEL:
        raise DicomNotAPhotographError(
            "This DICOM file is a result of edge-infer and not a picture of skin.", "Give the picture that it is of."
        )
    modality = text_of(dataset, "Modality")
    if kind in SECONDARY_CAPTURES and modality not in CAPTURED_MODALITIES:
        raise DicomNotAPhotographError(
            f"This DICOM file is a capture of another modality ({_short(modality)}), not of a photograph.",
            f"Give a capture whose modality is {', '.join(sorted(filter(None, CAPTURED_MODALITIES)))}.",
        )


def check_pixels_are_there(dataset: Dataset) -> None:
    """Refuses an object without pixels that can be read.

    Raises:
        DicomEncryptedError: they are missing and attributes were encrypted.
        DicomNoPixelsError: they are missing or empty.
        DicomUnsupportedError: they are floating-point numbers.
    """
    if any(name in dataset for name in ("FloatPixelData", "DoubleFloatPixelData")):
        raise DicomUnsupportedError("The pixels are floating-point numbers, not colours.", "Export the photograph.")
    if "PixelData" in dataset and len(dataset["PixelData"].value or b""):
        return
    if "EncryptedAttributesSequence" in dataset:
        raise DicomEncryptedError("The DICOM file has no pixels, and attributes of it are encrypted.", "Decrypt it.")
    raise DicomNoPixelsError(
        "The DICOM file has no pixels.", "Retrieve the whole object: some archives first give its header alone."
    )


def chosen_frame(dataset: Dataset, frame: int | None) -> int:
    """The frame to read, counted from 1.

    Raises:
        DicomFrameError: there are several and none was chosen, or there is no such frame.
    """
    count = whole_number(dataset, "NumberOfFrames", default=1)
    if frame is None:
        if count > 1:
            raise DicomFrameError(f"The DICOM file has {count} frames.", f"Choose one: --frame 1 to --frame {count}.")
        return 1
    if not 1 <= frame <= count:
        have = f"{count} frames" if count > 1 else "one frame"
        raise DicomFrameError(f"The DICOM file has {have}, and no frame {frame}.", "Choose another one.")
    return frame


def whole_number(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """A positive whole number of the data set.

    Raises:
        DicomBrokenError: it is missing without a default, or is no such number.
    """
    try:
        value = dataset.get(keyword)
        number = default if value is None or value == "" else int(value)
    except (ValueError, TypeError, OverflowError):
        number = None
    if number is None or number < 1:
        raise DicomBrokenError(f"The DICOM file is damaged: its {keyword} is missing or no number.", _AGAIN)
    return number


def broken(what: str) -> DicomBrokenError:
    """The error of a file that is damaged; `what` says how, without any value of the data set."""
    return DicomBrokenError(f"The DICOM file is damaged: {what}.", _AGAIN)


def text_of(dataset: Dataset, keyword: str) -> str:
    """An attribute's only value as text; empty where it is missing, has several or is damaged."""
    try:
        value = dataset.get(keyword)
    except Exception:  # pydicom's, which depend on what is damaged
        return ""
    return str(value).strip() if isinstance(value, str) else ""


def class_name(uid: str) -> str:
    """A SOP class in words; a private one by its UID."""
    from pydicom.uid import UID

    return str(UID(uid).name).removesuffix(" Storage")[:64]


def _short(code: str) -> str:
    return code if code.isalnum() and len(code) <= 16 else "an unknown one"
