"""What a score of familiarity refuses of a source, and of a kind of other pictures, that its fit never saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scipy.stats import binomtest  # type: ignore[import-untyped]

from trainer.choices.familiarity import FEWEST, choose_threshold, fit_weights, refused_share
from trainer.errors import DataError
from trainer.scoring.familiarity import OTHERS, VARIED, Features

FITS = {
    "changed copies, of others too": ((VARIED,), OTHERS),
    "changed copies of good pictures alone": ((VARIED,), OTHERS[:1]),
    "pictures as they are": (("train",), OTHERS[:1]),
}
"""What a fit may rest on, the first one as it ships: its name in tables, and the parts of both its sides."""

_TITLES = {
    "val": "Good pictures refused, their source left out",
    OTHERS[0]: "Others refused, their kind left out",
    OTHERS[1]: "Changed copies of others refused, their kind left out",
}


@dataclass(frozen=True)
class Held:
    """What a fit without a group refuses.

    Attributes:
        part: "val" of a source of good pictures, or one of `OTHERS`.
        group: the source, or the kind of others.
        fit: see `FITS`.
        strength: inverse of the fit's regularisation.
        pictures: of the group; of a source without `val` its training pictures.
        refused: share of these.
    """

    part: str
    group: str
    fit: str
    strength: float
    pictures: int
    refused: float


def left_out(features: Features, strengths: Sequence[float]) -> Iterator[Held]:
    """Every source without which others set a threshold, and every kind of other pictures, left out in turn.

    Args:
        features: with the parts of `FITS` and "val".
        strengths: inverse regularisations to try.

    Raises:
        DataError: no source has enough validation pictures to set a threshold.
    """
    setting = [source for source in features.sources if len(features.of("val", source)) >= FEWEST]
    if not setting:
        raise DataError(f"No source has {FEWEST} validation pictures.", "Give more data, or a higher --limit.")
    sources = [source for source in features.sources if setting != [source]]
    kinds = sorted(set(features.groups[features.parts == OTHERS[0]].tolist()))
    for fit, (good, others) in FITS.items():
        for strength in strengths:
            for group in (*sources, *kinds):
                rest = features.without(group)
                weights = fit_weights(rest, strength, good, others)
                threshold, _ = choose_threshold(rest, weights)
                for part in ("val",) if group in sources else OTHERS:
                    own = features.of(part, group)
                    own = own if len(own) else features.of("train", group)
                    yield Held(part, group, fit, strength, len(own), refused_share(weights.score(own), threshold))


def left_out_markdown(found: Sequence[Held]) -> str:
    """Three tables: sources, whose pictures should pass, and other things and changed copies of them, which should not.

    Intervals: 95 %, Wilson's, of pictures.
    """
    fits = list(dict.fromkeys((one.fit, one.strength) for one in found))
    lines = ["95 % intervals of pictures (Wilson). A source without `val` is judged on its training pictures.\n"]
    for part, title in _TITLES.items():
        cells = {(one.group, one.fit, one.strength): _show(one) for one in found if one.part == part}
        groups = list(dict.fromkeys((one.group, one.pictures) for one in found if one.part == part))
        if not groups:
            continue
        heads = " | ".join(f"{group} ({count})" for group, count in groups)
        lines += [f"### {title}\n", f"| fitted to | inverse regularisation | {heads} |"]
        lines.append("| --- | --- |" + " --- |" * len(groups))
        for fit, strength in fits:
            row = " | ".join(cells[group, fit, strength] for group, _ in groups)
            lines.append(f"| {fit} | {strength:g} | {row} |")
        lines.append("")
    return "\n".join(lines)


def _show(one: Held) -> str:
    low, high = binomtest(round(one.refused * one.pictures), one.pictures).proportion_ci(method="wilson")
    return f"{100 * one.refused:.1f}% ({100 * low:.1f} to {100 * high:.1f})"
