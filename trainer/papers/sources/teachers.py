"""What teachers are worth before anybody learns from them: their answers to the pictures that they left out."""

from __future__ import annotations

from collections.abc import Mapping

from edge_infer.rules import Metric
from trainer.report.markdown import markdown_table, words
from trainer.scoring.metrics import show

HEAD = (
    "Each picture of `train` is answered by the network that left its lesion out. No `val` and no `test` was read. "
    "Crops are those of the true outlines, or of the recipe's segmenter where there are none. In brackets: 95 % "
    "interval, bootstrapped by lesion."
)


def to_markdown(found: Mapping[str, Mapping[str, Mapping[str, Metric]]]) -> str:
    """The page.

    Args:
        found: figures by teacher and source, as `trainer.scoring.alone.figures` gives them.
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
    ]
    return "\n".join(parts)
