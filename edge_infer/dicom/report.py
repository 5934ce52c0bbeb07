"""The answer as an enhanced structured report: DICOM's Imaging Measurement Report, template TID 1500."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from edge_infer.diagnosis import MELANOMA, Diagnosis
from edge_infer.dicom import codes as own
from edge_infer.dicom.checks import text_of
from edge_infer.dicom.origin import Origin, Place
from edge_infer.dicom.recognise import MODEL
from edge_infer.dicom.segmentation import LABEL
from edge_infer.extras import need
from edge_infer.output.wording import DISCLAIMER, advice, assumption, decision, percent, reason_title, undecided

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.sr.coding import Code


def make_report(
    diagnosis: Diagnosis, origin: Origin, place: Place, tracking: str, segmentation: Dataset | None
) -> Dataset:
    """A report on one picture, complete, preliminary and not verified: a doctor decides.

    Args:
        diagnosis: with status "ok" or "indeterminate".
        origin: of the picture.
        place: of the result.
        tracking: UID of the lesion.
        segmentation: its outline, where there is one; the report's measurements then refer to it.
    """
    hd, public = need("highdicom", "dicom"), need("pydicom.sr.codedict", "dicom").codes
    schemes = need("highdicom.coding_schemes", "dicom")
    source = origin.source()
    evidence = [source] if segmentation is None else [source, segmentation]
    observer = hd.sr.ObserverContext(
        observer_type=public.DCM.Device,
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=origin.uids.named(f"bundle {origin.run.bundle.sha256}"),
            name=origin.algorithm,
            manufacturer_name=MODEL,
            model_name=MODEL,
            serial_number=origin.run.bundle.sha256,
        ),
    )
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=_procedure(origin, public),
        imaging_measurements=[_group(diagnosis, origin, tracking, segmentation, hd, public)],
        referenced_images=None,
    )
    scheme = schemes.CodingSchemeIdentificationItem(own.SCHEME, name=own.SCHEME_NAME, responsible_organization=MODEL)
    return hd.sr.EnhancedSR(
        evidence=evidence,
        content=content,
        series_instance_uid=place.series,
        series_number=place.series_number,
        sop_instance_uid=origin.uids.new(),
        instance_number=place.number,
        is_complete=True,
        series_description="edge-infer: report",
        coding_schemes=[scheme],
        **origin.equipment,
    )


def _procedure(origin: Origin, public: Any) -> Code:
    by_modality = {"DMS": public.SCT.DermoscopicPhotography, "XC": public.DCM.ExternalCameraPhotography}
    return by_modality.get(text_of(origin.header.dataset, "Modality"), public.DCM.OtherModality)


def _group(
    diagnosis: Diagnosis, origin: Origin, tracking: str, segmentation: Dataset | None, hd: Any, public: Any
) -> Any:
    sr, header = hd.sr, origin.header
    parameters = {**origin.parameters, **_setting(diagnosis)}
    common = {
        "tracking_identifier": sr.TrackingIdentifier(uid=tracking, identifier=LABEL),
        "finding_type": public.SCT.SkinLesion,
        "algorithm_id": sr.AlgorithmIdentification(
            name=origin.algorithm,
            version=origin.run.manifest.version,
            parameters=[f"{name}: {value}" for name, value in parameters.items()],
        ),
        "measurements": list(_measurements(diagnosis, sr, public)),
        "qualitative_evaluations": [
            sr.QualitativeEvaluation(name=own.code(name), value=own.code(value)) for name, value in _findings(diagnosis)
        ],
    }
    reference = {
        "referenced_sop_class_uid": header.dataset.SOPClassUID,
        "referenced_sop_instance_uid": header.dataset.SOPInstanceUID,
        "referenced_frame_numbers": origin.frames,
    }
    if segmentation is None:
        images = [sr.SourceImageForMeasurementGroup(**reference)]
        group = sr.MeasurementsAndQualitativeEvaluations(source_images=images, **common)
    else:
        outline = sr.ReferencedSegmentationFrame(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            frame_number=1,
            segment_number=1,
            source_image=sr.SourceImageForSegmentation(**reference),
        )
        # The frame or the segment, not both (DICOM PS3.3, table 10-3): the segment has one frame only.
        del outline[0].ReferencedSOPSequence[0].ReferencedFrameNumber
        group = sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_segment=outline, **common)
    group[0].ContentSequence.extend(_texts(diagnosis, sr, public))
    return group


def _setting(diagnosis: Diagnosis) -> dict[str, str]:
    """What was asked for, as algorithm parameters."""
    setting = {"operating point": diagnosis.operating_point, "variant": diagnosis.variant}
    if diagnosis.prior is not None:
        setting["share of melanoma assumed"] = f"{diagnosis.prior:.6g}"
    if diagnosis.band is not None:
        setting["undecided between"] = f"{diagnosis.band[0]:.6g} and {diagnosis.band[1]:.6g}"
    if diagnosis.site_sha256 is not None:
        setting["site overlay sha256"] = diagnosis.site_sha256
    return {name: str(value) for name, value in setting.items() if value is not None}


def _measurements(diagnosis: Diagnosis, sr: Any, public: Any) -> Iterator[Any]:
    for name, value in ((own.PROBABILITY, diagnosis.melanoma_probability), (own.THRESHOLD, diagnosis.threshold)):
        if value is not None:
            yield sr.Measurement(name=own.code(name), value=float(f"{value:.6g}"), unit=public.UCUM.NoUnits)


def _findings(diagnosis: Diagnosis) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    if diagnosis.status == "ok":
        yield own.DECISION, own.SUSPICIOUS if diagnosis.label == MELANOMA else own.NOT_SUSPICIOUS
        return
    yield own.DECISION, own.INDETERMINATE
    if diagnosis.reason is not None:
        yield own.REASON, (own.REASONS[diagnosis.reason], reason_title(diagnosis).capitalize())


def _texts(diagnosis: Diagnosis, sr: Any, public: Any) -> Iterator[Any]:
    """The operating point, and the answer in the words of every other output."""
    contains = sr.RelationshipTypeValues.CONTAINS

    def text(name: Any, value: str) -> Any:
        # The words are ASCII, so that they are the same in the source's character set, whichever that is.
        plain = value.encode("ascii", "replace").decode("ascii")
        return sr.TextContentItem(name=name, value=plain, relationship_type=contains)

    yield text(own.code(own.OPERATING_POINT), str(diagnosis.operating_point))
    if diagnosis.status == "ok":
        answer = f"Melanoma {percent(diagnosis.melanoma_probability)}: {decision(diagnosis)}."
    else:
        answer = f"Indeterminate, {reason_title(diagnosis)}: {undecided(diagnosis)}. {diagnosis.message or ''}".strip()
    words = (answer, advice(diagnosis), assumption(diagnosis.prior), *diagnosis.warnings, DISCLAIMER)
    for sentence in filter(None, words):
        yield text(public.DCM.Comment, sentence)
