"""What survives a change of clinic: each row at home and where none learnt, their order, and the mix of diagnoses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata  # type: ignore[import-untyped]

from edge_infer.rules import Metric
from trainer.papers.pairs import Rows, Values, values_of
from trainer.papers.rows import Row
from trainer.papers.schedules import minutes, trainings
from trainer.papers.wording import listed
from trainer.report.markdown import markdown_table
from trainer.scoring.metrics import Weights, lesion_weights, ratio, show, with_interval
from trainer.scoring.predictions import Prediction

SOURCES = {"msk-uda": "two clinics (MSK and Utah)"}
"""Who took a source's pictures, where its name does not say it."""

_DIAGNOSES = {
    "akiec": "actinic keratoses",
    "bcc": "basal cell carcinomas",
    "bkl": "benign keratoses",
    "df": "dermatofibromas",
    "mel": "melanomas",
    "nv": "nevi",
    "vasc": "vascular lesions",
}
_FEWEST = 5
"""Rows below which an order and its interval say nothing."""


@dataclass(frozen=True)
class Moved:
    """Rows that answer the same pictures at home and the same pictures elsewhere, with one figure of each."""

    rows: list[Row]
    home: list[Values]
    away: list[Values]
    others: list[str]


def place(source: str) -> str:
    """A source with who took its pictures, such as "msk-uda, two clinics (MSK and Utah)"."""
    return f"{source}, {SOURCES[source]}" if source in SOURCES else source


def survives(rows: Rows, source: str, positive: str, figure: str, words: str) -> tuple[list[str], str] | None:
    """Sentences and the table of one figure at home and on a source; None where no row has it there.

    Args:
        rows: all that were fitted to a time.
        source: that none learnt from.
        positive: the class that the figure is about; "" for masks.
        figure: its name.
        words: the figure's name in words.
    """
    found = _moved(rows, source, figure, positive)
    if found is None:
        return None
    home, away = _mean(found.home), _mean(found.away)
    if home is None or away is None:
        return None
    data = found.rows[0].data
    sentences = [
        f"Averaged over {trainings(found.rows)}, {words} was {show(home)} on {data}, where they learnt, and "
        f"{show(away)} on {place(source)} where none did: the intervals {_meet(home, away)}."
    ]
    sentences += _mix(found, home, away, words)
    sentences += _order([values.metric for values in found.home], [values.metric for values in found.away])
    if found.others:
        sentences.append(f"Left out, since they answered other pictures: {listed(found.others)}.")
    return sentences, _table(found, words, source)


def rank_correlation(first: Sequence[float], second: Sequence[float], resamples: int = 2000) -> Metric | None:
    """Spearman's, ties by average ranks, with a 95 % interval over networks drawn with replacement.

    None for fewer than three, or where one side has one value alone.
    """
    pairs = np.array([first, second], dtype=np.float64)
    count = pairs.shape[1]
    if count < 3:
        return None
    drawn = np.random.default_rng(0).integers(0, count, (resamples, count))
    whole = _spearman(pairs[:, None, :])[0]
    found = _spearman(pairs[:, drawn])
    found = found[np.isfinite(found)]
    if not np.isfinite(whole):
        return None
    if len(found) < 0.95 * resamples:
        return Metric(round(float(whole), 6))
    low, high = np.percentile(found, (2.5, 97.5))
    return Metric(round(float(whole), 6), round(float(low), 6), round(float(high), 6))


