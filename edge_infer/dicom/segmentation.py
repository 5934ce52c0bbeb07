"""The lesion's outline as a DICOM segmentation on the source's own matrix of pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_infer.dicom.origin import Origin, Place
from edge_infer.extras import need

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

LABEL = "Skin lesion"
_SINGLE_FRAME = "1.2.840.10008.5.1.4.1.1.7"


def make_segmentation(mask: NDArray[np.uint8], origin: Origin, place: Place, tracking: str) -> Dataset:
    """A binary segmentation with one segment.

    Args:
        mask: 0 and 1, of the upright picture; not empty.
        origin: of the picture.
        place: of the result.
        tracking: UID of the lesion, the same in the report.
    """
    hd, codes = need("highdicom", "dicom"), need("pydicom.sr.codedict", "dicom").codes
    header, manifest = origin.header, origin.run.manifest
    algorithm = hd.AlgorithmIdentificationSequence(
        name=origin.algorithm,
        version=manifest.version,
        family=codes.DCM.ArtificialIntelligence,
        source="edge-infer",
        parameters=origin.parameters,
    )
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label=LABEL,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.SkinLesion,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=tracking,
        tracking_id=LABEL,
    )
    source = origin.source()
    if origin.frames:
        # The library wants functional groups of classes with several frames, which captures have not.
        source.SOPClassUID = _SINGLE_FRAME
    result = hd.seg.Segmentation(
        source_images=[source],
        pixel_array=header.geometry.stored(mask),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[segment],
        series_instance_uid=place.series,
        series_number=place.series_number,
        sop_instance_uid=origin.uids.new(),
        instance_number=place.number,
        content_label="LESION",
        content_description="Outline of the lesion",
        series_description="edge-infer: outline",
        **origin.equipment,
    )
    # Type 2C of the General Image module.
    result.PatientOrientation = header.dataset.get("PatientOrientation") or None
    _refer(result, origin)
    return result


def _refer(dataset: Dataset, origin: Origin) -> None:
    """Every reference to the source names its class and, where it has several, the frame."""
    for element in dataset:
        if element.VR != "SQ":
            continue
        for item in element.value:
            if item.get("ReferencedSOPInstanceUID") == origin.header.dataset.SOPInstanceUID:
                item.ReferencedSOPClassUID = origin.header.dataset.SOPClassUID
                if origin.frames and element.keyword == "SourceImageSequence":
                    item.ReferencedFrameNumber = origin.frames
            _refer(item, origin)
