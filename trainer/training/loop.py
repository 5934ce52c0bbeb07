"""The training loop of both stages, read from top to bottom in `train`."""

from __future__ import annotations

import csv
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from trainer.data.cache import CACHE_FOLDER
from trainer.data.ham10000 import Record
from trainer.data.transforms import augment_batch, normalize, to_float
from trainer.errors import CheckpointError, RecipeError
from trainer.recipe import OptimConfig, Recipe, recipe_from_dict
from trainer.training.checkpoint import (
    BEST,
    FORMAT,
    build_model,
    class_names,
    init_weights,
    read_file,
    save_atomic,
    writing,
)
from trainer.training.curves import plot_history
from trainer.training.distill import load_teachers
from trainer.training.distributed import ALONE, World
from trainer.training.events import EventLog
from trainer.training.identity import RunIdentity
from trainer.training.precision import autocast, computes_bf16, keep_strided_depthwise_in_float32
from trainer.training.tasks import (
    Batch,
    Dataset,
    Objective,
    monitored,
    picture_scores,
    serving_data,
    summarise,
    training_data,
)

POLY_POWER = 0.9

Rows = NDArray[np.int64]
"""Positions of a batch's pictures in their split, shape (n,)."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended: the best epoch (from 1), its validation metrics, and epochs done."""

    best_epoch: int
    best_metrics: dict[str, float]
    epochs: int


