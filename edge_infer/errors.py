"""Typed errors. Each says what is wrong, and its `remedy` says what to do about it."""

from __future__ import annotations

from typing import ClassVar


class EdgeInferError(Exception):
    """Base of every error that this package raises on purpose.

    Attributes:
        code: stable machine-readable name of the error, in kebab-case.
        message: what is wrong, in one sentence.
        remedy: what the caller can do about it, in one sentence.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy

    def to_dict(self) -> dict[str, str]:
        """The error as JSON-ready strings: `code`, `message`, `remedy`."""
        return {"code": self.code, "message": self.message, "remedy": self.remedy}


class InputError(EdgeInferError):
    """What a command was given cannot be used: a list, a table of labels, the folder of an earlier run."""

    code = "input"


class ExtraNotInstalledError(EdgeInferError):
    """A part of the package needs libraries that are not installed."""

    code = "extra-not-installed"


class ImageError(EdgeInferError):
    """The picture cannot be used; other pictures can."""

    code = "image-error"


class ImageNotFoundError(ImageError):
    """There is no file at this path, or it is a folder."""

    code = "image-not-found"


class ImageAccessError(ImageError):
    """The file exists and cannot be read."""

    code = "image-access"


class ImageDecodeError(ImageError):
    """The bytes are no picture of a known format, or are damaged or cut short."""

    code = "image-decode"


class ImageUnsupportedError(ImageDecodeError):
    """A picture of a format that is not decoded here, such as HEIC without the extra `[heif]`."""

    code = "image-unsupported"


class ImageTooLargeError(ImageError):
    """The picture has more pixels than the caller's limit; it was not decoded."""

    code = "image-too-large"


class ImageArrayError(ImageError):
    """The array is not an RGB uint8 picture of shape (height, width, 3)."""

    code = "image-array"


class NotComparableError(ImageError):
    """Two pictures cannot be compared: they cannot be aligned, or one of them has no answer."""

    code = "not-comparable"


class DicomError(ImageError):
    """A DICOM file that cannot be used as a picture."""

    code = "dicom"


class DicomNotInstalledError(DicomError):
    """The file is DICOM, and the extra that reads it is not installed."""

    code = "dicom-not-installed"


class DicomBrokenError(DicomError):
    """The file is damaged, cut short, or contradicts itself."""

    code = "dicom-broken"


class DicomEncryptedError(DicomError):
    """The file, or what is needed of it, is encrypted."""

    code = "dicom-encrypted"


class DicomNotAPhotographError(DicomError):
    """Another kind of object: a report, a radiograph, a result of this package."""

    code = "dicom-not-a-photograph"


class DicomNoPixelsError(DicomError):
    """The object has no pixels."""

    code = "dicom-no-pixels"


class DicomFrameError(DicomError):
    """The object has several frames and none was chosen, or has no such frame."""

    code = "dicom-frame"


class DicomUnsupportedError(DicomError):
    """The pixels are coded in a way that is not read here."""

    code = "dicom-unsupported"


class BundleError(EdgeInferError):
    """The model bundle cannot be trusted or used."""

    code = "bundle-error"


class BundleNotFoundError(BundleError):
    """No bundle of this name or path."""

    code = "bundle-not-found"


class BundleSchemaError(BundleError):
    """`bundle.json` is unreadable, incomplete, or of an unknown schema version."""

    code = "bundle-schema"


class BundleFileMissingError(BundleError):
    """A file that the manifest lists is not there."""

    code = "bundle-file-missing"


class BundleTamperedError(BundleError):
    """A file differs from the hash in the manifest."""

    code = "bundle-tampered"


class BundleMismatchError(BundleError):
    """Manifest and model disagree: labels, input size, or output shape."""

    code = "bundle-mismatch"


class PrevalenceError(EdgeInferError):
    """The share of melanoma that the caller states is no share between 0 and 1."""

    code = "prevalence"


class BundleUnsafeError(BundleError):
    """A file of the bundle asks for what no bundle may: data or links outside it, foreign operators, absurd sizes."""

    code = "bundle-unsafe"


class BundleSignatureError(BundleError):
    """A signature was asked for, and there is none, or not one by this key."""

    code = "bundle-signature"


class ExplanationUnavailableError(EdgeInferError):
    """An explanation was asked for, and this classifier or engine gives none that is exact."""

    code = "explanation-unavailable"


class EngineError(EdgeInferError):
    """The inference engine cannot be used."""

    code = "engine-error"


class EngineNotInstalledError(EngineError):
    """No inference engine is installed."""

    code = "engine-not-installed"


class EngineConflictError(EngineError):
    """Several ONNX Runtime distributions are installed and overwrite each other."""

    code = "engine-conflict"


class EngineVersionError(EngineError):
    """The installed inference engine is older than the bundle needs."""

    code = "engine-version"


class ProviderUnavailableError(EngineError):
    """A requested execution provider is not installed or did not become active."""

    code = "provider-unavailable"


class InferenceError(EngineError):
    """The engine failed while it ran, or returned values that are no probabilities."""

    code = "inference"
