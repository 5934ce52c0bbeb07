"""Decodes every picture once and keeps it at training size as a memory map, so that no epoch waits for JPEG.

Resizing, mask clean-up and cropping are the runtime's own functions: a network is trained on what it will see in use.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge_infer.geometry import Box
from edge_infer.rules import RoiRule
from edge_infer.steps.crop import crop_roi, lesion_box, roi_box
from edge_infer.steps.mask import largest_region, restore_mask
from edge_infer.steps.resize import resize
from trainer.data.ham10000 import Record, check_framing, read_image, read_mask
from trainer.data.outline import OpenOutliner, no_mask, whole
from trainer.errors import DataError

CACHE_FOLDER = Path("cache")

Layout = dict[str, tuple[tuple[int, ...], type[np.generic]]]
"""Arrays of a cache: name to one row's shape and dtype."""

_TRIES = 3
_VANISHING = {errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY}
"""The last: another process's cache stood in the way of a rename, and was gone when it was looked at."""

_LAYOUT = 1  # raise when what is stored changes


@dataclass(frozen=True)
class CachedArrays:
    """Decoded pictures in the order of the records they were asked for; memory-mapped, read-only.

    Attributes:
        images: RGB uint8, shape (n, size, size, 3).
        masks: uint8 0/1, shape (n, size, size); None for crops.
        frames: float32, shape (n, 4): x0, y0, x1, y1 of the crop that the serving rule takes, as fractions of the
            cached crop's side (0, 0, 1, 1 where both rules agree); None for whole pictures.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8] | None
    frames: NDArray[np.float32] | None

    def __len__(self) -> int:
        return len(self.images)


def cache_pictures(
    records: Sequence[Record], size: int, folder: Path = CACHE_FOLDER, *, masks: bool = True
) -> CachedArrays:
    """Whole pictures and, unless `masks` is False, their masks, resized to a square (aspect ratio not kept).

    Raises:
        DataError: a file is missing or unreadable.
    """

    def decode(record: Record) -> dict[str, NDArray[np.generic]]:
        picture = read_image(record.image_path)
        image = resize(picture, size, size)
        if not masks:
            return {"images": image}
        mask = read_mask(record.mask_path)
        check_framing(record, picture, mask)
        return {"images": image, "masks": restore_mask(mask, size, size)}

    layout: Layout = {"images": ((size, size, 3), np.uint8)} | ({"masks": ((size, size), np.uint8)} if masks else {})
    key = {"kind": "pictures", "size": size} | ({} if masks else {"masks": False})
    arrays = _cached(records, folder, key, layout, decode)
    return CachedArrays(arrays["images"], arrays.get("masks"), None)


def cache_crops(
    records: Sequence[Record],
    size: int,
    rule: RoiRule,
    *,
    margin: float | None = None,
    outline: OpenOutliner | None = None,
    folder: Path = CACHE_FOLDER,
) -> CachedArrays:
    """Crops around the lesion of the ground-truth mask.

    Args:
        records: pictures to crop.
        size: side of the cached crop in pixels.
        rule: the serving rule; `frames` says where its crop lies.
        margin: margin of the cached crop, at least the rule's; None: the rule's own, which gives exactly the serving
            crop.
        outline: the segmenter that says where the lesion lies in pictures without a mask, see
            `trainer.training.outliners.open_outliner`; where it finds none, the whole picture is the crop.
        folder: where caches are kept.

    Raises:
        DataError: a file is missing, a mask is empty, or a picture has no mask and there is no segmenter to outline it.
    """
    wide = replace(rule, margin=rule.margin if margin is None else margin)
    boxes, outlined_by = _outlined(records, outline, rule, folder)

    def decode(record: Record) -> dict[str, NDArray[np.generic]]:
        image, mask, lesion = _lesion(record, boxes)
        height, width = image.shape[:2]
        if lesion is None:
            outer = inner = roi_box(whole(height, width), height, width, 0.0, rule.outside)
        else:
            outer = roi_box(lesion, height, width, wide.margin, rule.outside)
            inner = roi_box(lesion, height, width, rule.margin, rule.outside)
        columns, rows = outer.x1 - outer.x0, outer.y1 - outer.y0
        frame = [(inner.x0 - outer.x0) / columns, (inner.y0 - outer.y0) / rows]
        frame += [(inner.x1 - outer.x0) / columns, (inner.y1 - outer.y0) / rows]
        return {"images": crop_roi(image, mask, outer, wide, size), "frames": np.array(frame, np.float32)}

    layout: Layout = {"images": ((size, size, 3), np.uint8), "frames": ((4,), np.float32)}
    key = {"kind": "crops", "size": size, "background": rule.background, "margin": rule.margin, "wide": wide.margin}
    key |= {} if rule.outside == "pad" else {"outside": rule.outside}
    key |= {"outlined_by": outlined_by} if outlined_by else {}
    arrays = _cached(records, folder, key, layout, decode)
    return CachedArrays(arrays["images"], None, arrays["frames"])


def _outlined(
    records: Sequence[Record], outline: OpenOutliner | None, rule: RoiRule, folder: Path
) -> tuple[dict[str, Box | None], str]:
    """Boxes of the records without masks, by image id, and the segmenter's key; empty where all have masks."""
    without = [record for record in records if record.mask_path is None]
    if not without:
        return {}, ""
    if outline is None or rule.background == "zero":
        raise DataError(
            f"{without[0].image_id} ({without[0].source}) and {len(without) - 1} others have no mask to crop by.",
            "Name a segmenter in data.outline and keep the background, or choose sources with masks.",
        )
    outliner = outline(folder)
    boxes = outliner.boxes(without)
    return {record.image_id: box for record, box in zip(without, boxes, strict=True)}, outliner.key


