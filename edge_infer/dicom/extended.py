"""JPEG extended with 12-bit samples by GDCM itself: pydicom does not hand such frames to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_infer.extras import need

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SYNTAX = "1.2.840.10008.1.2.4.51"


def decode_extended(frame: bytes, dataset: Dataset) -> NDArray[Any]:
    """Decodes one grey frame: uint16, shape (rows, columns).

    Raises:
        ValueError: it cannot be decoded.
    """
    gdcm = need("gdcm", "dicom")
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((dataset.Columns, dataset.Rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(dataset.PhotometricInterpretation)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(SYNTAX)))
    bits = (dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation)
    image.SetPixelFormat(gdcm.PixelFormat(1, *bits))
    decoded = image.GetBuffer().encode("utf-8", "surrogateescape")
    return np.frombuffer(decoded, "<u2").reshape(dataset.Rows, dataset.Columns)
