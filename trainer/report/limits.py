"""Do the limits of quality hold? Good pictures of each source, also where it is left out of the fit, and spoilt copies.

Only pictures of `train` and `val` are opened, and no network is run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from edge_infer.reasons import Reason
from edge_infer.rules import QualityLimits
from edge_infer.steps.image import open_picture
from edge_infer.steps.quality import Quality, measure_quality, picture_problem, quality_problem
from edge_infer.steps.resize import resize
from trainer.choices.limits import quality_by_source, quality_limits
from trainer.data.ham10000 import Record
from trainer.errors import DataError
from trainer.report.markdown import markdown_table
from trainer.scoring.predict import of_any_size
from trainer.scoring.trials import Trial

NOW = "fitted now"


@dataclass(frozen=True)
class Good:
    """A picture that should be answered: its source and split, its own size, and its measures at the input size."""

    source: str
    split: str
    size: tuple[int, int]
    quality: Quality


@dataclass(frozen=True)
class Fits:
    """Limits by what they were fitted to.

    Attributes:
        shipped: name and limits of a bundle.
        now: fitted to the training pictures of the sources that it learnt from and that have a say.
        without: the same without one source, by source; not of those that have no say.
    """

    shipped: tuple[str, QualityLimits]
    now: QualityLimits
    without: dict[str, QualityLimits]


def measure_good(records: Iterable[Record], height: int, width: int) -> list[Good]:
    """Measures of pictures at a segmenter's input size."""
    found = []
    for record in tqdm(records, desc="good pictures", unit="img"):
        pixels = open_picture(record.image_path).pixels
        quality = measure_quality(resize(pixels, height, width))
        found.append(Good(record.source, record.split, (pixels.shape[0], pixels.shape[1]), quality))
    return found


def fit_limits(
    good: Sequence[Good], shipped: tuple[str, QualityLimits], learnt: Sequence[str], exempt: Sequence[str]
) -> Fits:
    """Limits from the training pictures of the learnt sources that have a say, and without each of these.

    Raises:
        DataError: there is no such picture.
    """
    training = [(one.source, one.quality) for one in good if one.split == "train" and one.source in learnt]
    if not training:
        raise DataError(
            "No training picture is left to fit to.",
            f"Give the folders of {', '.join(learnt) or 'its sources'} with --data.",
        )
    seen = quality_by_source(training, exempt, {one.source for one in good if one.split == "val"})
    side = shipped[1].min_side
    rest = {left: {source: each for source, each in seen.items() if source != left} for left in seen}
    without = {left: quality_limits(others, side) for left, others in rest.items() if others}
    return Fits(shipped, quality_limits(seen, side), without)


def limits_markdown(fits: Fits, good: Sequence[Good], spoilt: Sequence[Trial], exempt: Sequence[str]) -> str:
    """Three tables: the limits, what they refuse of good pictures, and what of spoilt copies."""
    name, shipped = fits.shipped
    named = {name: shipped, NOW: fits.now, **{f"without {left}": limits for left, limits in fits.without.items()}}
    fields = ("min_contrast", "min_luminance", "max_luminance", "min_sharpness")
    rows = [[title, *(f"{getattr(limits, field):g}" for field in fields)] for title, limits in named.items()]
    parts = ["### Limits\n", markdown_table(["fit", *fields], rows)]
    rows = [_good_row(source, split, pictures, fits, exempt) for (source, split), pictures in _grouped(good).items()]
    head = ["source", "split", "pictures", name, NOW, "fitted without it", f"reasons, {NOW}"]
    parts += ["### Good pictures refused for their quality\n", markdown_table(head, rows)]
    rows = [[what, *(_share(trials, limits) for limits in named.values())] for what, trials in _kinds(spoilt).items()]
    parts += ["### Spoilt copies refused for their quality\n", markdown_table(["picture", *named], rows)]
    return "\n".join(parts)


def refused_reasons(pictures: Sequence[Good], limits: QualityLimits, exempt: Sequence[str]) -> Counter[Reason]:
    """How many pictures of a source these limits refuse, by the runtime's first reason."""
    found: Counter[Reason] = Counter()
    for one in pictures:
        problem = picture_problem(*one.size, one.quality, of_any_size(limits) if one.source in exempt else limits)
        if problem is not None:
            found[problem[0]] += 1
    return found


def _good_row(source: str, split: str, pictures: Sequence[Good], fits: Fits, exempt: Sequence[str]) -> list[str]:
    def share(limits: QualityLimits) -> str:
        return f"{sum(refused_reasons(pictures, limits, exempt).values()) / len(pictures):.2%}"

    reasons = refused_reasons(pictures, fits.now, exempt)
    why = ", ".join(f"{reason.value} {count}" for reason, count in reasons.most_common()) or "none"
    left = share(fits.without[source]) if source in fits.without else "-"
    return [source, split, str(len(pictures)), share(fits.shipped[1]), share(fits.now), left, why]


def _grouped(good: Sequence[Good]) -> Mapping[tuple[str, str], list[Good]]:
    groups: dict[tuple[str, str], list[Good]] = {}
    for one in good:
        groups.setdefault((one.source, one.split), []).append(one)
    return groups


def _kinds(spoilt: Sequence[Trial]) -> Mapping[str, list[Trial]]:
    kinds: dict[str, list[Trial]] = {}
    for trial in spoilt:
        kinds.setdefault(trial.what, []).append(trial)
    return {f"{what} (n = {len(trials)})": trials for what, trials in kinds.items()}


def _share(trials: Sequence[Trial], limits: QualityLimits) -> str:
    return f"{sum(quality_problem(trial.quality, limits) is not None for trial in trials) / len(trials):.1%}"
