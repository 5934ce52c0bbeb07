"""Rows of the comparisons in words, as every table says them."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.papers.rows import Row

VIEWS = {"picture": "picture", "whole": "whole picture", "truth": "true crop", "predicted": "predicted crop"}


INTERVALS = "In brackets: 95 % interval, bootstrapped by lesion."


LEAK = (
    "**This split is by picture and leaks**: {all:.0%} of the test pictures ({melanoma:.0%} of those of melanoma) have "
    "a picture of the same lesion in training or validation. It is here for comparison with papers that split so; the "
    "figures are too good."
)


LOW = "**low budget**"


def split_words(rows: Sequence[Row]) -> str:
    """Which pictures rows of one split were tested on."""
    how = {
        "column": "the data set's own split, by lesion",
        "lesion-80-20": "80/20 by lesion",
        "lesion-60-20-20": "60/20/20 by lesion",
        "image-80-20": "80/20 by picture",
        "development": "`train` and `val` of the data set's own split, halved by lesion: one half, called `test` here, "
        "judges what the other has taught; the set's own `test` was not read",
    }[rows[0].split]
    limit = "" if all(row.test_limit is None for row in rows) else ", part of `test`"
    if len(counts := sorted({row.figures.images for row in rows})) > 1:
        part = ", in some rows a part of `test`" if limit else ""
        return f"{how}{part}: {counts[0]} to {counts[-1]} test pictures, which differ from row to row"
    return f"{how}{limit}: {counts[0]} test pictures of {rows[0].figures.lesions} lesions"


def budget_words(row: Row) -> str:
    """What a row was trained with."""
    cost = row.compute
    if cost is None:
        return "not trained"
    parts = [
        f"{cost.train_images} of {cost.full_train_images} pictures",
        f"{cost.epochs} of {cost.recipe_epochs} epochs" if cost.low_budget else f"{cost.epochs} epochs",
        f"{cost.size} px" + ("" if cost.size == cost.recipe_size else f" (recipe: {cost.recipe_size})"),
        *([precision] if (precision := precision_of(row)) else []),
        ("" if cost.core_minutes is None else f"{cost.core_minutes:.1f} core-minutes in ")
        + f"{cost.train_minutes:.1f} min",
        *([f"longer than `{row.pace}`: {row.cut}"] if row.cut else []),
    ]
    mark = f"{'cut to fit' if cost.low_budget else 'fits'} `{row.pace}`: " if row.pace else ""
    return (mark or (f"{LOW}: " if cost.low_budget else "")) + ", ".join(parts)


def precision_of(row: Row) -> str:
    """The numbers that a row was trained in, "bf16" or "float32"; "" where its recipe is not known."""
    return str(((row.recipe or {}).get("optim") or {}).get("precision", ""))


def how_chosen(rows: Sequence[Row]) -> str:
    """What `val` decided."""
    kept_last = [bool(row.pace) or row.table == "ablations" for row in rows if row.compute is not None]
    if kept_last and all(kept_last):
        return "Thresholds are chosen on `val`; every row keeps its last epoch."
    if any(kept_last):
        return (
            "Thresholds are chosen on `val`, and so are epochs, but for rows that are fitted to a budget: these keep "
            "their last."
        )
    return "Epochs and thresholds are chosen on `val`."


def hardware_words(row: Row) -> str:
    """Where a row was trained."""
    cost = row.compute
    if cost is None:
        return "-"
    return cost.device if cost.device != "cpu" else f"{cost.hardware}, {cost.threads} thread{'s' * (cost.threads > 1)}"


def name_of(row: Row) -> str:
    """A row's name, with what it saw where that is not plain."""
    return f"{row.name} ({VIEWS[row.view]})" if row.view in ("truth", "predicted") else row.name
