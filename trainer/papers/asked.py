"""What the project asked of the comparisons, and what the rows reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_infer.rules import Metric
from trainer.papers.clinic import place
from trainer.papers.marks import mark_of
from trainer.papers.measures import Figured, auc_of, dice_of
from trainer.papers.rows import Row
from trainer.papers.schedules import start_of
from trainer.papers.wording import listed
from trainer.papers.words import name_of
from trainer.report.markdown import markdown_table
from trainer.scoring.metrics import show

CHANCE = 0.5
NOTE = (
    "Only rows whose schedules were fitted to a time count, on splits that do not leak; a figure is reached by its "
    "value, and where the interval holds the asked one, other test pictures could say otherwise.\n"
)


@dataclass(frozen=True)
class Ask:
    """A figure that the best of some rows is to reach.

    Attributes:
        what: in words.
        least: that counts as reached.
        rows: names, of which the best counts.
        pick: the figure.
        pretrained: whether the row must have started from ImageNet weights.
    """

    what: str
    least: float
    rows: tuple[str, ...]
    pick: Callable[[Figured], Metric | None]
    pretrained: bool = False


ASKED = (
    Ask("Dice of U-Net++", 0.925, ("reference-segmenter", "unetplusplus"), dice_of),
    Ask("Dice of U-Net with a MobileNetV2 encoder", 0.935, ("unet-mobilenet-v2",), dice_of),
    Ask("Dice of U-Net with a ResNet50 encoder", 0.935, ("unet-resnet50",), dice_of),
    Ask("AUC of ResNet50 from ImageNet, true crop", 0.90, ("reference-classifier", "resnet50-binary"), auc_of, True),
)


def asked_table(rows: Sequence[Row]) -> str:
    """Each figure that was asked for, the row that counts for it, and whether it was reached.

    Args:
        rows: of all comparisons.
    """
    honest = [row for row in rows if not row.leaks and row.compute is not None]
    lines = [_line(ask, honest) for ask in ASKED]
    fitted = [row for row in honest if row.pace and auc_of(row.figures)]
    lines.append(_chance(fitted))
    head = ["asked", "row", "reached", "pace", "state"]
    return "\n".join([NOTE, markdown_table(head, lines), *_elsewhere(fitted)])


def _line(ask: Ask, rows: Sequence[Row]) -> list[str]:
    asked = f"{ask.what}: at least {ask.least:g}"
    these = [
        (value, row)
        for row in rows
        if row.name in ask.rows and row.view != "predicted" and (value := ask.pick(row.figures)) is not None
        if not ask.pretrained or start_of(row) != "random weights"
    ]
    fitted = [item for item in these if item[1].pace]
    if not these:
        return [asked, listed(list(ask.rows)), "-", "-", "not made yet"]
    value, row = max(fitted or these, key=lambda item: item[0].value)
    state = "trial only" if not fitted else "reached" if value.value >= ask.least else "**missed**"
    return [asked, name_of(row), show(value), f"`{mark_of(row)}`", state]


def _chance(rows: Sequence[Row]) -> list[str]:
    """Whether every row is surely better than chance on `test` of its own source."""
    asked = f"no row at chance: the low end of every AUC's interval above {CHANCE:g}"
    if not rows:
        return [asked, "all", "-", "-", "not made yet"]
    lowest = min(rows, key=_low)
    at_chance = [name_of(row) for row in rows if _low(row) <= CHANCE]
    paces = ", ".join(f"`{name}`" for name in sorted({row.pace for row in rows}))
    named = listed(at_chance) if at_chance else f"the lowest of {len(rows)}: {name_of(lowest)}"
    return [asked, named, show(auc_of(lowest.figures)), paces, "**missed**" if at_chance else "reached"]


def _low(row: Row) -> float:
    metric = auc_of(row.figures)
    return -1.0 if metric is None else metric.value if metric.low is None else metric.low


def _elsewhere(rows: Sequence[Row]) -> list[str]:
    """Rows that cannot be told from chance where they never learnt, source by source."""
    parts = []
    for source in sorted({name for row in rows for name in row.external}):
        found = [(row, auc_of(row.external[source])) for row in rows if source in row.external]
        names = [name_of(row) for row, auc in found if auc and auc.low is not None and auc.low <= CHANCE]
        if names:
            parts.append(
                f"On {place(source)} where no row learnt, the interval of {listed(names)} reaches {CHANCE:g}: that is "
                "what a change of clinic leaves of them; the table asks about home alone.\n"
            )
    return parts
