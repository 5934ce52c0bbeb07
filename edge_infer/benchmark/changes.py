"""What a new bundle changes: two bundles diagnose the same pictures in turn, and every difference is counted.

`python -m trainer compare-bundles` reports it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_infer.diagnoser import Diagnoser
from edge_infer.diagnosis import MELANOMA, NOT_MELANOMA, Diagnosis
from edge_infer.errors import ImageDecodeError, ImageError, ImageNotFoundError

FOUND, LOST = f"{NOT_MELANOMA} -> {MELANOMA}", f"{MELANOMA} -> {NOT_MELANOMA}"


@dataclass(frozen=True)
class Side:
    """One of the two bundles: which it is, what ran it, and the median of its milliseconds a picture."""

    name: str
    version: str
    sha256: str
    provider: str
    variant: str
    operating_point: str
    threshold: float
    median_ms: float


@dataclass(frozen=True)
class Distribution:
    """Of one value a picture: how many pictures, mean, least, quantiles, most."""

    pictures: int
    mean: float
    least: float
    p5: float
    median: float
    p95: float
    p99: float
    most: float


@dataclass(frozen=True)
class Changes:
    """What changes from the old bundle to the new one.

    Attributes:
        old, new: the bundles.
        pictures: how many both could read.
        unreadable: paths of the others.
        decided: pictures that both decided.
        flips: how many of these are decided otherwise, by direction (`FOUND`, `LOST`).
        flips_of_melanoma: those of `flips` that show melanoma by their label; None without labels.
        flipped: paths of the pictures that are decided otherwise.
        refused_by: refusals of the old and of the new bundle.
        appeared, disappeared: by reason, pictures that only the new or only the old bundle refuses.
        reasons_changed: of the pictures that both refuse, those with another reason, as "old -> new".
        shift: |Δ| of the melanoma probability, where both give one; None where there is no such picture.
        mean_shift: its mean with sign, new minus old.
        outline: overlap (intersection over union) of both outlines, where both find a lesion.
        outlines_gained, outlines_lost: pictures in which only the new or only the old bundle finds a lesion.
        speed: median over the pictures of the old bundle's time over the new one's: above 1 the new one is faster.
    """

    old: Side
    new: Side
    pictures: int
    unreadable: tuple[str, ...]
    decided: int
    flips: dict[str, int]
    flips_of_melanoma: dict[str, int] | None
    flipped: tuple[str, ...]
    refused_by: tuple[int, int]
    appeared: dict[str, int]
    disappeared: dict[str, int]
    reasons_changed: dict[str, int]
    shift: Distribution | None
    mean_shift: float | None
    outline: Distribution | None
    outlines_gained: int
    outlines_lost: int
    speed: float


@dataclass(frozen=True)
class Pair:
    """Both answers to one picture, with the milliseconds that each took."""

    source: str
    old: Diagnosis
    new: Diagnosis
    old_ms: float
    new_ms: float


def compare_bundles(
    old: Diagnoser, new: Diagnoser, pictures: Iterable[Path], melanoma: Mapping[Path, bool] | None = None
) -> Changes:
    """Diagnoses every picture with both bundles in turn, and counts what differs.

    Which bundle goes first alternates, so that a machine that slows down or has read the file before favours neither.

    Args:
        old: the bundle before.
        new: the bundle after.
        pictures: files.
        melanoma: what the pictures show, where that is known.

    Raises:
        ImageError: there is no picture, or none can be read.
        EngineError: an engine failed.
    """
    pairs: list[Pair] = []
    unreadable: list[str] = []
    for picture in pictures:
        if not pairs:
            old.warmup()
            new.warmup()
        try:
            pairs.append(_pair(old, new, picture, len(pairs) % 2 == 1))
        except ImageError:
            unreadable.append(str(picture))
    if not pairs and unreadable:
        raise ImageDecodeError(f"None of {len(unreadable)} pictures can be read.", "Give pictures of a known format.")
    if not pairs:
        raise ImageNotFoundError("There are no pictures to compare on.", "Give a folder of pictures, or a data set.")
    labels = None if melanoma is None else {str(path): shows for path, shows in melanoma.items()}
    return tally(
        pairs,
        _side(old, [pair.old_ms for pair in pairs]),
        _side(new, [pair.new_ms for pair in pairs]),
        unreadable,
        labels,
    )


def tally(
    pairs: Sequence[Pair],
    old: Side,
    new: Side,
    unreadable: Sequence[str] = (),
    melanoma: Mapping[str, bool] | None = None,
) -> Changes:
    """Counts the differences of answers that are there; at least one."""
    flips = {
        pair.source: f"{pair.old.label} -> {pair.new.label}"
        for pair in pairs
        if pair.old.label and pair.new.label and pair.old.label != pair.new.label
    }
    counted = Counter(flips.values())
    ill = None if melanoma is None else Counter(way for source, way in flips.items() if melanoma.get(source))
    reasons = [(_reason(pair.old), _reason(pair.new)) for pair in pairs]
    shifts = [
        pair.new.melanoma_probability - pair.old.melanoma_probability
        for pair in pairs
        if pair.old.melanoma_probability is not None and pair.new.melanoma_probability is not None
    ]
    masks = [(pair.old.mask, pair.new.mask) for pair in pairs]
    overlaps = [overlap(before, after) for before, after in masks if before is not None and after is not None]
    return Changes(
        old=old,
        new=new,
        pictures=len(pairs),
        unreadable=tuple(unreadable),
        decided=sum(bool(pair.old.label and pair.new.label) for pair in pairs),
        flips={way: counted[way] for way in (FOUND, LOST)},
        flips_of_melanoma=None if ill is None else {way: ill[way] for way in (FOUND, LOST)},
        flipped=tuple(flips),
        refused_by=(sum(bool(before) for before, _ in reasons), sum(bool(after) for _, after in reasons)),
        appeared=_sorted(after for before, after in reasons if after and not before),
        disappeared=_sorted(before for before, after in reasons if before and not after),
        reasons_changed=_sorted(
            f"{before} -> {after}" for before, after in reasons if before and after != before and after
        ),
        shift=distribution(np.abs(shifts)),
        mean_shift=float(np.mean(shifts)) if shifts else None,
        outline=distribution(np.array(overlaps)),
        outlines_gained=sum(before is None and after is not None for before, after in masks),
        outlines_lost=sum(before is not None and after is None for before, after in masks),
        speed=float(np.median([pair.old_ms / pair.new_ms for pair in pairs])),
    )


def distribution(values: NDArray[np.float64]) -> Distribution | None:
    """Of values, shape (n,); None where there are none."""
    if not len(values):
        return None
    least, low, middle, high, higher, most = np.percentile(values, (0, 5, 50, 95, 99, 100))
    numbers = (values.mean(), least, low, middle, high, higher, most)
    return Distribution(len(values), *map(float, numbers))


def overlap(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Intersection over union of two 0/1 masks of one size; 1 where both are empty."""
    union = int(np.logical_or(a, b).sum())
    return int(np.logical_and(a, b).sum()) / union if union else 1.0


