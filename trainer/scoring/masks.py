"""Measures of masks, from the pixels that a predicted and a true one share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.scoring.metrics import Floats, Measure, Weights, mean_of, ratio

JACCARD_FAILURE = 0.65
"""Below this Jaccard index a segmentation counts as failed (the ISIC challenges' threshold)."""


@dataclass(frozen=True)
class Overlaps:
    """Pixel counts of predicted against true masks, one entry per image, each an array of shape (n,)."""

    tp: Floats
    fp: Floats
    fn: Floats
    tn: Floats

    @property
    def dice(self) -> Floats:
        """2 tp / (2 tp + fp + fn); 1 where both masks are empty."""
        return ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn, empty=1.0)

    @property
    def jaccard(self) -> Floats:
        """tp / (tp + fp + fn); 1 where both masks are empty."""
        return ratio(self.tp, self.tp + self.fp + self.fn, empty=1.0)

    @property
    def recall(self) -> Floats:
        """tp / (tp + fn), pixel sensitivity; 1 where the true mask is empty."""
        return ratio(self.tp, self.tp + self.fn, empty=1.0)

    @property
    def precision(self) -> Floats:
        """tp / (tp + fp); 0 where nothing was predicted, 1 where nothing was there either."""
        return ratio(self.tp, self.tp + self.fp, empty=np.where(self.fn == 0, 1.0, 0.0))

    @property
    def accuracy(self) -> Floats:
        """(tp + tn) / all pixels."""
        return ratio(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn)


def segmentation_measures(overlaps: Overlaps, classes: Sequence[str] = ()) -> dict[str, Measure]:
    """Per-image segmentation figures; with the images' classes also the mean Dice of the worst class.

    `thresholded_jaccard` counts images below 0.65 as 0; `pooled_dice` throws all pixels into one pot, which hides
    failures, and is given for comparison with papers only.
    """
    jaccard = overlaps.jaccard
    failed = jaccard < JACCARD_FAILURE

    def pooled(weights: Weights) -> NDArray[np.float64]:
        tp, errors = weights @ overlaps.tp, weights @ (overlaps.fp + overlaps.fn)
        return ratio(2 * tp, 2 * tp + errors)

    measures: dict[str, Measure] = {
        "dice": mean_of(overlaps.dice),
        "jaccard": mean_of(jaccard),
        "thresholded_jaccard": mean_of(np.where(failed, 0.0, jaccard)),
        "jaccard_below_0.65": mean_of(failed),
        "pixel_recall": mean_of(overlaps.recall),
        "pixel_precision": mean_of(overlaps.precision),
        "pixel_accuracy": mean_of(overlaps.accuracy),
        "pooled_dice": pooled,
    }
    if len(classes):
        names = np.asarray(classes, dtype=str)
        by_class = [mean_of(overlaps.dice, names == name) for name in np.unique(names)]
        measures["worst_class_dice"] = lambda weights: np.min([measure(weights) for measure in by_class], axis=0)
    return measures


def pooled_measures(overlaps: Overlaps) -> dict[str, Measure]:
    """Segmentation figures with all pixels in one pot, as some papers do: large lesions hide small failed ones."""

    def pot(above: Callable[[Overlaps], Floats], below: Callable[[Overlaps], Floats]) -> Measure:
        over, under = above(overlaps), below(overlaps)
        return lambda weights: ratio(weights @ over, weights @ under)

    return {
        "dice": pot(lambda o: 2 * o.tp, lambda o: 2 * o.tp + o.fp + o.fn),
        "jaccard": pot(lambda o: o.tp, lambda o: o.tp + o.fp + o.fn),
        "pixel_recall": pot(lambda o: o.tp, lambda o: o.tp + o.fn),
        "pixel_precision": pot(lambda o: o.tp, lambda o: o.tp + o.fp),
        "pixel_accuracy": pot(lambda o: o.tp + o.tn, lambda o: o.tp + o.fp + o.fn + o.tn),
    }
