"""What the comparisons teach: sentences whose wording follows from paired differences between stored rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.papers.clinic import place, survives
from trainer.papers.costs import Cost, cost_of, read_costs
from trainer.papers.measures import mean_difference
from trainer.papers.pairs import Pair, Rows, pair_table, uneven
from trainer.papers.rows import Row, View
from trainer.papers.schedules import architecture, machines, many, paces, span, start_of, trainings
from trainer.papers.wording import finding, listed, opened

_SCRATCH = "-scratch"
_MELANOMA, _DICE = "AUC of melanoma", "Dice"
_FIGURES = (("mel", "auc", _MELANOMA), ("", "dice", _DICE))
"""The class that a figure is about, its name, and its name in words."""


_WHY_MEDIUM = (
    "`medium` is there for its price: an hour a row costs three times as much, and such rows still stop short of their "
    "recipes' epochs. `--budget hour` makes them again. "
)


@dataclass(frozen=True)
class Taught:
    """What rows teach about one figure.

    Attributes:
        sentences: that follow from the rows.
        tables: that they follow from.
        comparisons: paired differences in the tables, any of which may be bold by chance.
    """

    sentences: Sequence[str]
    tables: Sequence[str]
    comparisons: int = 0

    def text(self) -> str:
        """As the page shows it."""
        note = (
            "In bold: differences whose interval leaves out zero, without correction for multiple comparisons; "
            f"{many(self.comparisons, 'comparison')} below.\n"
        )
        return "\n".join([f"**{' '.join(self.sentences)}**\n", *([note] if self.comparisons else []), *self.tables])


def how(rows: Sequence[Row]) -> str:
    """How the sentences are made and what they hold.

    Args:
        rows: that were fitted to a time.
    """
    times = paces(rows)
    same = "the same time" if len(times) == 1 else "one of these times"
    cheap = _WHY_MEDIUM if any(row.pace == "medium" for row in rows) else ""
    return (
        "Every sentence is written by `python -m trainer results` from rows whose schedules were fitted to "
        f"{same} on a shared machine ({'; '.join(times)}), by throughput measured before. They were "
        f"trained on {machines(rows)}; another machine gets through more or less in that time. Epochs and minutes of "
        f"every row stand in the tables, and no pair mixes times. {cheap}Both networks of a pair answer the same "
        "`test` pictures. The wording follows from the 95 % interval of the difference, bootstrapped by lesion, in "
        "brackets. It holds what other lesions would change and not what another training would: one seed stands "
        "behind each row. A mean is over the rows in its table, not over all there could be."
    )


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
        if found:
            parts += [f"## {title}\n", *(taught.text() for taught in found)]
        else:
            waiting.append(title)
    if waiting:
        parts.append(
            f"Not answered yet, since rows are missing or were fitted to different times: {'; '.join(waiting)}.\n"
        )
    return "\n".join(parts)


def _pretraining(rows: Rows) -> list[Taught]:
    """ImageNet weights against random ones, network by network."""
    known = [(table, name, view) for table, name, view in sorted(rows.known) if name.endswith(_SCRATCH)]
    found = [
        rows.pair(table, (name.removesuffix(_SCRATCH), view), (name, view))
        for table, name, view in known
        if view != "predicted"
    ]
    pairs = list({pair.first.name: pair for pair in found if pair is not None}.values())
    taught = []
    for positive, figure, words in _FIGURES:
        these = [pair for pair in pairs if _has(pair.first, positive)]
        if not these:
            continue
        mean = mean_difference([pair.answers for pair in these], figure, positive)
        clause = finding(words, "ImageNet weights", "random ones", mean, _over(these))
        single = [difference.value for pair in these if (difference := pair.difference(figure, positive))]
        ends = f"; single differences are {min(single):+.3f} to {max(single):+.3f}" if len(single) > 1 else ""
        epochs = span(count for pair in these for count in pair.epochs)
        change = "shrink" if mean is not None and (mean.low or 0.0) > 0 else "change"
        sentences = [
            f"{opened(clause)[:-1]}{ends}.",
            *_started_elsewhere(rows, these, positive, figure, words),
            *uneven(these),
            f"This is at a fixed, short schedule ({epochs} epochs); a longer one may {change} it.",
        ]
        taught.append(Taught(sentences, [pair_table(these, figure, positive, words, "ImageNet", "random")], len(these)))
    return taught


def _started_elsewhere(rows: Rows, pairs: Sequence[Pair], positive: str, figure: str, words: str) -> list[str]:
    """The same difference on sources that neither side learnt from."""
    sentences = []
    for source in sorted({name for pair in pairs for name in pair.first.external}):
        sides = rows.pairs_elsewhere(pairs, source)
        if sides:
            mean = mean_difference(sides, figure, positive)
            where = f", in the mean over {many(len(sides), 'pair')}" if len(sides) > 1 else ""
            clause = finding(words, "ImageNet weights", "random ones", mean, where)
            sentences.append(f"On {place(source)} where none learnt, {clause}.")
    return sentences


def _elsewhere(rows: Rows) -> list[Taught]:
    """Every row at home and where it never learnt."""
    sources = sorted({name for row in rows.known.values() for name in row.external})
    found = [survives(rows, source, *figure) for source in sources for figure in _FIGURES]
    return [Taught(sentences, [table]) for sentences, table in filter(None, found)]


def _small(rows: Rows) -> list[Taught]:
    """The U-Net with the small encoder against the published segmenter, from ImageNet and from random weights."""
    light: tuple[str, View] = ("unet-mobilenet-v2", "picture")
    bare: tuple[str, View] = (f"{light[0]}{_SCRATCH}", "picture")
    heavy: tuple[str, View] = ("reference-segmenter", "picture")
    pair, costs = rows.pair("segmenters", light, heavy), read_costs(rows.folder)
    if pair is None or costs is None:
        return []
    small, large = cost_of(pair.first, costs), cost_of(pair.second, costs)
    if small is None or large is None:
        return []
    names = f"the U-Net over MobileNetV2 from {start_of(pair.first)}", f"U-Net++ from {start_of(pair.second)}"
    sentences = [
        f"In one training each, {finding(_DICE, *names, pair.difference('dice', ''))}.",
        f"The first costs {_costing(pair.first, small)}, U-Net++ {_costing(pair.second, large)}.",
        *uneven([pair]),
    ]
    tables = [pair_table([pair], "dice", "", _DICE, light[0], heavy[0])]
    even = rows.pair("segmenters", bare, heavy)
    if even is None:
        if start_of(pair.first) != start_of(pair.second):
            sentences.append(f"This does not separate size from initial weights: the row `{bare[0]}` is not there.")
        return [Taught(sentences, tables, 1)]
    clause = finding(_DICE, "that U-Net", "U-Net++", even.difference("dice", ""))
    sentences += [f"With both from random weights, {clause}.", *uneven([even])]
    tables.append(pair_table([even], "dice", "", _DICE, bare[0], heavy[0]))
    return [Taught(sentences, tables, 2)]


def _region(rows: Rows) -> list[Taught]:
    """The crop with its skin, the crop without, the whole picture."""
    whole: tuple[str, View] = ("resnet50-binary-whole", "whole")
    kept: tuple[str, View] = ("resnet50-binary-keep", "truth")
    zeroed: tuple[str, View] = ("resnet50-binary", "truth")
    crop, skin = rows.pair("roi", kept, whole), rows.pair("roi", zeroed, kept)
    if crop is None or skin is None:
        return []
    taught = []
    for pair, first, second, head in (
        (crop, "the crop around the lesion", "the whole picture", ("crop", "picture")),
        (skin, "the skin in the crop blackened", "the skin kept", ("zeroed", "kept")),
    ):
        clause = finding(f"ResNet50's {_MELANOMA}", first, second, pair.difference("auc", "mel"))
        table = pair_table([pair], "auc", "mel", _MELANOMA, *head)
        taught.append(Taught([f"In one training each, {clause}.", *_apart(pair)], [table], 1))
    return taught


def _metadata(rows: Rows) -> list[Taught]:
    """Age, sex and site beside the picture."""
    pair = rows.pair("metadata", ("metadata-fusion", "truth"), ("metadata-fusion-image-alone", "truth"))
    if pair is None:
        return []
    clauses = [
        finding(words, "age, sex and site beside the picture", "the picture alone", pair.difference(name, "mel"))
        for name, words in _NAMED.items()
    ]
    sentence = f"In one training each, {', and '.join(clauses)}."
    tables = [pair_table([pair], name, "mel", words, "with metadata", "without") for name, words in _NAMED.items()]
    return [Taught([sentence, *_apart(pair)], tables, len(tables))]


def _outlines(rows: Rows) -> list[Taught]:
    """Crops of the segmenter against true ones."""
    pairs = [
        pair
        for table, name, view in sorted(rows.known)
        if table == "classifiers" and view == "predicted"
        if (pair := rows.pair("classifiers", (name, "predicted"), (name, "truth"))) is not None
    ]
    if not pairs:
        return []
    mean = mean_difference([pair.answers for pair in pairs], "auc", "mel")
    segmenters = listed(sorted({pair.first.roi_from for pair in pairs}))
    sides = f"crops by the outlines of {segmenters}", "crops by people's outlines"
    over = f", in the mean over {trainings(pair.first for pair in pairs)}"
    table = pair_table(pairs, "auc", "mel", _MELANOMA, "predicted crop", "true crop")
    return [Taught([opened(finding(_MELANOMA, *sides, mean, over))], [table], len(pairs))]


def _branches(rows: Rows) -> list[Taught]:
    """CLNet against each of its branches alone, on both tasks."""
    taught, missing = [], []
    for joint, positive, words in _TASKS:
        classes = rows.pair("branches", (joint, "picture"), (f"{joint}-classifier", "whole"))
        masks = rows.pair("branches", (joint, "picture"), ("clnet-segmenter", "picture"))
        if classes is None or masks is None:
            missing.append(f"`{joint}`")
            continue
        named = f"AUC of {words}"
        joined = "both tasks joined in CLNet"
        first = finding(named, joined, "the classifying branch alone", classes.difference("auc", positive))
        second = finding(_DICE, joined, "the segmenting branch alone", masks.difference("dice", ""))
        sentences = [
            f"With {words} as the class, in one training each, {first}, and {second}.",
            *_alone(classes, "classifying"),
            *_alone(masks, "segmenting"),
        ]
        tables = [
            pair_table([classes], "auc", positive, named, "joined", "alone"),
            pair_table([masks], "dice", "", _DICE, "joined", "alone"),
        ]
        taught.append(Taught(sentences, tables, len(tables)))
    if taught and missing:
        taught.append(Taught([f"Rows are missing for {listed(missing)}."], []))
    return taught


_TASKS = (("clnet-melanoma", "mel", "melanoma"), ("clnet-keratosis", "bkl", "benign keratosis"))
_NAMED = {"auc": _MELANOMA, "class_balanced_accuracy": "balanced accuracy over seven diagnoses"}
_LESSONS: dict[str, Callable[[Rows], list[Taught]]] = {
    "Where a network starts from": _pretraining,
    "What survives a change of clinic": _elsewhere,
    "What a small encoder gives for its cost": _small,
    "What the crop is worth": _region,
    "What age, sex and site are worth": _metadata,
    "What the outline costs the answer": _outlines,
    "Whether two tasks help each other": _branches,
}


def _has(row: Row, positive: str) -> bool:
    """Whether a row has the figure that is about this class, or about masks where it is empty."""
    return row.positive == positive if positive else row.figures.clean is not None


def _over(pairs: Sequence[Pair]) -> str:
    if len(pairs) == 1:
        return f", of {pairs[0].first.name} in one training each"
    architectures = len({architecture(pair.first) for pair in pairs})
    return f", in the mean over {many(len(pairs), 'pair')} of trainings of {many(architectures, 'architecture')}"


def _apart(pair: Pair) -> list[str]:
    """What else sets the sides of one pair apart: their schedules, their initial weights."""
    return [*uneven([pair]), *_weights(pair, "the first", "the second")]


def _alone(pair: Pair, branch: str) -> list[str]:
    """Whom the schedules of CLNet and of one branch alone favour, and whether they started alike."""
    (joined, alone), (wide, narrow) = pair.epochs, pair.pixels
    sizes = "" if wide == narrow else f" at {wide} and {narrow} pixels"
    favours = "" if joined == alone else f", which favours {'CLNet' if joined > alone else 'the branch alone'}"
    said = (
        []
        if pair.even
        else [f"In equal time CLNet had {joined} epochs and the {branch} branch {alone}{sizes}{favours}."]
    )
    return [*said, *_weights(pair, "CLNet", f"the {branch} branch")]


def _weights(pair: Pair, first: str, second: str) -> list[str]:
    starts = start_of(pair.first), start_of(pair.second)
    if starts[0] == starts[1]:
        return []
    return [opened(f"{first} started from {starts[0]} and {second} from {starts[1]}")]


def _costing(row: Row, cost: Cost) -> str:
    size = f" at {row.compute.size} pixels" if row.compute else ""
    return f"{cost.gflops:.2g} GFLOP{size} and {cost.milliseconds:.0f} ms"
