"""What the comparisons teach: sentences whose wording follows from paired differences between stored rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_infer.rules import Metric
from trainer.papers.against_base import signed
from trainer.papers.costs import cost_of, read_costs
from trainer.papers.measures import figures_by_name, mean_difference
from trainer.papers.plans import Table
from trainer.papers.rows import Row, View, external_file, read_rows, stem_of
from trainer.report.markdown import markdown_table
from trainer.scoring.metrics import lesion_weights, show, with_interval
from trainer.scoring.predictions import Prediction, read_predictions

HOW = (
    "Every sentence is written by `python -m trainer results` from rows that were trained for the same number of "
    "core-minutes, and takes its verb from the interval: both networks of a pair answer the same `test` pictures, and "
    "in brackets stands the 95 % interval of the difference, bootstrapped by lesion. It holds what other lesions would "
    "change and not what another training would: one seed stands behind each row. A mean is over the networks named, "
    "not over all there could be."
)
_SCRATCH = "-scratch"


@dataclass(frozen=True)
class _Side:
    """A row with its predictions."""

    row: Row
    predictions: list[Prediction]


@dataclass(frozen=True)
class Pair:
    """Two rows that differ in one thing: `first` has it, `second` has not."""

    first: _Side
    second: _Side

    def difference(self, name: str, positive: str) -> Metric | None:
        """Paired, first minus second."""
        return mean_difference([(self.first.predictions, self.second.predictions)], name, positive)


class Rows:
    """The rows of all comparisons that were fitted to a budget, by table, name and view.

    Args:
        folder: of the comparisons.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: dict[tuple[Table, str, View], Row] = {}
        for home in sorted(path for path in folder.iterdir() if path.is_dir()):
            for row in read_rows(home):
                if row.pace and not row.leaks:
                    self.known[row.table, row.name, row.view] = row  # type: ignore[index]

    def side(self, table: Table, name: str, view: View) -> _Side | None:
        """One row with its predictions; None where it is not there."""
        row = self.known.get((table, name, view))
        return None if row is None else _Side(row, read_predictions(self.folder / table / row.predictions))

    def pair(self, table: Table, first: tuple[str, View], second: tuple[str, View]) -> Pair | None:
        """Two rows of one table; None where one is missing."""
        sides = self.side(table, *first), self.side(table, *second)
        return None if sides[0] is None or sides[1] is None else Pair(sides[0], sides[1])

    def elsewhere(self, row: Row, source: str) -> list[Prediction]:
        """A row's predictions on another source."""
        return read_predictions(self.folder / row.table / external_file(stem_of(row.name, row.view), source))


def lessons(folder: Path) -> str:
    """The page's part that follows from the rows.

    Args:
        folder: of the comparisons.

    Raises:
        DataError: a row or its predictions cannot be read.
    """
    rows = Rows(folder)
    parts: list[str] = []
    waiting: list[str] = []
    for title, lesson in _LESSONS.items():
        found = lesson(rows)
        if found is None:
            waiting.append(title)
        else:
            parts += [f"## {title}\n", found]
    if waiting:
        parts.append(f"Not answered yet, since rows are missing: {'; '.join(waiting)}.\n")
    return "\n".join(parts)


def _pretraining(rows: Rows) -> str | None:
    """ImageNet weights against random ones, network by network."""
    pairs = [
        pair
        for table, name, view in sorted(rows.known)
        if name.endswith(_SCRATCH) and view in ("truth", "picture")
        if (pair := rows.pair(table, (name.removesuffix(_SCRATCH), view), (name, view))) is not None
    ]
    sentences, tables = [], []
    for positive, figure, words in (("mel", "auc", "AUC of melanoma"), ("", "dice", "Dice")):
        these = [pair for pair in pairs if pair.first.row.positive == positive]
        if not these:
            continue
        mean = mean_difference([_predictions(pair) for pair in these], figure, positive)
        many = f"in the mean over {len(these)} networks" if len(these) > 1 else f"of {these[0].first.row.name}"
        sentences.append(
            f"Starting from ImageNet weights and not from random ones {_verb(mean)} {words}, {many}: {_by(mean)}."
        )
        tables.append(_table(these, figure, positive, words, "ImageNet", "random"))
    return _said(sentences, tables) if sentences else None


