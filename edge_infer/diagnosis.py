"""What a diagnosis is: frozen, typed, JSON-ready."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_infer.errors import EdgeInferError
from edge_infer.geometry import Box
from edge_infer.reasons import Reason

if TYPE_CHECKING:
    from edge_infer.measurements.measure import Measurements

Status = Literal["ok", "indeterminate", "error"]
MELANOMA, NOT_MELANOMA = "melanoma", "not melanoma"


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The answer for one picture.

    Attributes:
        status: "ok": there is a decision. "indeterminate": there is none, and `reason` says why. "error": the picture
            could not be used and `error` says why (only `diagnose_many` returns these; `diagnose` raises).
        source: path of the picture, or None for bytes and arrays.
        reason: typed reason of an indeterminate result.
        message: the reason in one sentence for people.
        error: the typed error of a failed picture.
        melanoma_probability: calibrated probability of melanoma, 0..1; None unless status is "ok" or the reason is
            "uncertain".
        label: "melanoma" where the probability reaches `threshold`, else "not melanoma"; None unless status is "ok".
        threshold: the decision threshold used, 0..1.
        operating_point: name of the operating point that the threshold belongs to.
        prior: share of melanoma among pictures that the probabilities assume, 0..1: the one that the caller stated
            (`Diagnoser.load(prevalence=...)`), otherwise the bundle's own; None where the bundle does not say.
        band: where the caller asked for abstention, the probabilities (low, high) between which there is no decision.
        probabilities: calibrated probability by class, in the bundle's order; empty where `melanoma_probability` is
            None.
        image_size: (height, width) of the upright picture in pixels.
        mask: uint8 0/1, shape `image_size`; the cleaned lesion, where one was found.
        lesion_box: smallest rectangle around the lesion, in pixels of the original picture.
        roi_box: what was cropped, in the same pixels: a square that may reach outside the picture, unless the bundle's
            rule says otherwise (`edge_infer.steps.crop.roi_box`).
        roi: the crop that the classifier saw: RGB uint8, shape (size, size, 3).
        lesion_area_fraction: lesion pixels over all pixels, 0..1.
        lesion_confidence: the segmenter's mean probability inside its outline, 0..1.
        quality: measures of the picture: luminance, contrast, sharpness (see `edge_infer.steps.quality`), and the score
            `dermoscopy` (see `edge_infer.steps.appearance`) or `familiarity` (`edge_infer.rules.FamiliarityRule`) where
            the bundle has a rule for it.
        timings_ms: wall time of each step in milliseconds. Where pictures are diagnosed in a batch, a network's time is
            the batch's time divided by its pictures.
        provider: the execution provider that ran, as the engine itself reports it.
        variant: which of the bundle's variants ran, such as "float32" or "int8".
        bundle: name of the bundle.
        bundle_version: its own version, such as "1.0.0".
        bundle_sha256: hash of its manifest, which covers all its files.
        site_sha256: hash of the site's overlay (`edge-infer calibrate`) that was applied; None without one.
        warnings: what a careful reader should know about this answer.
        measurements: ABCD numbers, where they were asked for and there is a probability.
        class_map: where they were asked for: what places of `roi_box` gave to the logit of melanoma, less what they
            gave to those of the classes that compete with it: float32 (rows, columns), top left first; see
            `edge_infer.bundle.class_map.against_others`.

    Examples:
        >>> from edge_infer import Diagnoser
        >>> with Diagnoser.load() as diagnoser:
        ...     diagnosis = diagnoser.diagnose("examples/nevus-ISIC_0012669.jpg")
        >>> diagnosis.status, str(diagnosis.reason), diagnosis.melanoma_probability
        ('indeterminate', 'overexposed', None)
        >>> diagnosis.to_dict()["message"]
        'The picture is overexposed: mean brightness 241, at most 230 allowed.'
    """

    status: Status
    source: str | None = None
    reason: Reason | None = None
    message: str | None = None
    error: EdgeInferError | None = None
    melanoma_probability: float | None = None
    label: str | None = None
    threshold: float | None = None
    operating_point: str | None = None
    prior: float | None = None
    band: tuple[float, float] | None = None
    probabilities: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    image_size: tuple[int, int] | None = None
    mask: NDArray[np.uint8] | None = field(default=None, repr=False)
    lesion_box: Box | None = None
    roi_box: Box | None = None
    roi: NDArray[np.uint8] | None = field(default=None, repr=False)
    lesion_area_fraction: float | None = None
    lesion_confidence: float | None = None
    quality: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    timings_ms: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    provider: str | None = None
    variant: str | None = None
    bundle: str | None = None
    bundle_version: str | None = None
    bundle_sha256: str | None = None
    site_sha256: str | None = None
    warnings: tuple[str, ...] = ()
    measurements: Measurements | None = None
    class_map: NDArray[np.float32] | None = field(default=None, repr=False)

    @classmethod
    def failed(
        cls, source: str | None, error: EdgeInferError, bundle: str, bundle_version: str, bundle_sha256: str
    ) -> Diagnosis:
        """The result of a picture that could not be used; see the attributes of the same names."""
        return cls(
            status="error",
            source=source,
            message=str(error),
            error=error,
            bundle=bundle,
            bundle_version=bundle_version,
            bundle_sha256=bundle_sha256,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values. Pictures are left out: `edge_infer.output` makes them.

        `measurements` and `class_map` are there where they were asked for and could be given.
        """
        return {
            "source": self.source,
            "status": self.status,
            "reason": self.reason.value if self.reason else None,
            "message": self.message,
            "error": self.error.to_dict() if self.error else None,
            "melanoma_probability": self.melanoma_probability,
            "label": self.label,
            "threshold": self.threshold,
            "operating_point": self.operating_point,
            "prior": self.prior,
            "band": list(self.band) if self.band else None,
            "probabilities": dict(self.probabilities),
            "image_size": list(self.image_size) if self.image_size else None,
            "lesion_box": list(self.lesion_box) if self.lesion_box else None,
            "roi_box": list(self.roi_box) if self.roi_box else None,
            "lesion_area_fraction": self.lesion_area_fraction,
            "lesion_confidence": self.lesion_confidence,
            "quality": dict(self.quality),
            "timings_ms": dict(self.timings_ms),
            "provider": self.provider,
            "variant": self.variant,
            "bundle": self.bundle,
            "bundle_version": self.bundle_version,
            "bundle_sha256": self.bundle_sha256,
            "site_sha256": self.site_sha256,
            "warnings": list(self.warnings),
            **({} if self.measurements is None else {"measurements": self.measurements.to_dict()}),
            **({} if self.class_map is None else {"class_map": [[float(x) for x in row] for row in self.class_map]}),
        }