def _spearman(pairs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of shape (2, b, n): b correlations, NaN where a side does not vary."""
    ranks = rankdata(pairs, axis=-1)
    centred = ranks - ranks.mean(-1, keepdims=True)
    above = (centred[0] * centred[1]).sum(-1)
    below = np.sqrt((centred**2).sum(-1).prod(0))
    return ratio(above, below)


def _moved(rows: Rows, source: str, figure: str, positive: str) -> Moved | None:
    """Rows with this figure in both places; where some answered other pictures, the most that answered the same."""
    kept: dict[str, tuple[Row, Values, Values]] = {}
    for (_, _, view), row in sorted(rows.known.items()):
        own = row.positive == positive if positive else row.figures.clean is not None
        answers = rows.elsewhere(row, source) if own and view != "predicted" else None
        if answers:
            sides = [values_of(side, figure, positive) for side in (rows.answers(row), answers)]
            kept[row.name] = row, sides[0], sides[1]
    if not kept:
        return None
    seen = {name: (_pictures(home), _pictures(away)) for name, (_, home, away) in kept.items()}
    [(common, _)] = Counter(seen.values()).most_common(1)
    these = [kept[name] for name in kept if seen[name] == common]
    others = [name for name in kept if seen[name] != common]
    return Moved([one[0] for one in these], [one[1] for one in these], [one[2] for one in these], others)


def _pictures(values: Values) -> tuple[str, ...]:
    return tuple(p.image_id for p in values.answered)


def _mean(values: Sequence[Values], share: NDArray[np.float64] | None = None) -> Metric | None:
    """Over rows, the same lesions drawn for all; each picture counts `share` times."""
    weights = lesion_weights([p.lesion_id for p in values[0].answered])
    by = np.ones(weights.shape[1]) if share is None else share

    def measure(drawn: Weights) -> NDArray[np.float64]:
        return np.asarray(np.mean([one.measure(drawn * by) for one in values], axis=0))

    return with_interval(measure, weights)


def _mix(found: Moved, home: Metric, away: Metric, words: str) -> list[str]:
    """Which diagnoses stand elsewhere, and the figure at home with the same ones, and in the same shares."""
    here, there = _shares(found.home[0].answered), _shares(found.away[0].answered)
    held = Counter(p.dx for p in found.away[0].answered)
    named = listed([f"{count} {_DIAGNOSES.get(dx, dx or 'without a diagnosis')}" for dx, count in held.most_common()])
    sentence = (
        f"There are {len(found.away[0].answered)} pictures there: {named} (melanoma: {there.get('mel', 0.0):.0%}, at "
        f"home {here.get('mel', 0.0):.0%})"
    )
    own = [p.dx for p in found.home[0].answered]
    limited = _mean(found.home, np.array([float(dx in there) for dx in own]))
    shared = _mean(found.home, np.array([there.get(dx, 0.0) / here[dx] for dx in own]))
    if limited is None or shared is None:
        return [f"{sentence}."]
    verdict = ""
    if _apart(home, away):
        same = _apart(limited, away) and _apart(shared, away)
        verdict = f", so another mix of diagnoses {'does not explain' if same else 'may explain'} the difference"
    return [
        f"{sentence}. Of these diagnoses alone, {words} at home was {show(limited)}, and {show(shared)} with each "
        f"weighted to its share there{verdict}."
    ]


def _shares(found: Sequence[Prediction]) -> dict[str, float]:
    counts = Counter(p.dx for p in found)
    return {dx: count / len(found) for dx, count in counts.items()}


def _order(home: Sequence[Metric | None], away: Sequence[Metric | None]) -> list[str]:
    both = [(a.value, b.value) for a, b in zip(home, away, strict=True) if a and b]
    agree = rank_correlation([a for a, _ in both], [b for _, b in both]) if len(both) >= _FEWEST else None
    if agree is None or agree.low is None or agree.high is None:
        return []
    says = (
        "so a row that is better at home tends to be better there too"
        if agree.low > 0
        else "so a row that is better at home tends to be worse there"
        if agree.high < 0
        else "so these rows do not show whether the order at home holds there"
    )
    return [
        f"The rank correlation of the two orders is {agree.value:.2f} ({agree.low:.2f} to {agree.high:.2f} over "
        f"trainings), {says}."
    ]


def _apart(first: Metric, second: Metric) -> bool:
    """Whether the two intervals do not meet."""
    upper, lower = (first, second) if first.value >= second.value else (second, first)
    ends = (upper.low, lower.high)
    return ends[0] is not None and ends[1] is not None and ends[1] < ends[0]


def _meet(first: Metric, second: Metric) -> str:
    return "do not meet" if _apart(first, second) else "overlap"


def _table(found: Moved, words: str, source: str) -> str:
    lines = [
        [
            row.name,
            str(row.compute.epochs if row.compute else "-"),
            f"{minutes(row):.0f}",
            show(a.metric),
            show(b.metric),
        ]
        for row, a, b in sorted(zip(found.rows, found.home, found.away, strict=True), key=_best_first)
    ]
    return markdown_table(["row", "epochs", "minutes", f"{words}, {found.rows[0].data}", f"{words}, {source}"], lines)


def _best_first(line: tuple[Row, Values, Values]) -> tuple[float, str]:
    metric = line[1].metric
    return (-metric.value if metric else 0.0), line[0].name
