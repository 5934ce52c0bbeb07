"""What a score of familiarity refuses of a source, and of a kind of other pictures, that its fit never saw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scipy.stats import binomtest  # type: ignore[import-untyped]

from trainer.choices.familiarity import FEWEST, choose_threshold, fit_weights, refused_share
from trainer.scoring.familiarity import VARIED, Features

FITS = {VARIED: "changed copies", "train": "pictures as they are"}
"""What the good side of a fit may be: part of `Features`, and its name in tables."""


@dataclass(frozen=True)
class Held:
    """What a fit without a group refuses.

    Attributes:
        group: a source of good pictures, or a kind of others.
        good: whether it is a source, whose pictures should not be refused.
        fit: what the good side of the fit was, see `FITS`.
        strength: inverse of the fit's regularisation.
        pictures: of the group: of a source's `val`, or of its training part where it has none.
        refused: share of these.
    """

    group: str
    good: bool
    fit: str
    strength: float
    pictures: int
    refused: float


def left_out(features: Features, strengths: tuple[float, ...]) -> Iterator[Held]:
    """Every source that has a successor to set the threshold, and every kind of other pictures, left out in turn.

    Args:
        features: with the parts of `FITS`, "val" and "fit".
        strengths: inverse regularisations to try.
    """
    kinds = sorted(set(features.groups[features.parts == "fit"].tolist()))
    for fit in FITS:
        for strength in strengths:
            for group in (*features.sources, *kinds):
                rest, good = features.without(group), group in features.sources
                if not any(len(rest.of("val", source)) >= FEWEST for source in rest.sources):
                    continue
                weights = fit_weights(rest, strength, fit)
                threshold, _ = choose_threshold(rest, weights)
                own = features.of("fit", group)
                if good:
                    own = features.of("val", group)
                    own = own if len(own) else features.of("train", group)
                yield Held(group, good, fit, strength, len(own), refused_share(weights.score(own), threshold))


def left_out_markdown(found: list[Held]) -> str:
    """Two tables: sources, whose pictures should pass, and other things, which should not.

    Intervals: 95 %, Wilson's, of pictures.
    """
    fits = list(dict.fromkeys((one.fit, one.strength) for one in found))
    lines = []
    for good, title in (
        (True, "Good pictures refused, their source left out"),
        (False, "Others refused, their kind left out"),
    ):
        groups = list(dict.fromkeys((one.group, one.pictures) for one in found if one.good is good))
        shares = {(one.group, one.fit, one.strength): one.refused for one in found if one.good is good}
        lines += [
            f"### {title}\n",
            "| fitted on | inverse regularisation | " + " | ".join(f"{g} ({n})" for g, n in groups) + " |",
        ]
        lines.append("| --- | --- |" + " --- |" * len(groups))
        for fit, strength in fits:
            cells = [_show(shares[group, fit, strength], count) for group, count in groups]
            lines.append(f"| {FITS[fit]} | {strength:g} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _show(share: float, count: int) -> str:
    low, high = binomtest(round(share * count), count).proportion_ci(method="wilson")
    return f"{100 * share:.1f}% ({100 * low:.1f} to {100 * high:.1f})"