def train(
    recipe: Recipe,
    train_records: Sequence[Record],
    val_records: Sequence[Record],
    out: Path,
    *,
    weights: Path | None = None,
    fold: int | None = None,
    split: str = "",
    limit: int | None = None,
    measured: Sequence[Record] = (),
    resume: bool = True,
    stop_after: int | None = None,
    cache: Path = CACHE_FOLDER,
    device: str = "cpu",
    world: World = ALONE,
    after_epoch: Callable[[dict[str, float]], bool] | None = None,
) -> Outcome:
    """Trains one network: `best.pt`, `last.pt`, `history.csv`, `curves.png`, `recipe.json`, `tensorboard/` in `out`.

    Randomness of an epoch (order, augmentation, dropout) follows from the recipe's seed and the epoch's number alone,
    so a resumed run gives the same weights, bit for bit, as one that was never interrupted.

    Several processes run this together, each with its part of every batch (and its own randomness of augmentation and
    dropout) and of the validation pictures; their weights stay the same, and rank 0 writes the files.

    Args:
        recipe: what to train.
        train_records: pictures whose gradients are followed.
        val_records: pictures that choose the best epoch (they only watch where the recipe has folds); may be empty.
        out: folder of the run; made where missing.
        weights: partial initialisation of a fresh run, see `trainer.training.checkpoint.init_weights`.
        fold: the fold of which `val_records` are, where the recipe has folds.
        split: name of the protocol that the records are of; with `fold` and `limit` it belongs to the run's identity.
        limit: how many pictures of each split were taken; None: all.
        measured: what else the network will be measured on, such as the test split; no teacher may know its lesions.
        resume: continue from `out/last.pt` where it exists; False begins again and overwrites.
        stop_after: leave after this many epochs of the schedule, as if interrupted.
        cache: folder of decoded pictures.
        device: `cpu` or `cuda`.
        world: the processes that train together.
        after_epoch: called with each epoch's row of the history; True ends the run there.

    Raises:
        CheckpointError: `out` holds a run of another recipe, or on other pictures.
        DataError: a picture or mask is missing or unreadable.
        LeakError: a teacher has learnt from a lesion of `val_records` or `measured`.
        RecipeError: the recipe has members; each is a run of its own, see `trainer.training.members`.
    """
    if recipe.members > 1:
        raise RecipeError(f"'{recipe.name}' is an ensemble.", "Train its members, each by itself.")
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    last = out / "last.pt"
    state = world.from_lead(read_file(last) if world.leads and resume and last.is_file() else None)
    identity = RunIdentity.of(train_records, val_records, split, fold, limit)
    if state is not None:
        _check_same_run(out, recipe, identity, state)
        if state["epoch"] >= recipe.optim.epochs and (out / BEST).is_file():
            return Outcome(int(state["best"]["epoch"]), state["best"], len(state["history"]))
    with world.one_a_machine_first():
        train_set = training_data(recipe, train_records, cache)
        val_set = serving_data(recipe, val_records, cache) if val_records else None
    teachers = load_teachers(recipe, [*val_records, *measured], train_records, device)
    torch.manual_seed(recipe.seed)
    model = build_model(recipe)
    if state is None and weights is not None and world.leads:
        _say(f"{weights}: {init_weights(model, weights).describe()}")

    config = recipe.optim
    if config.precision == "bf16" and not computes_bf16(device):
        _say("this processor has no bf16 arithmetic: precision = 'float32' is about ten times as fast here", world)
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network = world.wrap(model, device)
    average = WeightAverage(model, config.ema, config.ema_ramp)
    if device == "cpu":
        keep_strided_depthwise_in_float32(model)
    optimizer = torch.optim.AdamW(_parameter_groups(model, config.weight_decay), lr=config.learning_rate)
    drawn = recipe.data.epoch_pictures or len(train_set)
    steps = len(_batches(np.arange(drawn), config.batch_size))
    _say(average.describe(steps * config.epochs), world)
    schedule = LambdaLR(optimizer, lambda step: rate_factor(step, steps * config.epochs, config))
    counts = None if train_set.labels is None else _class_counts(train_set.labels, len(class_names(recipe)))
    objective = Objective(recipe, counts).to(device)
    chosen_by = monitored(recipe)
    history: list[dict[str, float]] = []
    best: dict[str, float] = {}
    first = 0
    if state is not None:
        model.load_state_dict(state["model"])
        average.weights = {name: value.to(device) for name, value in state["weights"].items()}
        average.step = state["average_step"]
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        history, best, first = state["history"], state["best"], state["epoch"]
        _say(f"resuming {out} after epoch {first}", world)
    events = EventLog(out, average.step)
    if world.leads:
        with writing(out):
            (out / "recipe.json").write_text(json.dumps(recipe.to_dict(), indent=2) + "\n", encoding="utf-8")
            (out / "run.json").write_text(json.dumps(identity.to_dict(), indent=2) + "\n", encoding="utf-8")

    for epoch in range(first, min(config.epochs, stop_after or config.epochs)):
        if config.patience and best and epoch - best["epoch"] >= config.patience:
            _say(f"no better {chosen_by} for {config.patience} epochs: stopping", world)
            break
        started, worked = time.monotonic(), time.process_time()
        torch.manual_seed(_epoch_seed(recipe.seed, epoch))
        order = sampling_order(recipe, train_set)
        if world.size > 1:
            torch.manual_seed(_epoch_seed(recipe.seed, epoch, world.rank + 1))
        size = _size_in(recipe, epoch)
        network.train()
        losses: list[float] = []
        bar = tqdm(
            _batches(order, config.batch_size),
            desc=f"{recipe.name} {epoch + 1}/{config.epochs}",
            unit="step",
            disable=not world.leads,
            mininterval=0.2 if sys.stderr.isatty() else 30.0,
        )
        for rows in bar:
            mine, weight = world.share(rows)
            batch = training_batch(recipe, train_set, mine, max(size, teachers.size if teachers else 0), device)
            with autocast(config, device):
                hints = teachers(batch, mine) if teachers else None
                batch = batch.resized(size)
                outputs = network(*batch.inputs())
            loss = objective(outputs, batch)
            if teachers and hints:
                loss = teachers.mix(loss, outputs, hints)
            loss = weight * loss
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if config.clip_norm:
                nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            optimizer.step()
            schedule.step()
            world.average_buffers(model, device)
            average.update(model)
            losses.append(float(loss.detach()))
            bar.set_postfix(loss=f"{np.mean(losses[-50:]):.4f}", refresh=False)

        losses = world.mean(losses)
        row = {"epoch": float(epoch + 1), "size": float(size), "train_loss": float(np.mean(losses))}
        if val_set is not None and _validates(config, epoch):
            row |= validate(recipe, average.applied_to(recipe, device), val_set, device, world)
        row |= {"learning_rate": float(schedule.get_last_lr()[0]), "seconds": time.monotonic() - started}
        row["cpu_seconds"] = time.process_time() - worked
        history.append(row)
        _say("  ".join(f"{key} {value:.5g}" for key, value in row.items()), world)
        content: dict[str, Any] = {"format": FORMAT, "recipe": recipe.to_dict(), "epoch": epoch + 1, "metrics": row}
        content["held_out"] = [record.image_id for record in val_records]
        content |= {"identity": identity.to_dict(), "learnt_lesions": sorted({r.lesion_id for r in train_records})}
        content["weights"] = {name: value.detach().cpu() for name, value in average.weights.items()}
        improved = bool(recipe.folds) or config.keep == "last" or is_better(row, best, chosen_by)
        best = row if improved else best
        if world.leads:
            if improved:
                save_atomic(content, out / "best.pt")
            content |= {"model": model.state_dict(), "average_step": average.step, "optimizer": optimizer.state_dict()}
            content |= {"schedule": schedule.state_dict(), "history": history, "best": best}
            with writing(out):
                _write_history(history, out / "history.csv")
                plot_history(history, chosen_by, out / "curves.png")
                events.add_epoch(row, losses)
            # Last of all: an epoch that is not in it is done again, and writes the others once more.
            save_atomic(content, last)
        if after_epoch is not None and after_epoch(row):
            break
    events.close()
    return Outcome(int(best["epoch"]), best, len(history))


