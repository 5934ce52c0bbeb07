"""Which files are DICOM, and what they hold, from their first bytes: no library is needed for this."""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from edge_infer.files import PICTURE_SUFFIXES

SUFFIXES = frozenset({".dcm", ".dicom"})
RESULT_SUFFIXES = (".seg.dcm", ".sr.dcm", ".overlay.dcm")
"""Of the files that one answer may have: segmentation, report, secondary capture."""
IMPLEMENTATION = "EDGE_INFER"
"""Implementation Version Name of the files that this package writes."""
MODEL = "edge-infer"
"""Manufacturer's Model Name of everything that this package writes."""
_MODEL_TAG = bytes.fromhex("08009010")
_HEAD = 4096
_MARK = 128
_ENVELOPED = bytes.fromhex("06092a864886f70d010703")
"""ASN.1's name of CMS EnvelopedData (RFC 5652), the envelope of DICOM's secure media profiles."""
_LONG = frozenset({b"OB", b"UN"})
_DOCUMENTS = (
    "1.2.840.10008.1.3.10",  # DICOMDIR
    "1.2.840.10008.5.1.4.1.1.11.",  # presentation states
    "1.2.840.10008.5.1.4.1.1.66",  # raw data, segmentations, surfaces
    "1.2.840.10008.5.1.4.1.1.88.",  # reports, key object selections
    "1.2.840.10008.5.1.4.1.1.104.",  # encapsulated documents
)
"""SOP classes, or their beginnings, that stand beside pictures in a study and are none themselves."""


@dataclass(frozen=True)
class FileMeta:
    """A file's meta information (DICOM PS3.10, chapter 7).

    Attributes:
        sop_class: UID of what the file holds; empty where the file does not say.
        transfer_syntax: UID of how it is coded; empty where the file does not say.
        implementation: name of the program that wrote it.
        end: where the data set begins, in bytes.
    """

    sop_class: str
    transfer_syntax: str
    implementation: str
    end: int


def is_dicom(data: bytes) -> bool:
    """Whether these are the first bytes of a DICOM file."""
    return data[_MARK : _MARK + 4] == b"DICM"


def is_enveloped(data: bytes) -> bool:
    """Whether these are the first bytes of an encrypted envelope."""
    return data[:1] == b"\x30" and _ENVELOPED in data[:64]


def read_meta(data: bytes) -> FileMeta:
    """Reads the meta information, which every DICOM file has in the same coding; what is damaged is left empty."""
    texts: dict[int, str] = {}
    position = _MARK + 4
    while position + 8 <= len(data):
        group, element, kind, length = struct.unpack_from("<HH2sH", data, position)
        if group != 2:
            break
        start = position + 8
        if kind in _LONG:
            if start + 4 > len(data):
                break
            (length,) = struct.unpack_from("<I", data, start)
            start += 4
        if start + length > len(data):
            break
        if kind in (b"UI", b"SH"):
            texts[element] = data[start : start + length].rstrip(b"\0 ").decode("ascii", "replace")
        position = start + length
    return FileMeta(texts.get(0x02, ""), texts.get(0x10, ""), texts.get(0x13, ""), position)


def belongs_to_search(path: Path) -> bool:
    """Whether a file in a folder that is searched is taken for a DICOM picture.

    Files named `.dcm` or `.dicom` are, and those whose name ends in no letter and that begin as DICOM does: studies on
    discs have no suffixes. Reports, segmentations, directories and results of this package stand beside the pictures
    of a study; they are left out.
    """
    suffix = path.suffix.lower()
    named = suffix in SUFFIXES
    if not named and any(map(str.isalpha, suffix)):
        return False
    data = _head(path)
    if not is_dicom(data):
        return named
    meta = read_meta(data)
    return not meta.sop_class.startswith(_DOCUMENTS) and not _is_our_own(meta, data)


def named_like_picture(name: str) -> bool:
    """Whether a file's name alone says that it holds a picture: what long lists and busy folders go by.

    The suffix is a picture's or DICOM's, and the file is not named like a result of this package.
    """
    lower = name.lower()
    suffix = os.path.splitext(lower)[1]  # noqa: PTH122 - a million times
    return suffix in PICTURE_SUFFIXES or (suffix in SUFFIXES and not lower.endswith(RESULT_SUFFIXES))


def looks_like_dicom(path: Path) -> bool:
    """Whether a file that was named itself is read as DICOM."""
    return path.suffix.lower() in SUFFIXES or is_dicom(_head(path))


def _is_our_own(meta: FileMeta, data: bytes) -> bool:
    """An archive gives a file its own implementation name; the model's name it leaves alone."""
    start = data.find(_MODEL_TAG, meta.end)
    named = start >= 0 and MODEL.encode() in data[start + 4 : start + 12 + len(MODEL)]
    return named or meta.implementation.startswith(IMPLEMENTATION)


def _head(path: Path) -> bytes:
    try:
        # Opening a FIFO without O_NONBLOCK waits until somebody writes to it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError):
        return b""
    try:
        return os.read(descriptor, _HEAD) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(descriptor)
