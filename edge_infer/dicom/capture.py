"""The overlay as a secondary capture: the picture with the outline, and the answer in words below."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_infer.dicom.origin import Origin, Place

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"


def make_capture(overlay: NDArray[np.uint8], origin: Origin, place: Place) -> Dataset:
    """A secondary capture of an RGB uint8 picture, shape (h, w, 3), not compressed."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.sr.codedict import codes

    source = origin.header.dataset
    result = Dataset()
    result.file_meta = FileMetaDataset()
    result.file_meta.TransferSyntaxUID = _EXPLICIT_LITTLE_ENDIAN
    result.SOPClassUID = _SECONDARY_CAPTURE
    result.SOPInstanceUID = origin.uids.new()
    result.file_meta.MediaStorageSOPClassUID = result.SOPClassUID
    result.file_meta.MediaStorageSOPInstanceUID = result.SOPInstanceUID
    result.Modality = "OT"
    result.ConversionType = "WSD"
    result.SeriesInstanceUID, result.SeriesNumber, result.InstanceNumber = (
        place.series,
        place.series_number,
        place.number,
    )
    result.SeriesDescription = "edge-infer: overlay"
    equipment = origin.equipment
    result.Manufacturer, result.ManufacturerModelName = equipment["manufacturer"], equipment["manufacturer_model_name"]
    result.SoftwareVersions = list(equipment["software_versions"])
    result.DeviceSerialNumber = equipment["device_serial_number"]
    result.ImageType = ["DERIVED", "SECONDARY"]
    result.DerivationDescription = "The picture with the outline, the crop and the answer of edge-infer"
    result.SourceImageSequence = [_reference(origin)]
    result.SourceImageSequence[0].PurposeOfReferenceCodeSequence = [
        _item(codes.DCM.SourceImageForImageProcessingOperation)
    ]
    result.PatientOrientation = None
    result.Laterality = source.get("Laterality") or None
    # What is burned in tells nothing of the patient that the source's own pixels do not.
    for keyword in ("BurnedInAnnotation", "RecognizableVisualFeatures"):
        if keyword in source:
            setattr(result, keyword, source[keyword].value)
    for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if keyword in source:
            setattr(result, keyword, source[keyword].value)
    result.Rows, result.Columns = overlay.shape[:2]
    result.SamplesPerPixel, result.PhotometricInterpretation, result.PlanarConfiguration = 3, "RGB", 0
    result.BitsAllocated, result.BitsStored, result.HighBit, result.PixelRepresentation = 8, 8, 7, 0
    pixels = np.ascontiguousarray(overlay).tobytes()
    result.PixelData = pixels + b"\0" * (len(pixels) % 2)
    result["PixelData"].VR = "OB"
    return result


def _reference(origin: Origin) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID = origin.header.dataset.SOPClassUID
    item.ReferencedSOPInstanceUID = origin.header.dataset.SOPInstanceUID
    if origin.frames:
        item.ReferencedFrameNumber = origin.frames
    return item


def _item(code: object) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning  # type: ignore[attr-defined]
    return item
