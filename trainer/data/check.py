"""What is in a data set, and what is wrong with it, before any network is trained on it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from trainer.data.duplicates import Look, look, near_duplicates
from trainer.data.ham10000 import Record, check_framing, read_image, read_mask
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
        sources: pictures of each source.
        without_mask: pictures that have none, as the metadata say; no problem.
        errors: what else contradicts itself, each naming file, row or picture, and remedy.
        near_duplicates: pairs that look alike across sources or splits, see `trainer.data.duplicates`; to be looked at,
            and not counted as problems.
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
    sources: dict[str, int] = field(default_factory=dict)
    without_mask: int = 0
    errors: list[str] = field(default_factory=list)
    near_duplicates: list[str] = field(default_factory=list)

    @property
    def problems(self) -> int:
        """How many pictures or lesions something is wrong with; lesions seen twice are normal and do not count."""
        lists: tuple[list[Any], ...] = (
            self.unreadable,
            self.missing_masks,
            self.empty_masks,
            self.leaking_lesions,
            self.same_picture,
            self.errors,
        )
        return sum(len(items) for items in lists)


def check_records(
    records: Sequence[Record],
    *,
    masks: bool = True,
    errors: Sequence[DataError] = (),
    duplicates: bool = False,
) -> Findings:
    """Opens every picture (and mask) once.

    Args:
        records: from a reader with `strict=False`, so that missing files are reported instead of raised.
        masks: whether the data set has masks at all.
        errors: what the reader complained about.
        duplicates: also look for pictures that look alike across sources and splits.
    """
    sizes: Counter[str] = Counter()
    unreadable, missing, empty = [], [], []
    found = [str(error) for error in errors]
    looks: defaultdict[bytes, list[Record]] = defaultdict(list)
    seen: list[tuple[Record, Look]] = []
    for record in tqdm(records, desc="opening", unit="picture", mininterval=1.0):
        image: NDArray[np.uint8] | None = None
        try:
            image = read_image(record.image_path)
        except DataError:
            unreadable.append(record.image_id)
        else:
            sizes[f"{image.shape[1]}x{image.shape[0]}"] += 1
            looks[fingerprint(image)].append(record)
            if duplicates:
                seen.append((record, look(image)))
        if masks and record.mask_path is not None:
            try:
                mask = read_mask(record.mask_path)
            except DataError:
                missing.append(record.image_id)
                continue
            if not mask.any():
                empty.append(record.image_id)
            if image is not None:
                try:
                    check_framing(record, image, mask)
                except DataError as error:
                    found.append(str(error))
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
        sources=dict(sorted(Counter(record.source for record in records).items())),
        without_mask=sum(record.mask_path is None for record in records),
        errors=found,
        near_duplicates=[
            f"{pair.first.image_id} ({pair.first.source}, {pair.first.split or 'no split'}) = {pair.second.image_id} "
            f"({pair.second.source}, {pair.second.split or 'no split'}): {pair.correlation:.3f}"
            for pair in near_duplicates([record for record, _ in seen], [item for _, item in seen])
        ],
    )


def fingerprint(image: NDArray[np.uint8]) -> bytes:
    """Difference hash of 16 x 16 bits: whether each cell of the shrunken grey picture is brighter than its right one.

    Survives resizing and recompression; pictures of one lesion taken twice still differ.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_HASH_SIDE + 1, _HASH_SIDE), interpolation=cv2.INTER_AREA)
    return np.packbits(small[:, :-1] > small[:, 1:]).tobytes()