def _elsewhere(rows: Rows) -> str | None:
    """Every row at home and where it never learnt."""
    sentences, tables = [], []
    for positive, figure, words in (("mel", "auc", "AUC of melanoma"), ("", "dice", "Dice")):
        home = [
            row
            for (_, _, view), row in sorted(rows.known.items())
            if row.positive == positive and view != "predicted" and row.external
        ]
        for source in sorted({name for row in home for name in row.external}):
            these = list({row.name: row for row in home if source in row.external}.values())
            own = [_curve(_own(rows, row), figure, positive) for row in these]
            away = [_curve(rows.elsewhere(row, source), figure, positive) for row in these]
            first, second = _mean(own), _mean(away)
            if first is None or second is None:
                continue
            low, high = _ordered(first, second)
            sentences.append(
                f"Averaged over {len(these)} networks, {words} is {show(first)} on {these[0].data}, where they "
                f"learnt, and {show(second)} on {source}, where none did"
                + (": the intervals do not meet." if high < low else ", and the intervals overlap.")
            )
            if len(these) > 2:
                order = [np.argsort(np.argsort([values.point for values in side])) for side in (own, away)]
                agree = float(np.corrcoef(order[0], order[1])[0, 1])
                sentences.append(f"The rank correlation between both orders of these networks is {agree:.2f}.")
            tables.append(
                markdown_table(
                    ["row", f"{words}, {these[0].data}", f"{words}, {source}"],
                    [
                        [row.name, show(a.metric), show(b.metric)]
                        for row, a, b in sorted(zip(these, own, away, strict=True), key=lambda item: -item[1].point)
                    ],
                )
            )
    return _said(sentences, tables) if sentences else None


def _cheap(rows: Rows) -> str | None:
    """The light segmenter against the published one."""
    small, large = ("unet-mobilenet-v2", "picture"), ("reference-segmenter", "picture")
    pair = rows.pair("segmenters", small, large)  # type: ignore[arg-type]
    costs = read_costs(rows.folder)
    if pair is None or costs is None:
        return None
    found = [cost_of(side.row, costs) for side in (pair.first, pair.second)]
    if found[0] is None or found[1] is None:
        return None
    light, heavy = found[0], found[1]
    difference = pair.difference("dice", "")
    sizes = [side.row.compute.size for side in (pair.first, pair.second) if side.row.compute]
    sentence = (
        f"In equal core-minutes the U-Net with a MobileNetV2 encoder ({light.gflops:.2f} GFLOP at {sizes[0]} pixels, "
        f"{light.milliseconds:.0f} ms) {_compared(difference)} U-Net++ ({heavy.gflops:.1f} GFLOP at {sizes[1]} pixels, "
        f"{heavy.milliseconds:.0f} ms) in Dice: {_by(difference)}."
    )
    return _said([sentence], [_table([pair], "dice", "", "Dice", small[0], large[0])])


def _region(rows: Rows) -> str | None:
    """The crop with its skin, the crop without, the whole picture."""
    sentences, tables = [], []
    for first, second, words, names in (
        (
            ("resnet50-binary-keep", "truth"),
            ("resnet50-binary-whole", "whole"),
            "Cropping to the lesion",
            "crop, picture",
        ),
        (
            ("resnet50-binary", "truth"),
            ("resnet50-binary-keep", "truth"),
            "Blackening the skin around the lesion",
            "zeroed, kept",
        ),
    ):
        pair = rows.pair("roi", first, second)  # type: ignore[arg-type]
        if pair is None:
            return None
        difference = pair.difference("auc", "mel")
        sentences.append(f"{words} {_verb(difference)} ResNet50's AUC of melanoma: {_by(difference)}.")
        tables.append(_table([pair], "auc", "mel", "AUC of melanoma", *names.split(", ")))
    return _said(sentences, tables)


def _metadata(rows: Rows) -> str | None:
    """Age, sex and site beside the picture."""
    pair = rows.pair("metadata", ("metadata-fusion", "truth"), ("metadata-fusion-image-alone", "truth"))
    if pair is None:
        return None
    found = [(words, pair.difference(name, "mel")) for name, words in _NAMED.items()]
    parts = [
        f"{_verb(difference, 'raise', 'lower', 'do not surely change')} {words} ({_by(difference)})"
        for words, difference in found
    ]
    sentence = f"Age, sex and site beside the picture {' and '.join(parts)}."
    return _said([sentence], [_table([pair], "auc", "mel", "AUC of melanoma", "with metadata", "without")])


