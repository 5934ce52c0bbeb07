"""Features of a segmenter's encoder over pictures that it should find familiar and over others, for the fit.

Good pictures are changed copies of the training ones of every source, as other cameras, lights and archives would have
kept them, so that no direction of a source's own camera counts as dermoscopy's; and validation pictures as they are.
Others come from `trainer.data.negatives`, as they are and as changed copies too, so that no wear counts as dermoscopy's
either. No picture of `test` is opened.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from edge_infer.files import write_atomically
from edge_infer.steps.image import open_picture
from edge_infer.steps.resize import resize, to_batch
from trainer.data.camera import apply_camera
from trainer.data.ham10000 import Record
from trainer.data.negatives import negatives
from trainer.data.splits import spread, standard_split
from trainer.data.varied import vary
from trainer.errors import DataError
from trainer.models.serving import ServingSegmenter
from trainer.recipe import AugmentConfig

MOST_OF_A_SOURCE = 1200
"""Training and validation pictures of one source, each at most so many."""
CAMERA = AugmentConfig(low_resolution=0.6, blur=0.3, jpeg=0.4, vignette=0.4, temperature=0.15, exposure=0.3)
"""What changed copies suffer, beside another white balance and field of view (`trainer.data.varied`)."""

FORMAT = "3"
"""Changes with what is pooled over which pictures; older files are then made again."""

VARIED = "varied"
OTHERS = ("fit", "fit-varied")
"""Parts of other pictures: as they are, and changed copies of them."""

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
_BATCH = 16


class Item(NamedTuple):
    """One picture to pool: the part and the group that it counts for (see `Features`), and how it is read.

    With a seed it is pooled as a changed copy, which depends on the picture and the seed alone.
    """

    part: str
    group: str
    read: Callable[[], Picture]
    seed: int | None = None


@dataclass(frozen=True, eq=False)
class Features:
    """Pooled features (`trainer.models.familiarity.pool`), one row a picture.

    Attributes:
        values: float32, shape (n, features).
        groups: shape (n,): the source of good pictures; what others show.
        parts: shape (n,): "varied" (changed copies of training pictures), "val", or for a comparison "train" (as they
            are) of good pictures; "fit" and "fit-varied", or "test", of others.
    """

    values: Floats
    groups: NDArray[np.str_]
    parts: NDArray[np.str_]

    @property
    def sources(self) -> list[str]:
        """Of the good pictures, in order of appearance."""
        return list(dict.fromkeys(self.groups[~np.isin(self.parts, (*OTHERS, "test"))].tolist()))

    def of(self, part: str, group: str | None = None) -> Floats:
        """The rows of a part, of one group alone where that is given."""
        chosen = self.parts == part
        rows: Floats = self.values[chosen if group is None else chosen & (self.groups == group)]
        return rows

    def without(self, group: str) -> Features:
        """All but one source's good pictures, or one kind of others."""
        kept = self.groups != group
        return Features(self.values[kept], self.groups[kept], self.parts[kept])


def pool_features(
    segmenter: ServingSegmenter, records: Sequence[Record], side: int, limit: int | None = None, progress: bool = True
) -> Features:
    """Runs the segmenter's encoder over everything that the score is fitted to.

    Args:
        segmenter: as it will be served.
        records: the whole data set; `train` and `val` are used.
        side: of its input in pixels.
        limit: use only so many pictures of each part and source, for a trial.
        progress: shows a bar on stderr.

    Raises:
        DataError: no source has a validation part, or a library that ships photographs is not installed.
        ModelError: the segmenter has no encoder to take features from.
    """
    items = list(good_items(records, limit))
    if not any(item.part == "val" for item in items):
        raise DataError("No source has a validation part.", "The threshold of familiarity is set on one.")
    return pool_items(segmenter, (*items, *other_items()), side, progress)


def good_items(records: Sequence[Record], limit: int | None = None, unchanged: bool = False) -> Iterator[Item]:
    """Changed copies of every source's training pictures and its validation pictures; training ones too, if asked."""
    parts = standard_split(records)
    most = MOST_OF_A_SOURCE if limit is None else min(limit, MOST_OF_A_SOURCE)
    for source in dict.fromkeys(record.source for record in records):
        train, val = (spread([r for r in parts[part] if r.source == source], most) for part in ("train", "val"))
        yield from (Item("train", source, _reader(record)) for record in train if unchanged)
        yield from (Item(VARIED, source, _reader(record), seed) for seed, record in enumerate(train))
        yield from (Item("val", source, _reader(record)) for record in val)


def other_items() -> Iterator[Item]:
    """Pictures that are no dermoscopy, each with what it shows, as they are and as changed copies."""
    plain, changed = OTHERS
    for seed, one in enumerate(negatives("fit")):
        yield Item(plain, one.what, partial(np.asarray, one.image))
        yield Item(changed, one.what, partial(np.asarray, one.image), seed)


def pool_items(segmenter: ServingSegmenter, items: Iterable[Item], side: int, progress: bool = True) -> Features:
    """The features of these pictures, in order."""
    queue = iter(tqdm(items, desc="familiarity", unit="img", disable=not progress))
    rows, parts, groups = [], [], []
    while batch := list(islice(queue, _BATCH)):
        small = torch.cat([_read(item, side) for item in batch])
        with torch.inference_mode():
            rows.append(segmenter.features(small).numpy())
        parts += [item.part for item in batch]
        groups += [item.group for item in batch]
    return Features(np.concatenate(rows), np.array(groups), np.array(parts))


def write_features(path: Path, features: Features) -> None:
    """Writes features as one `.npz` file, at once or not at all."""
    stream = io.BytesIO()
    np.savez(stream, values=features.values, groups=features.groups, parts=features.parts)
    write_atomically(path, stream.getvalue())


def read_features(path: Path) -> Features:
    """Reads what `write_features` wrote.

    Raises:
        DataError: the file is missing or holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Features(arrays["values"], arrays["groups"], arrays["parts"])
    except (OSError, KeyError, ValueError, EOFError) as error:
        raise DataError(
            f"'{path}' holds no features: {error}.", "Make them with `python -m trainer bundle`."
        ) from error


def _read(item: Item, side: int) -> torch.Tensor:
    """The picture as the segmenter takes it, uint8 (1, side, side, 3)."""
    pixels = item.read()
    if item.seed is None:
        return torch.from_numpy(to_batch([resize(pixels, side, side)]))
    pixels = vary(pixels, np.random.default_rng(item.seed))
    image = torch.from_numpy(to_batch([resize(pixels, side, side)])).permute(0, 3, 1, 2) / 255
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(item.seed)
        worn = apply_camera(image, CAMERA)
    return (255 * worn).round().to(torch.uint8).permute(0, 2, 3, 1)


def _reader(record: Record) -> Callable[[], Picture]:
    return lambda: open_picture(record.image_path).pixels
