"""A goal and what was measured: decided, written as JSON, and as a table for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from edge_infer.benchmark.stats import Interval
from edge_infer.files import write_atomically
from edge_infer.schema import dump

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Goal:
    """One promise and what was measured. `samples` are the raw values, in the unit that their names say."""

    name: str
    relation: Literal["<=", ">="]
    limit: float
    measured: Interval | None
    met: bool | None
    how: str
    samples: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class Goals:
    """The file: schema version 1."""

    schema_version: int
    created: str
    machine: str
    bundle: str
    pair: str
    heartbeat_ms: tuple[float, ...]
    goals: tuple[Goal, ...]
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()


class Limit(NamedTuple):
    """A promise that is to be measured: name, relation and limit as in `Goal`."""

    name: str
    relation: Literal["<=", ">="]
    limit: float


def goal(
    promise: Limit,
    measured: Interval | None,
    how: str,
    samples: Mapping[str, Sequence[float]],
) -> Goal:
    """Decides by the figure itself; its interval stands beside it. None where there is none, or an undefined one."""
    if measured is not None and not np.isfinite([measured.value, measured.low, measured.high]).all():
        measured, how = None, f"undefined, measured for too short a time; {how}"
    name, relation, limit = promise
    met = None if measured is None else (measured.value <= limit if relation == "<=" else measured.value >= limit)
    kept = {key: tuple(float(f"{value:.6g}") for value in values) for key, values in samples.items()}
    return Goal(name, relation, limit, measured, met, how, kept)


def markdown(goals: Goals) -> str:
    """A table for people."""
    lines = ["| goal | limit | measured [95 %] | met |", "| --- | --- | --- | --- |"]
    for item in goals.goals:
        form = "{:.3f}" if item.limit < 2 else "{:.2f}"
        found = item.measured
        text = (
            f"{form.format(found.value)} [{form.format(found.low)}, {form.format(found.high)}]" if found else item.how
        )
        verdict = {True: "yes", False: "**no**", None: "not measured"}[item.met]
        lines.append(f"| {item.name} | {item.relation} {item.limit:g} | {text} | {verdict} |")
    return "\n".join(lines) + "\n"


def write_goals(path: Path, goals: Goals) -> None:
    """Writes the samples as JSON and, beside it, the table as Markdown."""
    write_atomically(path, (json.dumps(dump(goals), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
    head = f"{goals.machine}; {goals.created}; bundle {goals.bundle[:20]}; pair {goals.pair}\n\n"
    tail = "".join(f"\n**{warning}**\n" for warning in goals.warnings)
    write_atomically(path.with_suffix(".md"), (head + markdown(goals) + tail).encode())