@torch.inference_mode()
def validate(
    recipe: Recipe, model: nn.Module, data: Dataset, device: str = "cpu", world: World = ALONE
) -> dict[str, float]:
    """A network in eval mode on serving-size pictures: `val_loss` and `trainer.training.tasks.summarise`.

    Epochs that train at `data.small_size` are validated at the serving size too, where they look worse than they are.
    The processes of `world` take batches in turn, and all get the same result.
    """
    objective = Objective(recipe).to(device)
    batches = _batches(np.arange(len(data)), recipe.optim.batch_size)
    found: dict[int, tuple[float, dict[str, Tensor]]] = {}
    for number in range(world.rank, len(batches), world.size):
        batch = serving_batch(recipe, data, batches[number], device)
        with autocast(recipe.optim, device):
            outputs = model(*batch.inputs())
        found[number] = float(objective(outputs, batch)), picture_scores(recipe, outputs, batch)
    everyone = {number: result for part in world.gather(found) for number, result in part.items()}
    losses = [everyone[number][0] for number, rows in enumerate(batches) for _ in rows]
    parts = [everyone[number][1] for number in range(len(batches))]
    scores = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return {"val_loss": float(np.mean(losses))} | summarise(recipe, scores)


def serving_batch(recipe: Recipe, data: Dataset, rows: Rows, device: str = "cpu") -> Batch:
    """Pictures as the network sees them in use, without augmentation."""
    images = to_float(_pick(data.arrays.images, rows).to(device))
    masks = (
        _pick(data.arrays.masks, rows) if recipe.task != "classification" and data.arrays.masks is not None else None
    )
    return _batch(recipe, data, rows, images, masks, device)


def training_batch(recipe: Recipe, data: Dataset, rows: Rows, size: int, device: str = "cpu") -> Batch:
    """Augmented pictures of size x size pixels."""
    images = _pick(data.arrays.images, rows).to(device)
    masks = None
    if recipe.task != "classification" and data.arrays.masks is not None:
        masks = _pick(data.arrays.masks, rows).to(device)
    frames = None if data.arrays.frames is None else _pick(data.arrays.frames, rows)
    pictures, moved = augment_batch(images, masks, frames, recipe.augment, size)
    batch = _batch(recipe, data, rows, pictures, moved, device)
    return batch if data.styles is None else replace(batch, styles=_pick(data.styles, rows).to(device))


def rate_factor(step: int, total: int, config: OptimConfig) -> float:
    """The learning rate at a step as a fraction of its peak: a cosine climb from 1/25, then cosine or poly to zero."""
    warm = max(1, round(total * config.warmup)) if config.warmup else 0
    if step < warm:
        return 1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * step / warm)) / 2
    done = min(1.0, (step - warm) / max(1, total - warm))
    return float((1 - done) ** POLY_POWER) if config.schedule == "poly" else (1 + math.cos(math.pi * done)) / 2


def is_better(row: dict[str, float], best: dict[str, float], metric: str) -> bool:
    """Whether an epoch beats the best one so far; an undefined metric (NaN) never stays the best."""
    return not best or metric not in row or not row[metric] <= best[metric]


