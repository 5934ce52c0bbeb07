"""What a run of a comparison cost."""

from __future__ import annotations

import csv
from pathlib import Path

from edge_infer.benchmark.hardware import conditions, describe_machine


def curve(run: Path) -> tuple[dict[str, float], ...]:
    """What a run wrote of each epoch."""
    with (run / "history.csv").open(newline="", encoding="utf-8") as stream:
        return tuple({key: float(value) for key, value in row.items() if value} for row in csv.DictReader(stream))


def epoch_seconds(run: Path) -> list[float]:
    """Wall time of each epoch of a run."""
    return [row["seconds"] for row in curve(run)]


def processor_seconds(run: Path) -> float | None:
    """Processor time of all epochs of a run, over its threads; None where an epoch does not state it."""
    found = [row.get("cpu_seconds") for row in curve(run)]
    return sum(value for value in found if value is not None) if found and None not in found else None


def processor() -> str:
    """The processor of this machine, in words."""
    machine = describe_machine(conditions(), conditions())
    return f"{machine.processor}, {machine.usable_processors} processors"
