"""What results take over from their source, byte by byte: the patient and the study, and nothing made up."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_CHARACTERS = ("SpecificCharacterSet", "TimezoneOffsetFromUTC")
_PATIENT = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "TypeOfPatientID",
    "PatientBirthDate",
    "PatientBirthTime",
    "PatientSex",
    "OtherPatientIDsSequence",
    "OtherPatientNames",
    "EthnicGroup",
    "PatientSpeciesDescription",
    "PatientSpeciesCodeSequence",
    "PatientBreedDescription",
    "PatientBreedCodeSequence",
    "BreedRegistrationSequence",
    "ResponsiblePerson",
    "ResponsiblePersonRole",
    "ResponsibleOrganization",
    "PatientComments",
    "ReferencedPatientSequence",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
)
_STUDY = (
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName",
    "ReferringPhysicianIdentificationSequence",
    "StudyDescription",
    "ProcedureCodeSequence",
    "ReferencedStudySequence",
    "PhysiciansOfRecord",
    "AdmittingDiagnosesDescription",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "Occupation",
    "AdditionalPatientHistory",
    "AdmissionID",
    "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription",
)
_ALWAYS = frozenset(
    {
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
        *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
    }
)
"""Type 2 of DICOM PS3.3: they are there, and empty where they are not known."""
REFERENCES = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")


def can_be_referenced(source: Dataset) -> bool:
    """Whether the source has the UIDs by which a result names it; without them it would have to invent some."""
    from pydicom.uid import UID

    return all(UID(str(source.get(keyword) or "")).is_valid for keyword in REFERENCES)


def carry(source: Dataset, target: Dataset) -> None:
    """Gives a result the patient and the study of its source.

    Texts go over as they were read, with their character set, so that their bytes stay: also where a value is not what
    the standard allows. What the source lacks is taken from the target.

    Args:
        source: none of whose attributes below was looked at since it was read.
        target: with texts of its own in ASCII only.
    """
    from pydicom.datadict import dictionary_VR, tag_for_keyword
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    for keyword in (*_CHARACTERS, *_PATIENT, *_STUDY):
        tag = Tag(tag_for_keyword(keyword))
        if tag not in source:
            if keyword in _ALWAYS:
                setattr(target, keyword, None)
            elif tag in target:
                del target[tag]
            continue
        element = source.get_item(tag)
        if isinstance(element, RawDataElement) and (element.VR or dictionary_VR(tag)) != "SQ":
            vr, value = element.VR or dictionary_VR(tag), element.value or b""
            target[tag] = element._replace(VR=vr, value=value, is_implicit_VR=False, is_little_endian=True)
        else:
            target[tag] = source[tag]


def neutral(source: Dataset) -> Dataset:
    """The source as the libraries that write may see it: how it is named and coded, one frame, no patient, no study.

    They check names and log what they find odd; what they never saw they cannot tell.
    """
    from pydicom.dataset import Dataset

    kept = Dataset()
    for keyword in (
        *REFERENCES,
        *("Modality", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation"),
        *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PlanarConfiguration"),
        *("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
    ):
        if keyword in source:
            setattr(kept, keyword, source[keyword].value)
    for keyword in (
        "PatientID",
        "PatientName",
        "PatientBirthDate",
        "PatientSex",
        *_STUDY[1:5],
        "ReferringPhysicianName",
    ):
        setattr(kept, keyword, None)
    kept.file_meta = source.file_meta
    return kept
