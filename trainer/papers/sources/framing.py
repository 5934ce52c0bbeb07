"""What the framing alone tells: how well the lesion's share of the picture ranks melanoma, without a look at it.

A crop that is padded shows this share as the width of its border, one that is clipped as a stretched lesion. Where it
tells melanoma in the sources that teach, a network may lean on it, and clinics that frame otherwise pay for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from edge_infer.rules import Metric, Outside
from edge_infer.steps.crop import lesion_box, roi_box
from trainer.data.ham10000 import Record, read_mask
from trainer.errors import DataError
from trainer.papers.sources.arms import BASE
from trainer.papers.sources.rows import read_arms, read_scores, stem_of
from trainer.papers.sources.table import difference, signed
from trainer.report.markdown import markdown_table
from trainer.scoring.alone import Scores, figures
from trainer.scoring.columns import SUFFIX
from trainer.scoring.metrics import Measure, lesion_weights, mean_of, ranking_measures, show, with_intervals

MELANOMA = "mel"
_RULES: tuple[Outside, Outside] = ("pad", "clip")
HEAD = (
    "Made by `python -m trainer framing`. Pictures of `train` and `val` with masks; no `test` was read. The crop is a "
    "square of the lesion's longer side and a margin of {margin:.0%} on each side. In brackets: 95 % interval, "
    "bootstrapped by lesion."
)


@dataclass(frozen=True)
class Framing:
    """How a lesion lies in its picture.

    Attributes:
        share: lesion pixels over all pixels, 0..1.
        outside: share of the crop's square that lies outside the picture, 0..1.
    """

    share: float
    outside: float


def framing_of(record: Record, margin: float) -> Framing | None:
    """From the true mask; None where it is missing or empty.

    Args:
        record: the picture.
        margin: of the crop, see `edge_infer.steps.crop.roi_box`.

    Raises:
        DataError: the mask's file is missing or damaged.
    """
    if record.mask_path is None:
        return None
    mask = read_mask(record.mask_path)
    box = lesion_box(mask)
    if box is None:
        return None
    height, width = mask.shape
    square, inside = (roi_box(box, height, width, margin, outside) for outside in _RULES)
    area, seen = ((b.x1 - b.x0) * (b.y1 - b.y0) for b in (square, inside))
    return Framing(float(mask.mean()), 1 - seen / area)


def framings(records: Sequence[Record], margin: float) -> dict[str, Framing]:
    """By picture; those without a mask are left out."""
    bar = tqdm(records, desc="framing", unit="picture")
    found = ((record.image_id, framing_of(record, margin)) for record in bar)
    return {image: framing for image, framing in found if framing is not None}


def alone(records: Iterable[Record], known: Mapping[str, Framing]) -> dict[str, dict[str, Metric]]:
    """By source: AUC of melanoma of each measure of the framing, and how many crops leave the picture."""
    by_source: dict[str, list[Record]] = {}
    for record in records:
        if record.image_id in known:
            by_source.setdefault(record.source, []).append(record)
    return {source: _alone(own, known) for source, own in by_source.items()}


def _alone(records: Sequence[Record], known: Mapping[str, Framing]) -> dict[str, Metric]:
    positive = np.array([record.dx == MELANOMA for record in records])
    outside = np.array([known[record.image_id].outside for record in records])
    share = np.array([known[record.image_id].share for record in records])
    measures: dict[str, Measure] = {
        "AUC of the lesion's share": ranking_measures(share, positive)["auc"],
        "AUC of the crop's share outside": ranking_measures(outside, positive)["auc"],
        "crops that leave the picture": mean_of(outside > 0),
        "melanoma among these": mean_of(positive, outside > 0),
        "melanoma among the others": mean_of(positive, outside == 0),
    }
    return with_intervals(measures, lesion_weights([record.lesion_id for record in records]))


GROUPS = ("crop inside the picture", "crop leaves the picture", "no mask")


def group_of(image_id: str, known: Mapping[str, Framing]) -> str:
    """Which of `GROUPS` a picture belongs to."""
    if image_id not in known:
        return GROUPS[2]
    return GROUPS[int(known[image_id].outside > 0)]


def arms_by_group(folder: Path, known: Mapping[str, Framing]) -> list[list[str]]:
    """A row for each stored training: AUC on the source left out, group by group, and what it gains on the base.

    Args:
        folder: of `compare-sources`, with a source left out.
        known: framings of that source's pictures.

    Raises:
        DataError: the folder has no such trainings.
    """
    rows = read_arms(folder)
    if not rows or not rows[0].left_out:
        raise DataError(f"'{folder}' has no arms with a source left out.", "Make them with `trainer compare-sources`.")
    source = rows[0].left_out
    scores = {(row.name, row.seed): read_scores(folder / f"{stem_of(row.name, row.seed)}{SUFFIX}") for row in rows}
    table = []
    for (name, seed), own in scores.items():
        cells = [source, name, str(seed)]
        for group in GROUPS:
            among = [
                place
                for place, record in enumerate(own.records)
                if record.source == source and group_of(record.image_id, known) == group
            ]
            chosen = _rows(own, among)
            cells.append(show(figures(chosen)[source].get("auc")) if among else "-")
            if among and name != BASE and (BASE, seed) in scores:
                gain = difference(chosen, _rows(scores[BASE, seed], among))[source].get("auc")
                cells[-1] += f"; {signed(gain)}"
        table.append(cells)
    return table


def to_markdown(records: Sequence[Record], known: Mapping[str, Framing], margin: float, folders: Sequence[Path]) -> str:
    """The page.

    Args:
        records: pictures of `train` and `val`.
        known: their framings.
        margin: of the crop.
        folders: of arms with a source left out; may be none.
    """
    found = alone(records, known)
    names = list(dict.fromkeys(name for own in found.values() for name in own))
    parts = [
        "# What the framing alone tells\n",
        HEAD.format(margin=margin) + "\n",
        markdown_table(
            ["source", *names], [[source, *(show(own.get(name)) for name in names)] for source, own in found.items()]
        ),
    ]
    if folders:
        cells = [row for folder in folders for row in arms_by_group(folder, known)]
        parts += [
            "## Where a rule of the crop gains\n",
            "AUC of melanoma on the source that was left out, and after the semicolon the difference to the base of "
            "the same seed, on the same pictures, in bold where its interval leaves out zero.\n",
            markdown_table(["left out", "arm", "seed", *GROUPS], cells),
        ]
    return "\n".join(parts)


def _rows(scores: Scores, rows: Sequence[int]) -> Scores:
    return Scores(tuple(scores.records[row] for row in rows), scores.classes, scores.probabilities[list(rows)], None)
