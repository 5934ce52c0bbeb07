"""What is in data sets, and all that is wrong with them, before any network is trained on them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge_infer.errors import ImageError
from edge_infer.steps.image import open_picture
from trainer.data.duplicates import Alike, Look, alike, look
from trainer.data.ham10000 import Complain, Record, check_framing, missing_picture, read_mask
from trainer.data.sources import read_sources
from trainer.data.splits import SPLITS, half_prescribed
from trainer.errors import DataError, TrainerError

_HASH_SIDE = 16

Further = Callable[[Sequence[Record]], Sequence[TrainerError]]
"""Takes all records and gives faults of them."""


def nothing_further(records: Sequence[Record]) -> Sequence[TrainerError]:
    """The `Further` that finds none."""
    return ()


@dataclass(frozen=True)
class Findings:
    """Counts and faults of data sets.

    Attributes:
        pictures: records in the metadata.
        lesions: distinct lesions.
        repeated_lesions: lesions with more than one picture: a split by picture would leak them.
        classes: pictures of each diagnosis.
        splits: pictures of each prescribed split.
        sizes: pictures of each size, `width x height`, of those that were opened.
        sources: pictures of each source.
        without_mask: pictures that have none, as the metadata say; no fault.
        errors: the faults, a line each: file, row or image id, what is wrong, and the remedy.
        near_duplicates: pairs that look alike across sources or splits, the most alike first; to be looked at, and no
            faults.
    """

    pictures: int
    lesions: int
    repeated_lesions: int
    classes: dict[str, int]
    splits: dict[str, int]
    sizes: dict[str, int]
    sources: dict[str, int]
    without_mask: int
    errors: list[str]
    near_duplicates: list[Alike] = field(default_factory=list)


def check_folders(folders: Sequence[Path], further: Further = nothing_further, *, duplicates: bool = False) -> Findings:
    """Reads every row of the folders and opens every picture and mask once.

    Args:
        folders: data sets, see `trainer.data.isic.read_dataset`; at least one.
        further: gives further faults of the records, such as `trainer.bundle.sources.recipe_faults`.
        duplicates: also look for pictures that look alike across sources and splits.
    """
    errors: list[TrainerError] = []
    records = read_sources(folders, strict=False, complain=errors.append)
    errors += [*_unknown_splits(records), *half_prescribed(records), *further(records)]
    sizes: Counter[str] = Counter()
    prints: defaultdict[bytes, list[Record]] = defaultdict(list)
    seen: list[tuple[Record, Look]] = []
    for record in tqdm(records, desc="opening", unit="picture", mininterval=1.0):
        image = _open(record, errors.append)
        if image is None:
            continue
        sizes[f"{image.shape[1]}x{image.shape[0]}"] += 1
        prints[fingerprint(image)].append(record)
        if duplicates:
            seen.append((record, look(image)))
    errors += (error for group in prints.values() for error in _same_picture(group))
    per_lesion = Counter(record.lesion_id for record in records)
    return Findings(
        pictures=len(records),
        lesions=len(per_lesion),
        repeated_lesions=sum(count > 1 for count in per_lesion.values()),
        classes=dict(sorted(Counter(record.dx or "none" for record in records).items())),
        splits=dict(sorted(Counter(record.split or "none" for record in records).items())),
        sizes=dict(sizes.most_common()),
        sources=dict(sorted(Counter(record.source for record in records).items())),
        without_mask=sum(record.mask_path is None for record in records),
        errors=[str(error) for error in errors],
        near_duplicates=alike([record for record, _ in seen], [item for _, item in seen]),
    )


def fingerprint(image: NDArray[np.uint8]) -> bytes:
    """Difference hash of 16 x 16 bits: whether each cell of the shrunken grey picture is brighter than its right one.

    Survives resizing and recompression; pictures of one lesion taken twice still differ.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_HASH_SIDE + 1, _HASH_SIDE), interpolation=cv2.INTER_AREA)
    return np.packbits(small[:, :-1] > small[:, 1:]).tobytes()


def _open(record: Record, report: Complain) -> NDArray[np.uint8] | None:
    """The picture, RGB uint8, shape (h, w, 3), or None where it cannot be decoded whole; its mask is checked too."""
    image: NDArray[np.uint8] | None = None
    if not record.image_path.is_file():
        report(DataError(f"{record.place}: {missing_picture(record.image_id)}", "Restore it, or remove its row."))
        return None
    try:
        image = open_picture(record.image_path).pixels
    except ImageError as error:
        report(
            DataError(
                f"{record.place}: {record.image_path} cannot be read. {error.message}",
                f"{error.remedy} Or remove its row.",
            )
        )
    if record.mask_path is None:
        return image
    try:
        mask = read_mask(record.mask_path)
    except DataError as error:
        report(DataError(f"{record.place}: {error.message}", f"{error.remedy} Or write 0 in its column 'mask'."))
        return image
    if not mask.any():
        report(
            DataError(
                f"{record.place}: {record.mask_path} marks no lesion.", "Draw it, or write 0 in its column 'mask'."
            )
        )
    if image is not None:
        try:
            check_framing(record, image, mask)
        except DataError as error:
            report(error)
    return image


def _unknown_splits(records: Sequence[Record]) -> list[DataError]:
    return [
        DataError(
            f"{record.place}: {record.image_id} has the unknown split '{record.split}'.",
            f"Write one of {', '.join(SPLITS)}, or leave the column empty in all rows of the source.",
        )
        for record in records
        if record.split not in ("", *SPLITS)
    ]


def _same_picture(group: Sequence[Record]) -> list[DataError]:
    """One error for each record that looks the same as the group's first and is listed as another lesion."""
    first = group[0]
    return [
        DataError(
            f"{record.place}: {record.image_id} shows the same as {first.image_id} ({first.place}), of another lesion.",
            "Give both the same lesion_id, or remove one of the two rows.",
        )
        for record in group
        if record.lesion_id != first.lesion_id and record.image_id != first.image_id
    ]