def to_markdown(changes: Changes) -> str:
    """The differences as tables."""
    c = changes
    flips = sum(c.flips.values())
    lines = [
        f"# {_title(c.old)} to {_title(c.new)}",
        "",
        f"{c.pictures} pictures, each diagnosed by both in turn."
        + (f" {len(c.unreadable)} more could not be read." if c.unreadable else ""),
        "",
        "| | old | new |",
        "| --- | --- | --- |",
        *(
            f"| {word} | {before} | {after} |"
            for word, before, after in (
                ("bundle", _title(c.old), _title(c.new)),
                ("manifest SHA-256", c.old.sha256[:12], c.new.sha256[:12]),
                ("runs on", f"{c.old.provider}, {c.old.variant}", f"{c.new.provider}, {c.new.variant}"),
                (
                    "operating point",
                    f"{c.old.operating_point}, {c.old.threshold:.4f}",
                    f"{c.new.operating_point}, {c.new.threshold:.4f}",
                ),
                ("without an answer", _share(c.refused_by[0], c.pictures), _share(c.refused_by[1], c.pictures)),
                ("median time a picture", f"{c.old.median_ms:.1f} ms", f"{c.new.median_ms:.1f} ms"),
            )
        ),
        "",
        "| what changes | |",
        "| --- | --- |",
        f"| decided otherwise, of {c.decided} that both decide | {_share(flips, c.decided)} |",
    ]
    for way, count in c.flips.items():
        known = "" if c.flips_of_melanoma is None else f", {c.flips_of_melanoma[way]} of them melanoma by label"
        lines.append(f"| {way} | {count}{known} |")
    for word, counts in (
        ("refused anew", c.appeared),
        ("no longer refused", c.disappeared),
        ("refused for another reason", c.reasons_changed),
    ):
        lines.append(f"| {word} | {_share(sum(counts.values()), c.pictures)} |")
        lines += [f"| {word}: {reason} | {count} |" for reason, count in counts.items()]
    if c.shift is not None and c.mean_shift is not None:
        s = c.shift
        lines += [
            f"| probability of melanoma, mean change ({s.pictures} pictures) | {c.mean_shift:+.4f} |",
            f"| its size: mean; median, 95 %, 99 %; largest | {s.mean:.4f}; {s.median:.4f}, {s.p95:.4f}, {s.p99:.4f}; "
            f"{s.most:.4f} |",
        ]
    if c.outline is not None:
        o = c.outline
        lines.append(
            f"| outline, IoU of both ({o.pictures} pictures): mean; median, lowest 5 %; least | {o.mean:.4f}; "
            f"{o.median:.4f}, {o.p5:.4f}; {o.least:.4f} |"
        )
    lines += [
        f"| lesion found only by the new one; only by the old one | {c.outlines_gained}; {c.outlines_lost} |",
        f"| speed, old time over new time, median of pairs | {c.speed:.2f} |",
    ]
    if c.flipped:
        lines += ["", "Decided otherwise:", "", *(f"- {source}" for source in c.flipped)]
    return "\n".join(lines) + "\n"


