"""Probabilities for pictures among which melanoma is rarer or more frequent than a bundle assumes.

A calibrated probability holds for the share of melanoma that it was calibrated on. Where only that share differs, the
odds are multiplied by the ratio of both shares' odds (Saerens, Latinne and Decaestecker, Neural Computation 2002):

    odds' = odds * [prevalence / (1 - prevalence)] / [prior / (1 - prior)]

A threshold that was chosen for a sensitivity, a specificity or a share of pictures ranks pictures, and this map keeps
every order: the threshold moves by the same map, and no decision changes. Sensitivity and specificity are shares of
melanomas and of other lesions, which do not depend on how many there are of each. A threshold that is a risk in itself
("refer from 10 % upwards") means the corrected probability and stays where it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_infer.errors import BundleError, PrevalenceError
from edge_infer.rules import Calibration, OperatingPoint


def odds_ratio(prior: float, prevalence: float) -> float:
    """By what the odds of melanoma are multiplied.

    Args:
        prior: share of melanoma that the probabilities assume, between 0 and 1.
        prevalence: the share for which they are wanted, between 0 and 1.
    """
    return prevalence / (1 - prevalence) * (1 - prior) / prior


def known_ratio(calibration: Calibration, prevalence: float | None) -> float:
    """`odds_ratio` for a bundle's calibration; 1 where no prevalence is asked for.

    Raises:
        PrevalenceError: the prevalence is not between 0 and 1.
        BundleError: the bundle does not state its prior.
    """
    if prevalence is None:
        return 1.0
    if not 0 < prevalence < 1:
        raise PrevalenceError(
            f"A prevalence of {prevalence:g} is no share between 0 and 1.", "Two melanomas in a hundred are 0.02."
        )
    if calibration.prior is None:
        raise BundleError(
            "This bundle does not state the share of melanoma that its probabilities assume, so they cannot be "
            "corrected for another.",
            "Leave the prevalence out, or use a bundle whose manifest states calibration.prior.",
        )
    return odds_ratio(calibration.prior, prevalence)


def correct(probability: float, ratio: float) -> float:
    """A probability of melanoma, 0..1, with its odds multiplied; 0 and 1 stay."""
    return ratio * probability / (ratio * probability + (1 - probability))


def correct_classes(probabilities: NDArray[np.floating[Any]], melanoma: int, ratio: float) -> NDArray[np.float64]:
    """The same for all classes; those other than melanoma keep their proportions, and the sum stays.

    Args:
        probabilities: floats, shape (classes,), with the sum 1.
        melanoma: index of its class.
        ratio: see `odds_ratio`.
    """
    result = probabilities.astype(np.float64)
    probability = float(result[melanoma])
    result /= ratio * probability + (1 - probability)
    # As thresholds are moved: rounded otherwise, a probability at its threshold could end on the other side.
    result[melanoma] = correct(probability, ratio)
    return result


def move(point: OperatingPoint, ratio: float) -> OperatingPoint:
    """The operating point for corrected probabilities; one that is a probability in itself stays."""
    if point.basis == "probability":
        return point
    bands = tuple(replace(band, low=correct(band.low, ratio), high=correct(band.high, ratio)) for band in point.bands)
    return replace(point, threshold=correct(point.threshold, ratio), bands=bands)
