"""What is in a data set, and what is wrong with it, before any network is trained on it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from trainer.data.ham10000 import Record, read_image, read_mask
from trainer.errors import DataError

_HASH_SIDE = 16


@dataclass(frozen=True)
class Findings:
    """Counts and problems of a data set.

    Attributes:
        pictures: records in the metadata.
        lesions: distinct lesions.
        repeated_lesions: lesions with more than one picture: a split by picture would leak them.
        classes: pictures of each diagnosis.
        splits: pictures of each prescribed split.
        sizes: pictures of each size, `width x height`, of those that were opened.
        unreadable: pictures that are missing or damaged.
        missing_masks: pictures without a readable mask.
        empty_masks: pictures whose mask marks no lesion.
        leaking_lesions: lesions in more than one prescribed split.
        same_picture: groups of ids whose pictures look the same and whose lesion ids differ.
    """

    pictures: int
    lesions: int
    repeated_lesions: int
    classes: dict[str, int]
    splits: dict[str, int]
    sizes: dict[str, int]
    unreadable: list[str]
    missing_masks: list[str]
    empty_masks: list[str]
    leaking_lesions: list[str]
    same_picture: list[list[str]]

    @property
    def problems(self) -> int:
        """How many pictures or lesions something is wrong with; lesions seen twice are normal and do not count."""
        lists: tuple[list[Any], ...] = (
            self.unreadable,
            self.missing_masks,
            self.empty_masks,
            self.leaking_lesions,
            self.same_picture,
        )
        return sum(len(items) for items in lists)


def check_records(records: Sequence[Record], *, masks: bool = True) -> Findings:
    """Opens every picture (and mask) once.

    Args:
        records: from a reader with `strict=False`, so that missing files are reported instead of raised.
        masks: whether the data set has masks at all.
    """
    sizes: Counter[str] = Counter()
    unreadable, missing, empty = [], [], []
    looks: defaultdict[bytes, list[Record]] = defaultdict(list)
    for record in tqdm(records, desc="opening", unit="picture", mininterval=1.0):
        try:
            image = read_image(record.image_path)
        except DataError:
            unreadable.append(record.image_id)
        else:
            sizes[f"{image.shape[1]}x{image.shape[0]}"] += 1
            looks[fingerprint(image)].append(record)
        if masks:
            try:
                if not read_mask(record.mask_path).any():
                    empty.append(record.image_id)
            except DataError:
                missing.append(record.image_id)
    per_lesion = Counter(record.lesion_id for record in records)
    splits_of: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        splits_of[record.lesion_id].add(record.split)
    return Findings(
        pictures=len(records),
        lesions=len(per_lesion),
        repeated_lesions=sum(count > 1 for count in per_lesion.values()),
        classes=dict(sorted(Counter(record.dx or "none" for record in records).items())),
        splits=dict(sorted(Counter(record.split or "none" for record in records).items())),
        sizes=dict(sizes.most_common()),
        unreadable=unreadable,
        missing_masks=missing,
        empty_masks=empty,
        leaking_lesions=sorted(lesion for lesion, splits in splits_of.items() if len(splits) > 1),
        same_picture=[
            [record.image_id for record in group]
            for group in looks.values()
            if len({record.lesion_id for record in group}) > 1
        ],
    )


def fingerprint(image: NDArray[np.uint8]) -> bytes:
    """Difference hash of 16 x 16 bits: whether each cell of the shrunken grey picture is brighter than its right one.

    Survives resizing and recompression; pictures of one lesion taken twice still differ.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_HASH_SIDE + 1, _HASH_SIDE), interpolation=cv2.INTER_AREA)
    return np.packbits(small[:, :-1] > small[:, 1:]).tobytes()
