"""DICOM photographs made in memory, valid for `dciodvfy`, with known pixels and an invented patient."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

DERMOSCOPY = "1.2.840.10008.5.1.4.1.1.77.1.7"
PHOTOGRAPHY = "1.2.840.10008.5.1.4.1.1.77.1.4"
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
PATIENT = {
    "PatientName": "Zz\u00fcrcher^\u00c4nne",
    "PatientID": "PID-4711",
    "PatientBirthDate": "19500317",
    "PatientSex": "F",
    "StudyID": "STUDY-8",
    "AccessionNumber": "ACC-15",
    "ReferringPhysicianName": "M\u00fcrkel^Ole",
    "StudyDescription": "Checkup Quintessa",
}
"""Values that appear nowhere else, so that a search for them in an output finds a leak."""


def photograph(pixels: NDArray[Any], sop_class: str = DERMOSCOPY, **attributes: Any) -> Dataset:
    """A photograph, not compressed: RGB for (h, w, 3), MONOCHROME2 for (h, w), frames first where there are several.

    Args:
        pixels: uint8 or uint16.
        sop_class: what it is.
        attributes: set at the end by keyword; None deletes.
    """
    frames = pixels if pixels.ndim == 4 else pixels[None]
    colour = frames.shape[-1] == 3 and frames.ndim == 4
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.SOPClassUID = sop_class
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(dataset, keyword, generate_uid(None))
    for keyword, value in PATIENT.items():
        setattr(dataset, keyword, value)
    dataset.StudyDate = dataset.ContentDate = dataset.AcquisitionDate = "20260102"
    dataset.StudyTime = dataset.ContentTime = dataset.AcquisitionTime = "101112"
    dataset.AcquisitionDateTime = "20260102101112"
    dataset.Modality = "DMS" if sop_class == DERMOSCOPY else "XC"
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    dataset.Manufacturer, dataset.ManufacturerModelName = "Camera maker", "Dermatoscope"
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = "17", "1.0"
    dataset.PatientOrientation = dataset.Laterality = None
    dataset.Rows, dataset.Columns = frames.shape[1:3]
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    if len(frames) > 1:
        dataset.NumberOfFrames = len(frames)
        dataset.FrameIncrementPointer = (0x0018, 0x1063)
        dataset.FrameTime = 40
    bits = 8 * pixels.dtype.itemsize
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, 0
    dataset.LossyImageCompression, dataset.BurnedInAnnotation = "00", "NO"
    data = frames.tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    if f"{sop_class}.".startswith(f"{CAPTURE}."):
        dataset.ConversionType = "WSD"
    else:
        dataset.AcquisitionContextSequence = []
    if sop_class == DERMOSCOPY:
        dataset.FrameOfReferenceUID = generate_uid(None)
        dataset.PositionReferenceIndicator = None
        dataset.RecognizableVisualFeatures = "NO"
        for keyword in ("LightSourcePolarization", "EmitterColorTemperature", "ContactMethod"):
            setattr(dataset, keyword, None)
        dataset.OpticalMagnificationFactor = None
    for keyword, value in attributes.items():
        if value is not None:
            setattr(dataset, keyword, value)
        elif keyword in dataset:
            delattr(dataset, keyword)
    return dataset


def encoded(dataset: Dataset) -> bytes:
    """The data set as a file."""
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def write(dataset: Dataset, path: Path) -> Path:
    """Writes the data set as a file; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(dataset))
    return path
