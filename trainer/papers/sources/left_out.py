"""Trainings without a source, kept as rows, and the table of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from edge_infer.files import write_atomically
from trainer.papers.cost import curve, processor
from trainer.papers.leave_out import LeftOut
from trainer.papers.sources.rows import SCHEMA, ArmRow, read_arms, write_arm
from trainer.recipe import Recipe
from trainer.report.markdown import markdown_table, words
from trainer.report.source_goals import SourceGoal
from trainer.scoring.alone import MACRO, figures
from trainer.scoring.metrics import show
from trainer.training.checkpoint import BEST, load_checkpoint
from trainer.training.initial import RANDOM

GOAL = SourceGoal("AUC of melanoma on a source left out", ("mobile",), "left out", "auc", 0.80, 0.86)
HEAD = (
    "Each row is one network that never saw a source, judged on all of that source's `train` and `val` (left out), and "
    "on `val` of the sources that it learnt from (known). No `test` was read. Crops are those of the true outlines; "
    "where there are none, of the recipe's segmenter, which may have learnt from that source, so that those crops may "
    "be better than a stranger's. Limits and calibration have no part in this. In brackets: 95 % interval, "
    f"bootstrapped by lesion. On a source left out an AUC of {GOAL.must:.2f} is asked for, and {GOAL.moonshot:.2f} is "
    "the moonshot."
)


def keep(folder: Path, recipe: Recipe, source: str, run: Path, found: LeftOut, weights: Path | None) -> Path:
    """Writes a training without a source as a row, and the folder's table anew; returns the table's path.

    Args:
        folder: of results.
        recipe: that was trained, with the source still in it.
        source: the one that was left out.
        run: folder of the training.
        found: what `trainer.papers.leave_out.leave_out` gave.
        weights: what it started from.
    """
    trained, epochs = load_checkpoint(run / BEST).recipe, curve(run)
    row = ArmRow(
        schema=SCHEMA,
        recipe_name=recipe.name,
        name=f"{recipe.name}-without-{source}",
        what=f"never saw {source}",
        seed=recipe.seed,
        left_out=source,
        split="column",
        initialisation=weights.name if weights else RANDOM,
        train_images=found.train_images,
        epochs=len(epochs),
        recipe_epochs=recipe.optim.epochs,
        size=trained.data.size,
        recipe_size=recipe.data.size,
        train_minutes=round(sum(epoch["seconds"] for epoch in epochs) / 60, 2),
        threads=torch.get_num_threads(),
        hardware=processor(),
        recipe=trained.to_dict(),
        figures=figures(found.scores),
    )
    write_arm(folder, row, found.scores)
    path = folder / "README.md"
    write_atomically(path, to_markdown(read_arms(folder)).encode())
    return path


def to_markdown(rows: Sequence[ArmRow]) -> str:
    """The page, from the stored rows alone."""
    keys = list(dict.fromkeys(key for row in rows for found in row.figures.values() for key in found))
    cells = [
        [row.left_out, row.recipe_name, str(row.seed), name, kind.get(name, "known")]
        + [show(found.get(key)) for key in keys]
        + [GOAL.verdict(found[GOAL.measure].value) if name == row.left_out and GOAL.measure in found else ""]
        for row in rows
        for kind in [{row.left_out: "left out", MACRO: "mean of these"}]
        for name, found in row.figures.items()
    ]
    trained = [
        [
            f"{row.recipe_name} without {row.left_out}, seed {row.seed}",
            f"{row.train_images} pictures, {row.epochs} epochs, {row.size} px, {row.train_minutes:.0f} min",
            row.initialisation,
            f"{row.hardware}, {row.threads} thread{'s' * (row.threads > 1)}",
        ]
        for row in rows
    ]
    return "\n".join(
        [
            "# What a network is worth where nobody trained it\n",
            "Made by `python -m trainer leave-out SOURCE RECIPE --data ...`.\n",
            HEAD + "\n",
            markdown_table(["left out", "recipe", "seed", "judged on", "", *map(words, keys), "verdict"], cells),
            "## Trainings\n",
            markdown_table(["network", "trained", "initial weights", "hardware"], trained),
        ]
    )