def _lesion(record: Record, boxes: dict[str, Box | None]) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Box | None]:
    image = read_image(record.image_path)
    if record.mask_path is None:
        return image, no_mask(*image.shape[:2]), boxes[record.image_id]
    drawn = read_mask(record.mask_path)
    check_framing(record, image, drawn)
    mask = restore_mask(largest_region(drawn), *image.shape[:2])
    lesion = lesion_box(mask)
    if lesion is None:
        raise DataError(f"{record.mask_path} is empty: there is no lesion to crop.", "Remove the picture.")
    return image, mask, lesion


def _cached(
    records: Sequence[Record],
    folder: Path,
    key: dict[str, object],
    layout: Layout,
    decode: Callable[[Record], dict[str, NDArray[np.generic]]],
) -> dict[str, Any]:
    if not records:
        raise DataError("There is no picture to cache.", "Check the split and --limit.")
    home = folder / _key(records, key)
    for _ in range(_TRIES):
        try:
            if not home.is_dir():
                _build(records, home, key, layout, decode)
            return {name: np.load(home / f"{name}.npy", mmap_mode="r") for name in layout}
        except OSError as error:
            if error.errno in _VANISHING:
                continue  # somebody deletes caches: what is mapped already stays, and what is not is made again
            raise DataError(
                f"The cache '{home}' cannot be written: {error.strerror or error}.",
                "Check permissions and free space, or choose another folder.",
            ) from error
    raise DataError(f"The cache '{home}' vanished {_TRIES} times while it was made.", "Choose another folder.")


def _key(records: Sequence[Record], key: dict[str, object]) -> str:
    """Changes with the pictures (ids, sizes, times), the rule, and the library that resizes."""
    digest = hashlib.sha256(json.dumps([_LAYOUT, cv2.__version__, key], sort_keys=True).encode())
    for record in records:
        for path in (record.image_path, record.mask_path) if key.get("masks", True) else (record.image_path,):
            if path is None:
                continue
            if not path.is_file():
                raise DataError(f"{path} is missing.", "Restore the file or remove its row from the metadata.")
            stat = path.stat()
            digest.update(f"{path.name}:{stat.st_size}:{stat.st_mtime_ns};".encode())
    return f"{key['kind']}-{key['size']}-{digest.hexdigest()[:16]}"


def _build(
    records: Sequence[Record],
    home: Path,
    key: dict[str, object],
    layout: Layout,
    decode: Callable[[Record], dict[str, NDArray[np.generic]]],
) -> None:
    draft = home.with_name(f".{home.name}.{os.getpid()}")
    draft.mkdir(parents=True, exist_ok=True)
    try:
        arrays = {
            name: _room(draft / f"{name}.npy", np.dtype(dtype), (len(records), *shape))
            for name, (shape, dtype) in layout.items()
        }
        for row, record in enumerate(tqdm(records, desc=f"decoding to {home}", unit="picture", mininterval=1.0)):
            for name, value in decode(record).items():
                arrays[name][row] = value
        for array in arrays.values():
            array.flush()
        (draft / "cache.json").write_text(json.dumps(key | {"pictures": len(records)}, indent=2), encoding="utf-8")
        try:
            draft.rename(home)
        except OSError:
            if not home.is_dir():  # otherwise another process has finished the same cache first
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _room(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    """A new array on disk whose space is taken: a disk that fills up later would kill the process that writes to it."""
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    return array
