"""Runs the serving path over labelled pictures and keeps one row of numbers per picture.

Every step comes from `edge_infer`; only the networks are passed in, as torch modules, ONNX Runtime sessions, or
anything else that takes and gives the same arrays. Tables are made from the rows alone: see `trainer.report.summary`.

Masks are compared at the size of the true mask as distributed (HAM10000: 600x450), to which the predicted one is
brought by `edge_infer.steps.mask.restore_mask`, as the runtime brings it to the picture's size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge_infer.bundle.golden import segment_and_score
from edge_infer.bundle.manifest import Manifest
from edge_infer.rules import DermoscopyRule, FamiliarityRule, InputSpec, MaskRule, QualityLimits, RoiRule
from edge_infer.steps.appearance import appearance_problem, dermoscopy_score, familiarity_problem, measure_appearance
from edge_infer.steps.crop import crop_roi, lesion_box, roi_box
from edge_infer.steps.image import open_picture
from edge_infer.steps.mask import clean_mask, lesion_confidence, restore_mask
from edge_infer.steps.quality import Quality, lesion_problem, measure_quality, picture_problem
from edge_infer.steps.resize import resize, to_batch
from trainer.data.ham10000 import Record, read_mask
from trainer.data.splits import spread, standard_split
from trainer.errors import DataError
from trainer.scoring.networks import Networks
from trainer.scoring.predictions import Counts, Prediction, RoiSource, overlap
from trainer.scoring.skin_tone import typology_angle


@dataclass(frozen=True)
class Limits:
    """Outside of these a picture gets no probability; None sets no such limit."""

    mask: MaskRule
    quality: QualityLimits | None = None
    dermoscopy: DermoscopyRule | None = None
    familiarity: FamiliarityRule | None = None

    def of_any_size(self) -> Limits:
        """The same limits with quality's `of_any_size`."""
        return replace(self, quality=None if self.quality is None else of_any_size(self.quality))


def of_any_size(limits: QualityLimits) -> QualityLimits:
    """The same limits without those of the picture's own size and, as a small one is smooth, of its sharpness."""
    return replace(limits, min_side=0, min_sharpness=0.0)


def reason_of(
    size: tuple[int, int],
    quality: Quality,
    dermoscopy: float | None,
    area: float,
    confidence: float,
    limits: Limits,
    familiarity: float | None = None,
) -> str:
    """The runtime's reason for giving no probability, checked in the runtime's order; "" where it gives one.

    Args:
        size: the picture's own height and width.
        quality: at the segmenter's input size.
        dermoscopy: score of looking like dermoscopy, None where it was not taken.
        area, confidence: of the outlined lesion.
        limits: of the bundle.
        familiarity: the segmenter's score, None where it gives none.
    """
    problem = None if limits.quality is None else picture_problem(*size, quality, limits.quality)
    if problem is None and dermoscopy is not None and limits.dermoscopy is not None:
        problem = appearance_problem(dermoscopy, limits.dermoscopy)
    if problem is None and familiarity is not None and limits.familiarity is not None:
        problem = familiarity_problem(familiarity, limits.familiarity)
    problem = problem or lesion_problem(area, confidence, limits.mask)
    return problem[0].value if problem else ""


@dataclass(frozen=True)
class Rules:
    """What a manifest says about the steps outside the graphs; `quality` None refuses no picture for its quality.

    `size_exempt` names sources whose pictures are scored however small they are: the one rule that the runtime has and
    a score may leave out, where all of a source is smaller than the product takes.
    """

    segmenter_input: InputSpec
    classifier_input: InputSpec
    labels: tuple[str, ...]
    mask: MaskRule
    roi: RoiRule
    quality: QualityLimits | None = None
    dermoscopy: DermoscopyRule | None = None
    familiarity: FamiliarityRule | None = None
    size_exempt: tuple[str, ...] = ()

    @classmethod
    def of_manifest(cls, manifest: Manifest) -> Rules:
        """The rules of a bundle; its recipe says which sources are scored without the size limit."""
        return cls(
            manifest.segmenter.input,
            manifest.classifier.input,
            manifest.labels,
            manifest.mask,
            manifest.roi,
            manifest.quality,
            manifest.dermoscopy,
            manifest.familiarity,
            tuple(manifest.provenance.bundle_recipe.get("size_exempt", ())),
        )


def select(records: Sequence[Record], split: str, limit: int | None = None) -> list[Record]:
    """The records of a split (see `trainer.data.splits.standard_split`); with a limit, so many of each source.

    Raises:
        DataError: there is no such split, or it is empty.
    """
    parts = standard_split(records)
    if not parts.get(split):
        raise DataError(f"The data set has no split '{split}'.", f"Choose one of: {', '.join(parts)}.")
    sources = dict.fromkeys(record.source for record in parts[split])
    chosen = [one for name in sources for one in spread([r for r in parts[split] if r.source == name], limit)]
    return [replace(record, split=split) for record in chosen]