class WeightAverage:
    """Exponential moving average of weights and BatchNorm statistics; young averages forget faster.

    The decay at step t is min(decay, (1 + t) / (ramp + t)), so that the random start is soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float, ramp: float = 10.0) -> None:
        self.decay = decay
        self.ramp = ramp
        self.step = 0
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Moves the average towards the model's present weights."""
        self.step += 1
        share = 1 - self.decay_at(self.step)
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.weights[name].lerp_(value, share)
            else:
                self.weights[name].copy_(value)

    def decay_at(self, step: int) -> float:
        """What the average keeps of itself at a step, counted from 1."""
        return min(self.decay, (1 + step) / (self.ramp + step))

    def describe(self, steps: int) -> str:
        """One line for the log: over how many of a run's steps the average reaches in the end."""
        covered = 1 / max(1 - self.decay_at(steps), 1 / max(1, steps))
        return f"{steps} steps; at their end the average of the weights covers about the last {covered:.0f}"

    def applied_to(self, recipe: Recipe, device: str) -> nn.Module:
        """A network in eval mode with the average as its weights."""
        model = build_model(recipe)
        model.load_state_dict(self.weights)
        return model.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]


def _batch(recipe: Recipe, data: Dataset, rows: Rows, images: Tensor, masks: Tensor | None, device: str) -> Batch:
    return Batch(
        images=normalize(images, recipe.normalization).contiguous(memory_format=torch.channels_last),
        masks=None if masks is None else masks.unsqueeze(1).float().to(device),
        labels=None if data.labels is None else _pick(data.labels, rows).to(device),
        metadata=None if data.metadata is None else _pick(data.metadata, rows).to(device),
    )


def _pick(array: np.ndarray[Any, Any], rows: Rows) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array[rows]))


def sampling_order(recipe: Recipe, data: Dataset) -> Rows:
    """Positions of the pictures that one epoch visits, as `data.sampling` says, from torch's random generator."""
    if data.chances is not None:
        count = recipe.data.epoch_pictures or len(data)
        chosen: Rows = torch.multinomial(torch.from_numpy(data.chances), count, replacement=True).numpy()
        return chosen
    if recipe.data.sampling == "balanced" and data.labels is not None:
        names = data.labels - data.labels.min()  # where a diagnosis is not stated, it counts as one of its own
        counts = np.bincount(names)
        chances = torch.from_numpy(1.0 / counts[names])
        drawn: Rows = torch.multinomial(chances, len(data), replacement=True).numpy()
        return drawn
    order: Rows = torch.randperm(len(data)).numpy()
    return order


def _batches(order: Rows, size: int) -> list[Rows]:
    """Batches in order. A last picture on its own joins the batch before it: batch norm cannot learn from one."""
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [np.concatenate(batches[-2:])]
    return batches


def _check_same_run(out: Path, recipe: Recipe, identity: RunIdentity, state: dict[str, Any]) -> None:
    """Raises CheckpointError where a folder holds a run of another recipe or on other pictures."""
    if recipe_from_dict(state["recipe"], where=str(out)) != recipe:
        raise CheckpointError(f"{out} holds a run of another recipe.", "Choose another folder, or begin again.")
    if differences := identity.differences(RunIdentity.stored_in(state)):
        raise CheckpointError(
            f"{out} holds a run of the same recipe that differs in {' and '.join(differences)}.",
            "Choose another folder, give the same options, or begin again with --fresh.",
        )


def _validates(config: OptimConfig, epoch: int) -> bool:
    """Whether to validate after an epoch, from 0."""
    last = epoch + 1 == config.epochs
    return last or (config.validate_every > 0 and (epoch + 1) % config.validate_every == 0)


def _class_counts(labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = np.bincount(labels[labels >= 0], minlength=classes)
    return counts


def _size_in(recipe: Recipe, epoch: int) -> int:
    small = recipe.data.small_size
    return small if small and epoch < round(recipe.optim.epochs * recipe.data.small_share) else recipe.data.size


def _epoch_seed(seed: int, epoch: int, *rank: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, *rank]).generate_state(1)[0])


def _parameter_groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    parameters = [value for value in model.parameters() if value.requires_grad]
    return [
        {"params": [value for value in parameters if value.ndim > 1], "weight_decay": decay},
        {"params": [value for value in parameters if value.ndim <= 1], "weight_decay": 0.0},
    ]


def _write_history(history: list[dict[str, float]], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(dict.fromkeys(key for row in history for key in row)))
        writer.writeheader()
        writer.writerows(history)


def _say(text: str, world: World = ALONE) -> None:
    if not world.leads:
        return
    tqdm.write(text, file=sys.stderr)
    sys.stderr.flush()
