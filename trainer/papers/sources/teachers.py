"""What teachers are worth before anybody learns from them: their answers to the pictures that they left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_infer.rules import Metric
from trainer.papers.cost import epoch_seconds
from trainer.report.markdown import markdown_table, words
from trainer.scoring.metrics import show
from trainer.training.checkpoint import Checkpoint
from trainer.training.folds import fold_folder

HEAD = (
    "Each picture of `train` is answered by the network that left its lesion out. No `val` and no `test` was read. "
    "Crops are those of the true outlines, or of the recipe's segmenter where there are none. In brackets: 95 % "
    "interval, bootstrapped by lesion."
)


def training_rows(run: Path, networks: Sequence[Checkpoint]) -> list[list[str]]:
    """What each fold cost: its name, lesions learnt, pictures left out, pixels, epochs, minutes of wall time."""
    rows = []
    for fold, network in enumerate(networks, 1):
        seconds = epoch_seconds(fold_folder(run, fold))
        learnt, size = len(network.learnt_lesions or ()), network.recipe.data.size
        cells = learnt, len(network.held_out), size, len(seconds), round(sum(seconds) / 60)
        rows.append([f"{network.recipe.name}, fold {fold}", *map(str, cells)])
    return rows


def to_markdown(found: Mapping[str, Mapping[str, Mapping[str, Metric]]], trained: Sequence[Sequence[str]] = ()) -> str:
    """The page.

    Args:
        found: figures by teacher and source, as `trainer.scoring.alone.figures` gives them.
        trained: rows of `training_rows`.
    """
    keys = list(dict.fromkeys(key for by_source in found.values() for row in by_source.values() for key in row))
    lines = [
        [teacher, source, *(show(row.get(key)) for key in keys)]
        for teacher, by_source in found.items()
        for source, row in by_source.items()
    ]
    parts = [
        "# Teachers, out of fold\n",
        "Made by `python -m trainer out-of-fold RUN ... --data ...`; the probabilities lie beside this page.\n",
        f"{HEAD}\n",
        markdown_table(["teacher", "source", *map(words, keys)], lines),
        "## Trainings\n",
        "Minutes are wall time of one thread, beside other work.\n",
        markdown_table(["network", "lesions learnt", "pictures left out", "pixels", "epochs", "minutes"], trained),
    ]
    return "\n".join(parts)
