"""Features of a segmenter's encoder over pictures that it should find familiar and over others, for the fit.

Good pictures come from the training and validation parts of every source, and from changed copies of some of the
training ones; others from `trainer.data.negatives`. No picture of `test` is opened.
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
from trainer.data.ham10000 import Record
from trainer.data.negatives import Use, negatives
from trainer.data.splits import spread, standard_split
from trainer.data.varied import vary
from trainer.errors import DataError
from trainer.models.serving import ServingSegmenter

MOST_OF_A_SOURCE = 1200
"""Training and validation pictures of one source, each at most so many."""
VARIED_EVERY = 3
"""Of so many training pictures one counts a second time, as a changed copy."""

FORMAT = "1"
"""Changes with what is pooled over which pictures; older files are then made again."""

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
_BATCH = 16


class Item(NamedTuple):
    """One picture to pool: the part and the group that it counts for (see `Features`), and how it is read."""

    part: str
    group: str
    read: Callable[[], Picture]


@dataclass(frozen=True, eq=False)
class Features:
    """Pooled features (`trainer.models.familiarity.pool`), one row a picture.

    Attributes:
        values: float32, shape (n, features).
        groups: shape (n,): the source of good pictures; what others show.
        parts: shape (n,): "train", "varied" (changed copies of training pictures) or "val" of good pictures; "fit" or
            "test" of others.
    """

    values: Floats
    groups: NDArray[np.str_]
    parts: NDArray[np.str_]

    @property
    def sources(self) -> list[str]:
        """Of the good pictures, in order of appearance."""
        return list(dict.fromkeys(self.groups[np.isin(self.parts, ("train", "val"))].tolist()))

    def of(self, part: str, group: str | None = None) -> Floats:
        """The rows of a part, of one group alone where that is given."""
        chosen = self.parts == part
        rows: Floats = self.values[chosen if group is None else chosen & (self.groups == group)]
        return rows

    def without(self, source: str) -> Features:
        """All but one source's good pictures."""
        kept = (self.groups != source) | np.isin(self.parts, ("fit", "test"))
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
    return pool_items(segmenter, (*items, *other_items("fit")), side, progress)


def good_items(records: Sequence[Record], limit: int | None = None) -> Iterator[Item]:
    """Training and validation pictures of every source, and changed copies of some training ones."""
    parts = standard_split(records)
    most = MOST_OF_A_SOURCE if limit is None else min(limit, MOST_OF_A_SOURCE)
    for source in dict.fromkeys(record.source for record in records):
        train, val = (spread([r for r in parts[part] if r.source == source], most) for part in ("train", "val"))
        yield from (Item("train", source, _reader(record)) for record in train)
        yield from (
            Item("varied", source, _reader(record, seed))
            for seed, record in enumerate(train)
            if seed % VARIED_EVERY == 0
        )
        yield from (Item("val", source, _reader(record)) for record in val)


def other_items(use: Use) -> Iterator[Item]:
    """Pictures that are no dermoscopy, each with what it shows."""
    return (Item(use, one.what, partial(np.asarray, one.image)) for one in negatives(use))


def pool_items(segmenter: ServingSegmenter, items: Iterable[Item], side: int, progress: bool = True) -> Features:
    """The features of these pictures, in order."""
    queue = iter(tqdm(items, desc="familiarity", unit="img", disable=not progress))
    rows, parts, groups = [], [], []
    while batch := list(islice(queue, _BATCH)):
        small = to_batch([resize(item.read(), side, side) for item in batch])
        with torch.inference_mode():
            rows.append(segmenter.features(torch.from_numpy(small)).numpy())
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


def _reader(record: Record, seed: int | None = None) -> Callable[[], Picture]:
    def read() -> Picture:
        pixels = open_picture(record.image_path).pixels
        return pixels if seed is None else vary(pixels, np.random.default_rng(seed))

    return read