def _outlines(rows: Rows) -> str | None:
    """Crops of the segmenter against true ones."""
    pairs = [
        pair
        for table, name, view in sorted(rows.known)
        if table == "classifiers" and view == "predicted"
        if (pair := rows.pair("classifiers", (name, "predicted"), (name, "truth"))) is not None
    ]
    if not pairs:
        return None
    mean = mean_difference([_predictions(pair) for pair in pairs], "auc", "mel")
    segmenter = pairs[0].first.row.roi_from
    sentence = (
        f"Cropping by the outlines of {segmenter} and not by people's {_verb(mean)} AUC of melanoma in the mean over "
        f"{len(pairs)} networks: {_by(mean)}."
    )
    return _said([sentence], [_table(pairs, "auc", "mel", "AUC of melanoma", "predicted crop", "true crop")])


def _branches(rows: Rows) -> str | None:
    """CLNet against each of its branches alone."""
    joint = "clnet-melanoma"
    classes = rows.pair("branches", (joint, "picture"), (f"{joint}-classifier", "whole"))
    masks = rows.pair("branches", (joint, "picture"), ("clnet-segmenter", "picture"))
    if classes is None or masks is None:
        return None
    auc, dice = classes.difference("auc", "mel"), masks.difference("dice", "")
    sentence = (
        f"Joining both tasks in CLNet {_verb(auc)} AUC of melanoma over the classifying branch alone ({_by(auc)}) and "
        f"{_verb(dice)} Dice over the segmenting branch alone ({_by(dice)})."
    )
    tables = [
        _table([classes], "auc", "mel", "AUC of melanoma", "joined", "alone"),
        _table([masks], "dice", "", "Dice", "joined", "alone"),
    ]
    return _said([sentence], tables)


_NAMED = {"auc": "AUC of melanoma", "class_balanced_accuracy": "balanced accuracy over seven diagnoses"}
_LESSONS: dict[str, Callable[[Rows], str | None]] = {
    "Where a network starts from": _pretraining,
    "What survives a change of clinic": _elsewhere,
    "What a large segmenter buys": _cheap,
    "What the crop is worth": _region,
    "What age, sex and site are worth": _metadata,
    "What the outline costs the answer": _outlines,
    "Whether two tasks help each other": _branches,
}


@dataclass(frozen=True)
class _Values:
    """A figure and its resamples."""

    point: float
    metric: Metric | None
    measure: Callable[..., np.ndarray]
    lesions: list[str]


def _own(rows: Rows, row: Row) -> list[Prediction]:
    return read_predictions(rows.folder / row.table / row.predictions)


def _curve(found: Sequence[Prediction], figure: str, positive: str) -> _Values:
    answered = [p for p in found if p.probabilities] if positive else list(found)
    measure = figures_by_name(answered, positive)[figure]
    lesions = [p.lesion_id for p in answered]
    metric = with_interval(measure, lesion_weights(lesions))
    return _Values(float("nan") if metric is None else metric.value, metric, measure, lesions)


def _mean(values: Sequence[_Values]) -> Metric | None:
    """Over networks, the same lesions drawn for all."""
    if len({len(one.lesions) for one in values}) != 1:
        return None
    weights = lesion_weights(values[0].lesions)
    return with_interval(lambda drawn: np.mean([one.measure(drawn) for one in values], axis=0), weights)


def _ordered(first: Metric, second: Metric) -> tuple[float, float]:
    """The upper one's lower end and the lower one's upper end."""
    upper, lower = (first, second) if first.value >= second.value else (second, first)
    return upper.low or upper.value, lower.high or lower.value


def _predictions(pair: Pair) -> tuple[list[Prediction], list[Prediction]]:
    return pair.first.predictions, pair.second.predictions


def _table(pairs: Sequence[Pair], figure: str, positive: str, words: str, first: str, second: str) -> str:
    lines = []
    for pair in pairs:
        sides = [_curve(side.predictions, figure, positive).metric for side in (pair.first, pair.second)]
        lines.append([pair.first.row.name, *map(show, sides), signed(pair.difference(figure, positive))])
    return markdown_table(["row", f"{words}, {first}", f"{words}, {second}", "difference"], lines)


def _said(sentences: Sequence[str], tables: Sequence[str]) -> str:
    return "\n".join([f"**{' '.join(sentences)}**\n", *tables])


def _verb(
    difference: Metric | None, up: str = "raises", down: str = "lowers", level: str = "does not surely change"
) -> str:
    if difference is None or difference.low is None or difference.high is None:
        return level
    return up if difference.low > 0 else down if difference.high < 0 else level


def _compared(difference: Metric | None) -> str:
    return _verb(difference, "beats", "stays behind", "cannot be told from")


def _by(difference: Metric | None) -> str:
    if difference is None:
        return "not known"
    text = f"{difference.value:+.3f}"
    if difference.low is None or difference.high is None:
        return text
    return f"{text}, {difference.low:+.3f} to {difference.high:+.3f}"
