"""What `edge-infer compare` says of two pictures of an unchanged lesion, and whether it refuses two different ones."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edge_infer import Diagnoser
from edge_infer.compare.changes import Comparison, compare
from edge_infer.errors import NotComparableError
from trainer.data.ham10000 import Record, read_image

Pair = tuple[Record, Record]


@dataclass(frozen=True)
class Repeats:
    """Comparisons of pairs that had one.

    Attributes:
        pairs: how many were given.
        found: those that could be compared.
        refused: the others, by the first words of the reason.
    """

    pairs: int
    found: tuple[Comparison, ...]
    refused: Counter[str]


def pairs_of(records: Sequence[Record]) -> tuple[list[Pair], list[Pair]]:
    """Of each lesion with several pictures the first two; and its first picture with the next such lesion's first."""
    lesions: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        lesions[record.lesion_id].append(record)
    several = [pictures for pictures in lesions.values() if len(pictures) > 1]
    same = [(pictures[0], pictures[1]) for pictures in several]
    return same, [(a[0], b[0]) for a, b in itertools.pairwise(several)]


def compare_pairs(pairs: Sequence[Pair], diagnoser: Diagnoser, done: Callable[[], object] = lambda: None) -> Repeats:
    """Compares each pair; the diagnoser must measure."""
    found, refused = [], Counter[str]()
    for pair in pairs:
        first, second = (read_image(record.image_path) for record in pair)
        try:
            found.append(compare(diagnoser.diagnose(first), diagnoser.diagnose(second), (first, second)))
        except NotComparableError as error:
            refused["cannot be aligned" if "aligned" in error.message else "a picture has no answer"] += 1
        done()
    return Repeats(len(pairs), tuple(found), refused)


def repeats_table(same: Repeats, other: Repeats) -> str:
    """Both as Markdown: what was refused, and how far the numbers of one lesion lie apart."""
    lines = ["| pairs | compared | cannot be aligned | a picture has no answer |", "| --- | --- | --- | --- |"]
    for name, repeats in (("two pictures of one lesion", same), ("pictures of two lesions", other)):
        counts = (repeats.refused["cannot be aligned"], repeats.refused["a picture has no answer"])
        lines.append(f"| {name}: {repeats.pairs} | {len(repeats.found)} | {counts[0]} | {counts[1]} |")
    lines += ["", "| size of the change, one lesion | half of the pairs within | 90 % within |", "| --- | --- | --- |"]
    measured = {
        "area, aligned (factor)": [max(c.area_ratio, 1 / c.area_ratio) for c in same.found],
        "melanoma probability": [abs(c.probability) for c in same.found],
        "outlines not shared": [1 - c.outline_overlap for c in same.found],
    }
    for name in ("asymmetry_major", "asymmetry_minor", "compactness", "colour_count"):
        measured[f"`{name}`"] = [abs(c.changes[name]) for c in same.found if name in c.changes]
    for name, values in measured.items():
        if values:
            lines.append(f"| {name} | {np.median(values):.2f} | {np.percentile(values, 90):.2f} |")
    return "\n".join(lines) + "\n"
