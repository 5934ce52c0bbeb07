"""One picture on its way: what is known of it so far, and the steps before and between the networks."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_infer.geometry import Box
from edge_infer.reasons import Problem
from edge_infer.rules import DermoscopyRule, FamiliarityRule, InputSpec, MaskRule, QualityLimits, RoiRule
from edge_infer.steps.appearance import appearance_problem, dermoscopy_score, familiarity_problem, measure_appearance
from edge_infer.steps.crop import crop_roi, roi_box
from edge_infer.steps.image import ImageInput, Picture, PictureSource, open_picture
from edge_infer.steps.mask import clean_mask, lesion_confidence, restore_lesion
from edge_infer.steps.quality import Quality, lesion_problem, measure_quality, picture_problem
from edge_infer.steps.resize import resize


class Clock:
    """Adds up the milliseconds of named steps."""

    def __init__(self) -> None:
        """Starts it."""
        self._steps: dict[str, float] = {}
        self.restart()

    def restart(self) -> None:
        """What passed since the last lap counts for no step."""
        self._start = time.perf_counter()

    def lap(self, step: str) -> None:
        """Counts the time since the last lap for this step."""
        self.add(step, (time.perf_counter() - self._start) * 1000)
        self.restart()

    def add(self, step: str, milliseconds: float) -> None:
        """Counts time that was measured elsewhere."""
        self._steps[step] = self._steps.get(step, 0.0) + milliseconds

    def timings(self) -> dict[str, float]:
        """Milliseconds by step, and their sum as "total"."""
        return {**self._steps, "total": sum(self._steps.values())}


@dataclass(frozen=True)
class StepRules:
    """What a bundle fixes for the steps outside its networks: both networks' inputs, and the rules in order."""

    segmenter: InputSpec
    classifier: InputSpec
    quality: QualityLimits
    dermoscopy: DermoscopyRule | None
    mask: MaskRule
    roi: RoiRule
    familiarity: FamiliarityRule | None = None

    @property
    def decode_side(self) -> int:
        """A picture decoded at this size or above still fills both networks' inputs for lesions of ordinary size."""
        return 2 * max(self.segmenter.height, self.segmenter.width, self.classifier.height)


@dataclass
class Work:
    """One picture and what is known of it so far; fields of one name mean what they mean in `Diagnosis`.

    Attributes:
        picture: as it was decoded.
        segmenter_input: RGB uint8 at the segmenter's input size.
        problem: why it gets no probability; the steps after the one that found it are left out.
        dermoscopy: score of its appearance, where the bundle has a rule for it.
        familiarity: the segmenter's score of it, where the bundle has a rule for it.
        probability_map: of the segmenter, where the caller keeps it.
        probabilities: of the classes, in the bundle's order.
        class_map: of melanoma, where the classifier gives it.
    """

    source: str | None
    picture: Picture
    segmenter_input: NDArray[np.uint8]
    quality: Quality
    clock: Clock
    problem: Problem | None = None
    dermoscopy: float | None = None
    familiarity: float | None = None
    mask: NDArray[np.uint8] | None = None
    lesion_box: Box | None = None
    roi_box: Box | None = None
    roi: NDArray[np.uint8] | None = None
    area: float | None = None
    confidence: float | None = None
    probability_map: NDArray[np.float32] | None = None
    probabilities: NDArray[np.float32] | None = None
    class_map: NDArray[np.float32] | None = None
    warnings: list[str] = field(default_factory=list)


def source_of(image: ImageInput) -> str | None:
    """How results refer to a picture: its path or the name that it gives itself; None for bytes and arrays."""
    if isinstance(image, PictureSource):
        return image.name
    return os.fspath(image) if isinstance(image, str | os.PathLike) else None


def examine(image: ImageInput, rules: StepRules, max_pixels: int) -> Work:
    """Before the networks: decodes, resizes, and judges quality and appearance.

    Raises:
        ImageError: the picture cannot be used; see its subclasses.
    """
    clock = Clock()
    picture = open_picture(image, max_pixels=max_pixels, min_side=rules.decode_side)
    clock.lap("decode")
    pixels = resize(picture.pixels, rules.segmenter.height, rules.segmenter.width)
    quality = measure_quality(pixels)
    work = Work(source_of(image), picture, pixels, quality, clock)
    work.problem = picture_problem(picture.height, picture.width, quality, rules.quality)
    if rules.dermoscopy is not None:
        work.dermoscopy = dermoscopy_score(measure_appearance(pixels), rules.dermoscopy)
        work.problem = work.problem or appearance_problem(work.dermoscopy, rules.dermoscopy)
    clock.lap("preprocess")
    return work


def locate(work: Work, probability: NDArray[np.float32], rules: StepRules, score: float | None = None) -> None:
    """Between the networks: mask, box and crop from the segmenter's map, or the reason why there are none.

    An outline is kept where there is one, even if the picture is refused. What looks like no dermoscopy is refused as
    that, whatever its outline may lack.

    Args:
        work: without a problem; gets the results.
        probability: float32 lesion probabilities at the segmenter's input size.
        rules: of the bundle.
        score: how familiar the picture is, where the bundle has a rule for it.
    """
    work.clock.restart()
    picture = work.picture
    small = clean_mask(probability, rules.mask.threshold)
    mask, box, pixels = restore_lesion(small, picture.height, picture.width)
    mask.flags.writeable = False
    area = pixels / mask.size
    confidence = lesion_confidence(probability, small)
    if rules.familiarity is not None and score is not None:
        work.familiarity = score
        work.problem = familiarity_problem(score, rules.familiarity)
    work.problem = work.problem or lesion_problem(area, confidence, rules.mask)
    if box is not None:
        work.mask, work.lesion_box, work.area, work.confidence = mask, box, area, confidence
        if work.problem is None:
            _crop(work, small, mask, box, rules)
    work.clock.lap("postprocess")


def _crop(work: Work, small: NDArray[np.uint8], mask: NDArray[np.uint8], box: Box, rules: StepRules) -> None:
    picture, size = work.picture, rules.classifier.height
    work.roi_box = roi_box(box, picture.height, picture.width, rules.roi.margin, rules.roi.outside)
    side = min(work.roi_box.x1 - work.roi_box.x0, work.roi_box.y1 - work.roi_box.y0)
    finest = max((factor for factor in (1, 2, 4, 8) if side // factor >= size), default=1)
    if finest < picture.reduction:
        picture = picture.at(finest)
    rows, columns = picture.pixels.shape[:2]
    if picture.reduction == 1:
        work.roi = crop_roi(picture.pixels, mask, work.roi_box, rules.roi, size)
    else:
        reduced = restore_lesion(small, rows, columns)
        reduced_box = reduced.box or Box(0, 0, columns, rows)
        reduced_roi = roi_box(reduced_box, rows, columns, rules.roi.margin, rules.roi.outside)
        work.roi = crop_roi(picture.pixels, reduced.mask, reduced_roi, rules.roi, size)
    work.roi.flags.writeable = False
    if box.x0 == 0 or box.y0 == 0 or box.x1 == picture.width or box.y1 == picture.height:
        work.warnings.append("The lesion reaches the picture's edge; part of it may be missing.")
    if side < size:
        work.warnings.append(f"The lesion is small: its crop of {side} pixels was enlarged to {size}.")
