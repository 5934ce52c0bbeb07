"""All rows of all tables, worked off cheapest first, by as many processes as there are cores to spare.

A row is locked while a process trains it, and stands in its table when it is finished. A lock goes with its process,
however that ends, so a killed queue leaves nothing behind but a run that is continued. A row that stands in two tables
has one lock, one schedule and therefore one training.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from trainer.data.isic import read_dataset
from trainer.data.splits import named_split
from trainer.errors import DataError, TrainerError
from trainer.models.complexity import measure_module
from trainer.papers.job import Job
from trainer.papers.pace import Pace, schedule_for
from trainer.papers.plan import Budget, Plan
from trainer.papers.plans import TABLES, Table, plans
from trainer.papers.rows import folder_of, read_row
from trainer.papers.run import compare
from trainer.recipe import ModelConfig
from trainer.training.checkpoint import build_model
from trainer.training.initial import encoder_of

State = Literal["done", "running", "left", "failed"]

_QUEUED: tuple[Table, ...] = tuple(table for table in TABLES if table != "ablations")


@dataclass(frozen=True)
class Entry:
    """A row that is to be made.

    Attributes:
        table: that it stands in.
        plan: how it is trained.
        gflops: of one picture at its own size, which orders the queue.
    """

    table: Table
    plan: Plan
    gflops: float


@dataclass(frozen=True)
class Standing:
    """How far a row is: its state, and the core-minutes of its training where it is done."""

    entry: Entry
    state: State
    minutes: float | None = None
    why: str = ""


def entries(only: Sequence[str] = ()) -> list[Entry]:
    """All rows that learn something, cheapest first; a row that stands in two tables comes once for each.

    Args:
        only: names of tables or of rows; empty takes all but the ablations.

    Raises:
        DataError: no row and no table has one of these names.
    """
    queued = [(table, plan) for table in _QUEUED for plan in plans(table) if not plan.weights_of]
    known = {name for table, plan in queued for name in (table, plan.name)}
    if unknown := sorted(set(only) - known):
        raise DataError(f"No row of the queue is called '{unknown[0]}'.", "Take a name that --status shows.")
    found = [
        Entry(table, plan, _gflops(plan)) for table, plan in queued if not only or table in only or plan.name in only
    ]
    return sorted(found, key=lambda entry: (entry.gflops, entry.table, entry.plan.name))


def work_off(job: Job, pace: Pace, only: Sequence[str] = (), say: Callable[[str], None] = print) -> list[Standing]:
    """Makes every row that is neither done nor being made by another process.

    A row that fails is told, kept in its note, and does not stop the others.

    Args:
        job: data, folders and seed; its table, rows and budget are the queue's.
        pace: the time of each row.
        only: names of tables or of rows; empty takes all.
        say: receives progress in sentences.
    """
    pictures = len(named_split(read_dataset(job.data), job.split, job.split_seed)["train"])
    for entry in entries(only):
        with _lock(job, entry) as mine:
            if not mine or standing(job, pace, entry).state == "done":
                continue
            note = _note(job, entry)
            note.unlink(missing_ok=True)
            try:
                schedule = schedule_for(entry.plan, pace, pictures, _shared(job, entry, f"{pace.name}.json"))
                what = f"{schedule.epochs} epochs at {schedule.size} pixels, {schedule.precision}"
                say(f"{entry.table}/{entry.plan.name}: {what}" + (f"; cut: {schedule.cut}" if schedule.cut else ""))
                compare(_row_job(job, pace, entry, schedule.budget(job.budget.seed)), say)
            except TrainerError as error:
                note.write_text(json.dumps({"why": str(error)}) + "\n", encoding="utf-8")
                say(f"{entry.table}/{entry.plan.name} failed: {error}")
    return [standing(job, pace, entry) for entry in entries(only)]


def standing(job: Job, pace: Pace, entry: Entry) -> Standing:
    """How far a row is; nothing is trained or locked for longer than this call."""
    folder = folder_of(job.out, entry.table, job.split)
    for path in folder.glob(f"{entry.plan.name}*.json"):
        row = read_row(path)
        if row.name == entry.plan.name and row.pace == pace.name and row.compute is not None:
            return Standing(entry, "done", row.compute.train_minutes * row.compute.threads)
    if _taken(job, entry):
        return Standing(entry, "running")
    note = _note(job, entry)
    if note.is_file():
        return Standing(entry, "failed", why=str(json.loads(note.read_text(encoding="utf-8"))["why"]))
    return Standing(entry, "left")


def describe(found: Sequence[Standing], pace: Pace) -> str:
    """The queue in words: a line a row, and the core-hours done and left."""
    lines = [
        f"{item.state:8}{item.entry.table}/{item.entry.plan.name}"
        + (f"  {item.minutes:.0f} min" if item.minutes is not None else "")
        + (f"  {item.why}" if item.why else "")
        for item in found
    ]
    spent = sum(item.minutes or 0.0 for item in found) / 60
    left = sum(item.state != "done" for item in found)
    done = len(found) - left
    return "\n".join(
        [
            *lines,
            f"{done} of {len(found)} rows, {spent:.1f} core-hours; at most {left * pace.minutes / 60:.0f} are left",
        ]
    )


def _row_job(job: Job, pace: Pace, entry: Entry, budget: Budget) -> Job:
    return replace(job, table=entry.table, only=(entry.plan.name,), base=None, budget=budget, pace=pace.name)


def _gflops(plan: Plan) -> float:
    """Of the recipe's own network; one that takes metadata too costs what its picture's part does."""
    recipe = plan.recipe
    if recipe.model.name == "metadata_fusion":
        recipe = replace(recipe, model=ModelConfig(encoder_of(recipe)))
    with torch.device("meta"):
        return measure_module(build_model(recipe), recipe.data.size).gflops


def _note(job: Job, entry: Entry) -> Path:
    """Why a row failed, of this table alone."""
    return _shared(job, entry, "failed.json").with_name(f"{entry.table}-{entry.plan.name}.failed.json")


def _shared(job: Job, entry: Entry, ending: str) -> Path:
    """A file of the row in whatever table."""
    folder = job.runs / "queue"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{entry.plan.name}.{ending}"


@contextmanager
def _lock(job: Job, entry: Entry) -> Iterator[bool]:
    """Whether this process got the row; it is given back at the end."""
    with _shared(job, entry, "lock").open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


def _taken(job: Job, entry: Entry) -> bool:
    path = _shared(job, entry, "lock")
    if not path.is_file():
        return False
    with path.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
