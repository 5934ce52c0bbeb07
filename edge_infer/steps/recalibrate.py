"""A probability of melanoma on a site's own scale: its log-odds divided by a temperature and shifted.

    log-odds' = log-odds / temperature + shift

Both are fitted on labelled pictures of the site (Platt scaling of the log-odds; Guo et al., ICML 2017, with an
intercept). The shift takes up another share of melanoma, the temperature answers that are too sure or too unsure. The
map keeps every order.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_SMALLEST = 1e-12


def log_odds(probability: float) -> float:
    """ln(p / (1 - p)), finite at 0 and 1 too."""
    inside = min(max(probability, _SMALLEST), 1 - _SMALLEST)
    return math.log(inside) - math.log1p(-inside)


def recalibrated(probability: float, temperature: float, shift: float) -> float:
    """The probability, 0..1, on the new scale."""
    z = log_odds(probability) / temperature + shift
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def recalibrated_classes(
    probabilities: NDArray[np.float32], melanoma: int, temperature: float, shift: float
) -> NDArray[np.float32]:
    """The same for all classes; those other than melanoma keep their proportions, and the sum stays 1.

    Args:
        probabilities: float32, shape (classes,), with the sum 1.
        melanoma: index of its class.
        temperature, shift: see the module.
    """
    before = float(probabilities[melanoma])
    after = recalibrated(before, temperature, shift)
    result = probabilities.astype(np.float64)
    rest = max(1 - before, _SMALLEST)
    result *= (1 - after) / rest
    result[melanoma] = after
    return result.astype(np.float32)
