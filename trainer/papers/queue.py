"""All rows of all tables, worked off cheapest first, by as many processes as there are cores to spare.

Rows that are compared as equals share a schedule: a finished one's is taken, whatever machine it was made on. A row is
locked while a process trains it, and stands in its table when it is finished. A lock goes with its process, however
that ends, so a killed queue leaves nothing behind but a run that is continued. A row that stands in two tables has one
lock, one schedule and therefore one training.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from filelock import FileLock, Timeout

from edge_infer.errors import EdgeInferError
from trainer.data.isic import read_dataset
from trainer.data.splits import named_split
from trainer.errors import DataError
from trainer.models.complexity import measure_module
from trainer.papers.again import AGAIN
from trainer.papers.job import Job
from trainer.papers.pace import PACES, Pace, Schedule, schedule_for, schedule_of
from trainer.papers.plan import Plan
from trainer.papers.plans import TABLES, Table, plans
from trainer.papers.rows import Row, folder_of, judged_elsewhere, read_row, stem_of
from trainer.papers.run import compare, complete, views_of
from trainer.recipe import ModelConfig, recipe_from_dict
from trainer.training.checkpoint import build_model
from trainer.training.initial import encoder_of
from trainer.training.precision import computes_bf16

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
    """How far a row is: its state; where it is done, the core-minutes of its training and its pace."""

    entry: Entry
    state: State
    minutes: float | None = None
    why: str = ""
    pace: str = ""


def entries(only: Sequence[str] = ()) -> list[Entry]:
    """All rows that learn something, cheapest first; a row that stands in two tables comes once for each.

    Args:
        only: names of tables or of rows; empty takes all but the ablations.

    Raises:
        DataError: no row and no table has one of these names.
    """
    queued = _queued()
    known = {name for entry in queued for name in (entry.table, entry.plan.name)}
    if unknown := sorted(set(only) - known):
        raise DataError(f"No row of the queue is called '{unknown[0]}'.", "Take a name that --status shows.")
    wanted = [entry for entry in queued if not only or entry.table in only or entry.plan.name in only]
    found = [replace(entry, gflops=_gflops(entry.plan)) for entry in wanted]
    return sorted(found, key=lambda entry: (entry.gflops, entry.table, entry.plan.name))


def _queued() -> list[Entry]:
    """All rows that learn something, in the order of the tables, without their operations."""
    return [Entry(table, plan, 0.0) for table in _QUEUED for plan in plans(table) if not plan.weights_of]


def work_off(job: Job, pace: Pace, only: Sequence[str] = (), say: Callable[[str], None] = print) -> list[Standing]:
    """Makes every row that is neither done nor being made by another process.

    A row that fails is told, kept in its note, and does not stop the others. Rows that another process gave up are
    taken over.

    Args:
        job: data, folders and seed; its table, rows and budget are the queue's.
        pace: the time of each row.
        only: names of tables or of rows; empty takes all.
        say: receives progress in sentences.
    """
    pictures = len(named_split(read_dataset(job.data), job.split, job.split_seed)["train"])
    tried: set[tuple[str, str]] = set()
    while True:
        before = len(tried)
        for entry in entries(only):
            if (entry.table, entry.plan.name) in tried:
                continue
            with _lock(job, entry) as mine:
                if not mine or standing(job, pace, entry).state == "done":
                    continue
                tried.add((entry.table, entry.plan.name))
                _make(job, pace, entry, pictures, say)
        if len(tried) == before:
            break
    found = [standing(job, pace, entry) for entry in entries(only)]
    for table in dict.fromkeys(item.entry.table for item in found if item.state == "done"):
        complete(replace(job, table=table, only=(), base=None), say)
    return found


def _make(job: Job, pace: Pace, entry: Entry, pictures: int, say: Callable[[str], None]) -> None:
    note, name = _note(job, entry), f"{entry.table}/{entry.plan.name}"
    note.unlink(missing_ok=True)
    try:
        kept, known = _kept(job, pace, entry), _known_schedule(job, pace, entry)
        schedule = schedule_for(entry.plan, pace, pictures, kept, known)
        what = f"{schedule.epochs} epochs at {schedule.size} pixels, {schedule.precision}"
        say(f"{name}: {what}" + (f"; cut: {schedule.cut}" if schedule.cut else ""))
        compare(_row_job(job, pace, entry, schedule), say)
    except Exception as error:  # whatever it is, such as a lack of memory, the other rows can be made
        why = str(error) if isinstance(error, EdgeInferError) else f"{type(error).__name__}: {error}"
        note.write_text(json.dumps({"why": why}) + "\n", encoding="utf-8")
        say(f"{name} failed: {why}")


def standing(job: Job, pace: Pace, entry: Entry) -> Standing:
    """How far a row is; nothing is trained or locked for longer than this call."""
    if made := _made(job, pace, entry):
        cost = made[0].compute
        return Standing(entry, "done", None if cost is None else cost.minutes_of_one_core, pace=made[0].pace)
    if _taken(job, entry):
        return Standing(entry, "running")
    note = _note(job, entry)
    if note.is_file():
        return Standing(entry, "failed", why=str(json.loads(note.read_text(encoding="utf-8"))["why"]))
    return Standing(entry, "left")


def _made(job: Job, pace: Pace, entry: Entry) -> list[Row]:
    """The row as every view shows it, where it stands there whole: of this recipe, at this pace or a longer one."""
    folder, found = folder_of(job.out, entry.table, job.split), []
    for view in views_of(replace(job, table=entry.table), entry.plan):
        path = folder / f"{stem_of(entry.plan.name, view)}.json"
        if not path.is_file():
            return []
        row = read_row(path)
        minutes = PACES[row.pace].minutes if row.pace in PACES else 0.0
        if minutes < pace.minutes or row.compute is None or row.recipe is None:
            return []
        if not (folder / row.predictions).is_file():
            return []
        if recipe_from_dict(row.recipe, path.name) != schedule_of(row).budget(row.seed).fit(entry.plan).recipe:
            return []
        found.append(row)
    same = all(row.curve == found[0].curve for row in found)
    away = not job.external or all(row.external for row in found if judged_elsewhere(row.view))
    return found if same and away else []


def _known_schedule(job: Job, pace: Pace, entry: Entry) -> Schedule | None:
    """Of a row that is made again, the first one's; of others, that of a finished row which shares their schedule.

    In float32 where this processor has no bf16, which then takes ten times as long.
    """
    again = job.out.name == AGAIN
    home = replace(job, out=job.out.parent if again else job.out, external=None)
    equals = [entry] if again else [item for item in _queued() if _paced_as(item.plan) == _paced_as(entry.plan)]
    rows = (row for item in equals for row in _made(home, pace, item) if row.pace == pace.name)
    if (row := next(rows, None)) is None:
        return None
    schedule = schedule_of(row)
    return schedule if computes_bf16(job.device) else replace(schedule, precision="float32")


def _paced_as(plan: Plan) -> str:
    """What rows that share a schedule have in common."""
    return plan.paced_as or plan.name


def describe(found: Sequence[Standing], pace: Pace) -> str:
    """The queue in words: a line a row, and the core-hours done and left."""
    lines = [
        f"{item.state:8}{item.entry.table}/{item.entry.plan.name}"
        + (f"  {item.minutes:.0f} min" if item.minutes is not None else "")
        + (f", {item.pace}" if item.pace not in ("", pace.name) else "")
        + (f"  {item.why}" if item.why else "")
        for item in found
    ]
    # A row of two tables is trained once.
    minutes = {item.entry.plan.name: item.minutes for item in found if item.minutes is not None}
    left = {item.entry.plan.name for item in found if item.state != "done"} - minutes.keys()
    rate = sum(minutes.values()) / len(minutes) if minutes else pace.minutes
    done = sum(item.state == "done" for item in found)
    return "\n".join(
        [
            *lines,
            f"{done} of {len(found)} rows, {sum(minutes.values()) / 60:.1f} core-hours; about "
            f"{len(left) * max(rate, pace.minutes) / 60:.0f} are left",
        ]
    )


def _row_job(job: Job, pace: Pace, entry: Entry, schedule: Schedule) -> Job:
    budget = schedule.budget(job.budget.seed)
    asked = replace(job, table=entry.table, only=(entry.plan.name,), base=None, budget=budget)
    return replace(asked, pace=pace.name, cut=schedule.cut)


def _kept(job: Job, pace: Pace, entry: Entry) -> Path:
    """The file of the schedule, one for rows that are compared with each other as equals."""
    return job.runs / "queue" / f"{_paced_as(entry.plan)}.{pace.name}.json"


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
    lock = FileLock(_shared(job, entry, "lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _taken(job: Job, entry: Entry) -> bool:
    if not _shared(job, entry, "lock").is_file():
        return False
    with _lock(job, entry) as free:
        return not free
