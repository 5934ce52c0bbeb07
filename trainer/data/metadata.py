"""Age, sex and body site as three numbers, encoded as in the first paper."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.data.ham10000 import Record
from trainer.errors import DataError

AGE_STEP = 5
AGE_CODES = 20
"""Ages are recorded in steps of five years: 0, 5, ... 95 take the codes 1 to 20."""
SEXES = ("female", "male")
SITES = (
    "abdomen",
    "acral",
    "back",
    "chest",
    "ear",
    "face",
    "foot",
    "genital",
    "hand",
    "lower extremity",
    "neck",
    "scalp",
    "trunk",
    "upper extremity",
)
GENERAL_SITES = {
    "anterior torso": "trunk",
    "lateral torso": "trunk",
    "posterior torso": "back",
    "palms/soles": "acral",
    "oral/genital": "genital",
    "head/neck": "",
}
"""The ISIC archive's general sites as HAM10000's: the same or a wider term; empty where it has only narrower ones."""


def encode_metadata(records: Sequence[Record]) -> NDArray[np.float32]:
    """Numbers each distinct value from 1, takes 0 where it is empty, and divides by the highest number.

    The numbering is fixed, so that it does not depend on which pictures are at hand.

    Returns:
        Float32, shape (n, 3), values 0..1: age, sex, site.

    Raises:
        DataError: a sex or site has no number.
    """
    return np.array([_encode(record) for record in records], np.float32).reshape(-1, 3)


def _encode(record: Record) -> tuple[float, float, float]:
    age = 0 if record.age is None else min(AGE_CODES, 1 + round(record.age / AGE_STEP))
    site = GENERAL_SITES.get(record.localization, record.localization)
    return age / AGE_CODES, _code(record, record.sex, SEXES), _code(record, site, SITES)


def _code(record: Record, value: str, known: tuple[str, ...]) -> float:
    if not value:
        return 0.0
    if value not in known:
        raise DataError(f"{record.image_id}: '{value}' has no code.", f"Known: {', '.join(known)}; empty is fine.")
    return (1 + known.index(value)) / len(known)
