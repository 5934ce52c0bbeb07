"""How rows were trained: their time, epochs, initial weights and architectures, counted and in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trainer.papers.pace import PACES
from trainer.papers.rows import Row
from trainer.training.initial import RANDOM


def architecture(row: Row) -> str:
    """The network's name and options; twins from other weights, crops or seeds share it. "" where nothing learnt."""
    model = (row.recipe or {}).get("model")
    if not isinstance(model, dict):
        return ""
    options = model.get("options") or {}
    return ", ".join([str(model.get("name")), *(f"{name} {value}" for name, value in sorted(options.items()))])


def trainings(rows: Iterable[Row]) -> str:
    """How many trainings of how many architectures rows are: views of one training, and its places, are one."""
    kept = {row.name: row for row in rows}
    architectures = {architecture(row) for row in kept.values()}
    return f"{many(len(kept), 'training')} of {many(len(architectures), 'architecture')}"


def start_of(row: Row) -> str:
    """The weights that a row started from, in two words."""
    return "random weights" if row.initialisation.startswith(RANDOM) else "ImageNet weights"


def fitted(rows: Iterable[Row]) -> str:
    """The time that the rows' schedules were fitted to, such as "20 minutes of one core"."""
    paces = sorted({row.pace for row in rows if row.pace}, key=lambda name: (-_minutes(name), name))
    times = [f"{_minutes(name):g}" if name in PACES else f"`{name}`" for name in paces]
    return f"{' or '.join(times)} minutes of one core"


def paces(rows: Sequence[Row]) -> list[str]:
    """Each time that rows were fitted to, longest first, and what they took: a phrase each."""
    names = sorted({row.pace for row in rows if row.pace}, key=lambda name: (-_minutes(name), name))
    return [
        f"`{name}`: {fitted(these)}, of which they took {took(these)}"
        for name in names
        if (these := [row for row in rows if row.pace == name])
    ]


def machines(rows: Iterable[Row]) -> str:
    """The processors that rows were trained on, such as "Intel(R) Xeon(R) Processor, 2 processors"."""
    return " and ".join(sorted({row.compute.hardware for row in rows if row.compute}))


def took(rows: Iterable[Row]) -> str:
    """What trainings took, such as "18 to 40 minutes of wall time"."""
    costs = [row.compute for row in rows if row.compute]
    kinds = {cost.core_minutes is None for cost in costs}
    how = {True: "of wall time", False: "of one core"}
    of = how[kinds.pop()] if len(kinds) == 1 else "(of one core where a row states them, else of wall time)"
    return f"{span(cost.minutes_of_one_core for cost in costs)} minutes {of}"


def minutes(row: Row) -> float:
    """Of one core, or wall time by threads where a row does not state it; 0 where nothing learnt."""
    return row.compute.minutes_of_one_core if row.compute else 0.0


def many(count: int, what: str) -> str:
    """A count with its noun, such as "1 epoch" or "3 epochs"."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def span(values: Iterable[float]) -> str:
    """Least and greatest as whole numbers, such as "18 to 40"; one number where they are equal."""
    found = sorted(values)
    ends = dict.fromkeys(f"{value:.0f}" for value in (found[0], found[-1]))
    return " to ".join(ends)


def _minutes(pace: str) -> float:
    return PACES[pace].minutes if pace in PACES else 0.0
