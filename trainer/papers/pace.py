"""A budget in minutes as a fixed schedule: how many epochs, at which size, fit the time on this machine.

Throughput is measured on noise: reading and augmenting are a few hundredths of a training step.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from edge_infer.files import write_atomically
from edge_infer.schema import SchemaError, dump, parse
from trainer.errors import DataError, RecipeError
from trainer.papers.plan import Budget, Plan
from trainer.papers.rows import Row
from trainer.recipe import OptimConfig, Recipe, recipe_from_dict
from trainer.training.checkpoint import build_model, class_names
from trainer.training.precision import computes_bf16, keep_strided_depthwise_in_float32
from trainer.training.tasks import Batch, Objective

_STRIDE, _STEPS = 32, 8
_HOPELESS = 1.5
"""The quickest of two steps takes less than this many times the quickest of all of them."""
_BESIDE = 1.08
"""Reading, augmenting, averaging weights and writing, on top of the steps."""
_OVER = 1.1
"""A row may take this many times its time: 2.96 epochs are three, since two would leave a third of it unused."""


@dataclass(frozen=True)
class Pace:
    """A time to train in.

    Attributes:
        name: as the command line has it.
        minutes: of one processor core.
        least_size: no input is made smaller than this.
        least_epochs: the input is made smaller before there are fewer.
    """

    name: str
    minutes: float
    least_size: int = 128
    least_epochs: int = 8


PACES = {pace.name: pace for pace in (Pace("hour", 60.0), Pace("medium", 20.0))}


@dataclass(frozen=True)
class Schedule:
    """What fits a pace, kept in a file so that a resumed run goes on with it.

    Attributes:
        epochs, size, precision: override the recipe's.
        seconds_per_picture: as measured, at `size`.
        cut: why it is less than asked for; "" where it is not.
    """

    epochs: int
    size: int
    precision: Literal["bf16", "float32"]
    seconds_per_picture: float
    cut: str = ""

    def budget(self, seed: int | None = None) -> Budget:
        """The recipe's overrides."""
        return Budget(epochs=self.epochs, size=self.size, seed=seed, precision=self.precision, fixed=True)


def schedule_of(row: Row) -> Schedule:
    """The schedule that a row was made by.

    Raises:
        DataError: it was made by none.
    """
    if not row.pace or row.compute is None or row.recipe is None:
        raise DataError(f"The row '{row.name}' was fitted to no time.", "Make it with `trainer compare all`.")
    cost, precision = row.compute, recipe_from_dict(row.recipe, row.name).optim.precision
    seconds = cost.minutes_of_one_core * 60 / max(1, cost.epochs * cost.train_images)
    return Schedule(cost.planned_epochs, cost.size, precision, round(seconds, 6), row.cut)


def schedule_for(plan: Plan, pace: Pace, pictures: int, kept: Path, known: Schedule | None = None) -> Schedule:
    """The stored schedule of a row, or the known one, or a new one from measured throughput; it is stored.

    The published size is taken where at least `least_epochs` fit; otherwise the largest smaller one, in steps of 32
    pixels, where they do, and the least size where none does.

    Args:
        plan: the row.
        pace: the time.
        pictures: that it learns from in an epoch.
        kept: JSON file of the schedule.
        known: taken where there is no such file.

    Raises:
        DataError: the file is no schedule.
    """
    if kept.is_file():
        try:
            return parse(Schedule, _read(kept))
        except (ValueError, SchemaError) as error:
            raise DataError(f"'{kept}' is no schedule: {error}.", "Delete it: it is measured again.") from error
    found = known or _fit(plan, pace, pictures)
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(kept, (json.dumps(dump(found), indent=1) + "\n").encode())
    return found


def seconds_per_picture(recipe: Recipe, enough: float = math.inf) -> tuple[float, Literal["bf16", "float32"]]:
    """Processor time of a training step a picture at the recipe's size, over the threads; and the faster precision.

    Not wall time: whatever else runs on the machine would cut the schedule. bf16 is tried where the processor has it.

    Args:
        recipe: what is trained.
        enough: seconds; what surely takes more is timed by a few steps alone.
    """
    found: dict[float, Literal["bf16", "float32"]] = {}
    candidates: list[Literal["bf16", "float32"]] = ["float32"]
    candidates += [recipe.optim.precision] if computes_bf16("cpu") else []
    for precision in dict.fromkeys(candidates):
        timed = replace(recipe, optim=replace(recipe.optim, precision=precision))
        found[_timed(timed, min([enough, *found]))] = precision
    best = min(found)
    return best, found[best]


def _fit(plan: Plan, pace: Pace, pictures: int) -> Schedule:
    published = round(plan.scale * plan.recipe.data.size)
    sizes = [published, *range((published - 1) // _STRIDE * _STRIDE, pace.least_size - 1, -_STRIDE)]
    recipes = dict(_sized(plan, sizes))
    for size, recipe in recipes.items():
        share = recipe.data.small_share if recipe.data.small_size else 0.0
        saved = (recipe.data.small_size or size) ** 2 / size**2
        steps = pictures * _BESIDE * (share * saved + 1 - share)
        last = size == min(recipes)
        enough = math.inf if last else pace.minutes * 60 / (steps * pace.least_epochs)
        seconds, precision = seconds_per_picture(recipe, enough)
        epoch = steps * seconds
        epochs = _whole(pace.minutes * 60 / epoch)
        if epochs >= pace.least_epochs or last:
            break
    asked = plan.recipe.optim.epochs
    cut = "" if epochs else f"one epoch takes {epoch / 60:.0f} minutes and the time is {pace.minutes:.0f}"
    return Schedule(max(1, min(epochs, asked)), size, precision, round(seconds, 6), cut)


def _whole(epochs: float) -> int:
    """The nearest number of epochs; the one below where the nearest takes over a tenth more than the time."""
    nearest = round(epochs)
    return nearest if nearest <= _OVER * epochs else int(epochs)


def _sized(plan: Plan, sizes: Iterable[int]) -> Iterator[tuple[int, Recipe]]:
    """The plan's recipe at those of the sizes that its network takes."""
    for size in sizes:
        with suppress(RecipeError):
            yield size, Budget(size=size).fit_recipe(plan.recipe, plan.scale)


def _timed(recipe: Recipe, enough: float = math.inf) -> float:
    """The quickest of a few steps; of two alone where both take more than `_HOPELESS` times what would be enough."""
    torch.manual_seed(0)
    config: OptimConfig = recipe.optim
    size, count = recipe.data.size, config.batch_size
    model = build_model(recipe).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    keep_strided_depthwise_in_float32(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    objective = Objective(recipe)
    masks = recipe.task != "classification"
    batch = Batch(
        images=torch.rand(count, 3, size, size).contiguous(memory_format=torch.channels_last),
        masks=(torch.rand(count, 1, size, size) > 0.5).float() if masks else None,
        labels=torch.arange(count) % len(class_names(recipe)) if recipe.task != "segmentation" else None,
        metadata=torch.zeros(count, 3) if recipe.data.metadata else None,
        styles=torch.zeros(count, dtype=torch.int64) if recipe.data.styles else None,
    )
    times = []
    for _ in range(_STEPS):
        started = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16"):
            outputs = model(*batch.inputs())
        loss = objective(outputs, batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        times.append((time.process_time() - started) / torch.get_num_threads())
        if len(times) > 1 and min(times) / count > _HOPELESS * enough:
            break
    return min(times) / count


def _read(path: Path) -> object:
    return json.loads(path.read_text(encoding="utf-8"))
