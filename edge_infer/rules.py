"""What a bundle fixes and the steps obey: inputs, mask, crop, limits, operating points, calibration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from edge_infer.errors import BundleError

Outside = Literal["pad", "clip", "cap", "reflect"]


@dataclass(frozen=True)
class InputSpec:
    """A network's input: RGB uint8 in NHWC layout, any batch size; normalisation is inside the graph."""

    name: str
    height: int
    width: int
    channels: Literal[3] = 3
    dtype: Literal["uint8"] = "uint8"
    layout: Literal["NHWC"] = "NHWC"
    color: Literal["RGB"] = "RGB"


@dataclass(frozen=True)
class Tolerance:
    """How far a replay of the golden examples may deviate from what is stored; see `edge_infer.bundle.golden.replay`.

    `max_map` bounds the mean absolute deviation of the probability map, `min_mask_iou` the overlap of the cleaned
    masks, `max_probability` the largest deviation of a class probability on the stored crop, `max_end_to_end` the
    same on the crop that the stage's own mask gives, `max_familiarity` that of the score where there is one.
    """

    max_map: float
    min_mask_iou: float
    max_probability: float
    max_end_to_end: float
    max_familiarity: float | None = None

    def wider(self, other: Tolerance) -> Tolerance:
        """What two networks with different tolerances must hold together: the wider bound of each."""
        return Tolerance(
            max(self.max_map, other.max_map),
            min(self.min_mask_iou, other.min_mask_iou),
            max(self.max_probability, other.max_probability),
            max(self.max_end_to_end, other.max_end_to_end),
            max(filter(None, (self.max_familiarity, other.max_familiarity)), default=None),
        )


@dataclass(frozen=True)
class MaskRule:
    """How a probability map becomes a lesion, and when the lesion is refused.

    `threshold` applies to the probability; the area fractions are of the whole picture; `min_confidence` is the least
    mean probability inside the outline (`edge_infer.steps.mask.lesion_confidence`).
    """

    threshold: float
    min_area_fraction: float
    max_area_fraction: float
    min_confidence: float = 0.0


@dataclass(frozen=True)
class RoiRule:
    """How the lesion is cropped: see `edge_infer.steps.crop.roi_box` and `crop_roi`.

    `outside` says what happens where the square leaves the picture; manifests without it mean `pad`.
    """

    background: Literal["keep", "zero"]
    margin: float
    outside: Outside = "pad"


@dataclass(frozen=True)
class QualityLimits:
    """Limits of a usable picture, outside which there is no probability; measures: `edge_infer.steps.quality`."""

    min_side: int
    min_contrast: float
    min_luminance: float
    max_luminance: float
    min_sharpness: float


APPEARANCE_MEASURES = (
    *("red_green", "red_green_spread", "green_blue", "green_blue_spread", "shading", "brightness", "contrast"),
    *("octave_1", "octave_2", "octave_3", "octave_4", "octave_5", "flat", "peaked"),
)
"""What `DermoscopyRule.terms` may name; see `edge_infer.steps.appearance.Appearance`."""


@dataclass(frozen=True)
class Term:
    """One measure in a score: weight * z + curve * z**2 with z = (measure - centre) / scale, clipped."""

    centre: float
    scale: float
    weight: float
    curve: float


@dataclass(frozen=True)
class DermoscopyRule:
    """When a picture is no dermoscopy: see `edge_infer.steps.appearance.dermoscopy_score`.

    Attributes:
        terms: by measure, see `APPEARANCE_MEASURES`.
        clip: z counts up to this size to either side.
        intercept: of the score.
        min_score: below it there is no probability.
    """

    terms: dict[str, Term]
    clip: float
    intercept: float
    min_score: float


@dataclass(frozen=True)
class FamiliarityRule:
    """When a picture is unlike those that the segmenter learnt from, so no dermoscopy.

    Attributes:
        output: name of the segmenter's output that holds the score: float32, one a picture, higher means more familiar.
        threshold: below it there is no probability.
    """

    output: str
    threshold: float


@dataclass(frozen=True)
class Metric:
    """A figure with its 95 % confidence interval, bootstrapped by lesion."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Band:
    """Probabilities too close to a threshold for a decision: low < p < high, chosen on the split of the threshold.

    `referred` is the share of pictures that it was chosen to leave undecided; `metrics` is what it gave on the
    evaluation split: the decided pictures' sensitivity, specificity, and so on.
    """

    referred: float
    low: float
    high: float
    metrics: dict[str, Metric] = field(default_factory=dict)


@dataclass(frozen=True)
class OperatingPoint:
    """A named decision threshold on the melanoma probability, chosen on the split `chosen_on`.

    `rule` says how it was chosen, `meaning` what it is for, in plain words. `metrics` is what it gave on the
    evaluation split: sensitivity, specificity, and so on. `bands` are for those who would rather leave the least
    certain pictures undecided; none is used unless it is asked for.

    `basis` says what the threshold means where the user states another share of melanoma (`Calibration.prior`).
    "ranking": it was chosen for a sensitivity, a specificity or a share of pictures, so it moves with the probabilities
    and every decision stays. "probability": it is a risk in itself, such as 10 %, so it stays and decisions change.
    """

    name: str
    threshold: float
    rule: str
    meaning: str
    chosen_on: str
    metrics: dict[str, Metric] = field(default_factory=dict)
    bands: tuple[Band, ...] = ()
    basis: Literal["ranking", "probability"] = "ranking"

    def band(self, referred: float) -> Band:
        """The band that leaves this share of pictures undecided.

        Raises:
            BundleError: there is none for this share.
        """
        for band in self.bands:
            if abs(band.referred - referred) < 1e-6:
                return band
        known = ", ".join(f"{band.referred:g}" for band in self.bands)
        raise BundleError(
            f"Operating point '{self.name}' has no band that leaves {referred:g} of the pictures undecided.",
            f"Choose one of: {known}." if known else "This bundle has none: leave it out, or use another bundle.",
        )


@dataclass(frozen=True)
class Calibration:
    """Post-hoc calibration. It is already folded into the classifier's graph; this records what was done.

    `platt` is a temperature and `bias`, which is added to the logit of melanoma after it (Platt 1999, on the odds of
    one class); manifests without it mean 0.

    `prior` is the share of melanoma among the pictures that the probabilities assume, 0..1; None where the bundle does
    not say. Where melanoma is rarer or more frequent the probabilities are wrong by the ratio of odds, see
    `edge_infer.steps.prevalence`.
    """

    method: Literal["none", "temperature", "platt"]
    temperature: float
    fitted_on: str
    prior: float | None = None
    bias: float = 0.0