def predict(
    records: Sequence[Record],
    rules: Rules,
    networks: Networks,
    *,
    roi: RoiSource = "predicted",
    batch_size: int = 16,
    progress: bool = True,
) -> Iterator[Prediction]:
    """Runs the path over the records, in order, at each picture's own resolution.

    Args:
        records: labelled pictures; those without masks get no counts of pixels.
        rules: sizes, thresholds and limits.
        networks: both stages.
        roi: "predicted" crops around the predicted mask, as in use; "truth" crops around the true mask; "whole" takes
            the whole picture, squeezed to a square. The last two do not run the segmenter.
        batch_size: pictures per network call.
        progress: shows a bar on stderr.
    """
    queue = iter(tqdm(records, desc=f"evaluate ({roi} ROI)", unit="img", disable=not progress))
    while batch := list(islice(queue, batch_size)):
        works = [_Work(record, rules) for record in batch]
        if roi != "predicted":
            for work in works:
                work.use_truth() if roi == "truth" else work.use_whole()
        else:
            maps, scores = segment_and_score(networks.segment, to_batch([work.segmenter_input for work in works]))
            for number, (work, probability) in enumerate(zip(works, maps, strict=True)):
                work.use_map(probability)
                work.familiarity = None if scores is None else float(scores[number])
        cropped = [work for work in works if work.crop is not None]
        if cropped:
            rows = networks.classify(to_batch([work.crop for work in cropped if work.crop is not None]))
            for work, row in zip(cropped, rows, strict=True):
                work.probabilities = {name: float(p) for name, p in zip(rules.labels, row, strict=True)}
        for work in works:
            yield work.prediction(roi)


class _Work:
    """One picture on its way."""

    def __init__(self, record: Record, rules: Rules) -> None:
        self.record, self.rules = record, rules
        self.pixels = open_picture(record.image_path).pixels
        self.truth = None if record.mask_path is None else read_mask(record.mask_path)
        spec = rules.segmenter_input
        self.segmenter_input = resize(self.pixels, spec.height, spec.width)
        self.quality: Quality = measure_quality(self.segmenter_input)
        rule = rules.dermoscopy
        self.dermoscopy = None if rule is None else dermoscopy_score(measure_appearance(self.segmenter_input), rule)
        self.familiarity: float | None = None
        self.raw: Counts | None = None
        self.clean: Counts | None = None
        self.crop: NDArray[np.uint8] | None = None
        self.area = 0.0
        self.confidence = 0.0
        self.skin_angle: float | None = None
        self.probabilities: dict[str, float] = {}

    def use_truth(self) -> None:
        self.confidence = 1.0
        if self.truth is None:
            raise DataError(f"{self.record.image_id} has no mask to crop by.", "Choose pictures with masks.")
        self._cut(restore_mask(self.truth, *self.pixels.shape[:2]))

    def use_whole(self) -> None:
        self.area = self.confidence = 1.0
        side = self.rules.classifier_input.height
        self.crop = resize(self.pixels, side, side)

    def use_map(self, probability: NDArray[np.float32]) -> None:
        threshold = self.rules.mask.threshold
        small = clean_mask(probability, threshold)
        if self.truth is not None:
            self.raw = overlap((probability >= threshold).astype(np.uint8), self.truth)
            self.clean = overlap(small, self.truth)
        self.skin_angle = typology_angle(self.segmenter_input, small)
        self.confidence = lesion_confidence(probability, small)
        self._cut(restore_mask(small, *self.pixels.shape[:2]))

    def _cut(self, mask: NDArray[np.uint8]) -> None:
        height, width = mask.shape
        self.area = cv2.countNonZero(mask) / mask.size
        box = lesion_box(mask)
        if box is not None:
            rule = self.rules.roi
            square = roi_box(box, height, width, rule.margin, rule.outside)
            self.crop = crop_roi(self.pixels, mask, square, rule, self.rules.classifier_input.height)

    def _reason(self) -> str:
        height, width = self.pixels.shape[:2]
        limits = Limits(self.rules.mask, self.rules.quality, self.rules.dermoscopy, self.rules.familiarity)
        if self.record.source in self.rules.size_exempt:
            limits = limits.of_any_size()
        size, score = (height, width), self.familiarity
        return reason_of(size, self.quality, self.dermoscopy, self.area, self.confidence, limits, score)

    def prediction(self, roi: RoiSource) -> Prediction:
        record = self.record
        return Prediction(
            record.image_id,
            record.lesion_id,
            record.split,
            record.dx,
            record.dx_type,
            record.age,
            record.sex,
            record.localization,
            roi,
            self._reason(),
            self.quality,
            None if self.truth is None else cv2.countNonZero(self.truth) / self.truth.size,
            self.area,
            self.confidence,
            self.raw,
            self.clean,
            self.probabilities,
            self.dermoscopy,
            record.source,
            self.skin_angle,
            self.familiarity,
        )
