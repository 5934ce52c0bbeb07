"""How the seven classes lean: their share, colours, border and patterns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
BARE_SKIN = "skin"


@dataclass(frozen=True)
class Look:
    """How a class leans.

    Attributes:
        share: its share of a data set.
        pigments: RGB colours, the first one covers the lesion and the others appear in patches.
        extra_pigments: how many of the others, from and to (inclusive).
        radius: mean lesion radius as a fraction of the picture's shorter side, from and to.
        irregularity: relative amplitude of the border's waves.
        elongation: largest ratio of the two axes.
        softness: width of the border's transition as a fraction of the radius.
        network: chance of a pigment network.
        dots: chance of dots and globules.
        vessels: chance of vessels inside the lesion.
        strength: how opaque the pigment is, 0..1.
    """

    share: float
    pigments: tuple[Colour, ...]
    extra_pigments: tuple[int, int]
    radius: tuple[float, float]
    irregularity: float
    elongation: float
    softness: float
    network: float = 0.0
    dots: float = 0.0
    vessels: float = 0.0
    strength: float = 0.9


LOOKS: dict[str, Look] = {
    "akiec": Look(
        0.06, ((196, 118, 106), (222, 182, 160), (168, 92, 84)), (1, 2), (0.20, 0.33), 0.12, 1.5, 0.22, 0, 0.3, 0.6, 0.7
    ),
    "bcc": Look(
        0.08,
        ((205, 132, 132), (112, 100, 128), (232, 198, 196)),
        (1, 2),
        (0.17, 0.30),
        0.10,
        1.4,
        0.14,
        0,
        0.5,
        0.9,
        0.75,
    ),
    "bkl": Look(
        0.14,
        ((152, 104, 72), (186, 138, 88), (118, 84, 70)),
        (1, 2),
        (0.18, 0.34),
        0.11,
        1.7,
        0.07,
        0.15,
        0.6,
        0,
        0.85,
    ),
    "df": Look(0.04, ((176, 116, 96), (232, 204, 194)), (1, 1), (0.14, 0.24), 0.05, 1.2, 0.30, 0.5, 0, 0, 0.75),
    "mel": Look(
        0.16,
        ((84, 50, 44), (38, 28, 32), (86, 90, 118), (140, 72, 62), (150, 112, 106)),
        (2, 4),
        (0.22, 0.37),
        0.14,
        1.8,
        0.08,
        0.5,
        0.7,
        0.1,
        0.97,
    ),
    "nv": Look(
        0.47,
        ((130, 78, 58), (98, 56, 46), (164, 106, 78)),
        (0, 1),
        (0.12, 0.30),
        0.05,
        1.4,
        0.11,
        0.6,
        0.35,
        0,
        0.92,
    ),
    "vasc": Look(
        0.05, ((158, 36, 62), (104, 24, 62), (196, 70, 86)), (1, 2), (0.10, 0.20), 0.06, 1.3, 0.06, 0, 0, 0, 0.95
    ),
}
"""The seven classes of HAM10000."""


def chances() -> NDArray[np.float64]:
    """Chance of each class of `LOOKS`, in its order."""
    shares = np.array([look.share for look in LOOKS.values()])
    return np.asarray(shares / shares.sum())
