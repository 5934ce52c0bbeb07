"""The Markdown table of arms: figures by source, and paired differences to the base of the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_infer.files import write_atomically
from edge_infer.rules import Metric
from trainer.papers.sources.arms import BASE
from trainer.papers.sources.rows import ArmRow, read_arms, read_scores, stem_of
from trainer.report.markdown import markdown_table, words
from trainer.report.summary import Figures
from trainer.scoring.alone import Scores, measures_of
from trainer.scoring.columns import SUFFIX
from trainer.scoring.metrics import Measure, lesion_weights, show, with_intervals

HEAD = (
    "Arms learn from one half, by lesion, of `train` and `val` of their sources and are judged on the other half"
    "{away}; no `test` was read. Crops are those of the true outlines, or of the recipe's segmenter where there are "
    "none. In brackets: 95 % interval, bootstrapped by lesion. Differences are to the base of the same seed, on the "
    "same pictures, in bold where the interval leaves out zero: one cell in twenty is bold by chance alone, and the "
    "interval does not hold what another seed would change."
)
_MAIN = {True: "auc", False: "dice"}


def write_table(folder: Path) -> Path:
    """Writes `README.md` in a comparison's folder from all rows in it, and returns its path."""
    path = folder / "README.md"
    write_atomically(path, to_markdown(folder).encode())
    return path


def to_markdown(folder: Path) -> str:
    """The page, from the stored rows and scores alone."""
    rows = read_arms(folder)
    head = rows[0]
    away = f", and on `train` and `val` of {head.left_out}, which none of them saw" if head.left_out else ""
    parts = [f"# {head.recipe_name}: arms over sources\n", HEAD.format(away=away) + "\n", "## Arms\n", _arms(rows)]
    scores = {(row.name, row.seed): read_scores(folder / f"{stem_of(row.name, row.seed)}{SUFFIX}") for row in rows}
    main = _MAIN[bool(next(iter(scores.values())).classes)]
    sources = list(dict.fromkeys(source for row in rows for source in row.figures))
    for key in dict.fromkeys(name for row in rows for found in row.figures.values() for name in found):
        parts += [f"## {words(key)}, by source\n", _levels(rows, sources, key)]
    parts += [f"## Differences to the base: {words(main)}\n", _differences(rows, scores, sources, main)]
    return "\n".join(parts)


def difference(changed: Scores, base: Scores, resamples: int = 1000) -> dict[str, Figures]:
    """Changed minus base by source, and of the sources' mean, with 95 % intervals by lesion.

    Both have the same pictures in the same order.
    """
    first, second = measures_of(changed), measures_of(base)
    weights = lesion_weights([record.lesion_id for record in changed.records], resamples)
    found: dict[str, Figures] = {}
    for source in first:
        shared = [key for key in first[source] if key in second.get(source, {})]
        found[source] = with_intervals(
            {key: _minus(first[source][key], second[source][key]) for key in shared}, weights
        )
    return found


def _arms(rows: Sequence[ArmRow]) -> str:
    cells = [
        [
            row.name,
            str(row.seed),
            row.what,
            f"{row.train_images} pictures, {row.epochs} of {row.recipe_epochs} epochs, {row.size} px"
            + ("" if row.size == row.recipe_size else f" (recipe: {row.recipe_size})")
            + f", {row.train_minutes:.1f} min",
            row.initialisation,
            f"{row.hardware}, {row.threads} thread{'s' * (row.threads > 1)}",
        ]
        for row in rows
    ]
    return markdown_table(["arm", "seed", "change", "trained with", "initial weights", "hardware"], cells)


def _levels(rows: Sequence[ArmRow], sources: Sequence[str], key: str) -> str:
    cells = [[row.name, str(row.seed), *(show(row.figures.get(s, {}).get(key)) for s in sources)] for row in rows]
    return markdown_table(["arm", "seed", *(_source(rows, s) for s in sources)], cells)


def _source(rows: Sequence[ArmRow], source: str) -> str:
    return f"{source} (left out)" if source == rows[0].left_out else source


def _differences(
    rows: Sequence[ArmRow], scores: dict[tuple[str, int], Scores], sources: Sequence[str], key: str
) -> str:
    cells = []
    for name in dict.fromkeys(row.name for row in rows if row.name != BASE):
        found = {
            seed: difference(scores[name, seed], scores[BASE, seed])
            for seed in sorted({row.seed for row in rows})
            if (name, seed) in scores and (BASE, seed) in scores
        }
        for seed, by_source in found.items():
            cells.append([name, str(seed), *(signed(by_source.get(s, {}).get(key)) for s in sources)])
        if len(found) > 1:
            means = [[by_source.get(s, {}).get(key) for by_source in found.values()] for s in sources]
            cells.append([name, "mean", *(_mean(values) for values in means)])
    return markdown_table(["arm", "seed", *(_source(rows, s) for s in sources)], cells)


def _mean(values: Sequence[Metric | None]) -> str:
    known = [metric.value for metric in values if metric is not None]
    return f"{np.mean(known):+.3f}" if len(known) == len(values) else "-"


def signed(metric: Metric | None) -> str:
    """A difference with its interval for a table, in bold where that leaves out zero; "-" where it is undefined."""
    if metric is None:
        return "-"
    text = f"{metric.value:+.3f}"
    if metric.low is None or metric.high is None:
        return text
    text += f" ({metric.low:+.3f} to {metric.high:+.3f})"
    return f"**{text}**" if metric.low > 0 or metric.high < 0 else text


def _minus(first: Measure, second: Measure) -> Measure:
    return lambda weights: first(weights) - second(weights)