def _pair(old: Diagnoser, new: Diagnoser, picture: Path, new_first: bool) -> Pair:
    def timed(diagnoser: Diagnoser) -> tuple[Diagnosis, float]:
        start = time.perf_counter()
        diagnosis = diagnoser.diagnose(picture)
        return diagnosis, (time.perf_counter() - start) * 1000

    if new_first:
        (after, after_ms), (before, before_ms) = timed(new), timed(old)
    else:
        (before, before_ms), (after, after_ms) = timed(old), timed(new)
    return Pair(str(picture), before, after, before_ms, after_ms)


def _side(diagnoser: Diagnoser, times: Sequence[float]) -> Side:
    manifest = diagnoser.manifest
    point = manifest.operating_point()
    return Side(
        manifest.name,
        manifest.version,
        diagnoser.bundle.sha256,
        diagnoser.provider,
        diagnoser.variant,
        point.name,
        point.threshold,
        float(np.median(times)),
    )


def _reason(diagnosis: Diagnosis) -> str:
    """Why a picture has no decision; empty where it has one."""
    return diagnosis.reason.value if diagnosis.reason else ""


def _sorted(reasons: Iterable[str]) -> dict[str, int]:
    """How often each, the most frequent first."""
    return dict(sorted(Counter(reasons).items(), key=lambda entry: (-entry[1], entry[0])))


def _title(side: Side) -> str:
    return f"{side.name} {side.version}"


def _share(count: int, total: int) -> str:
    return f"{count} ({count / total:.1%})" if total else f"{count}"
