"""A network alone on pictures with labels: one row of numbers per picture, and figures per source.

Crops come from the true masks (or the recipe's outlines), so that a classifier is compared with others apart from any
segmenter. `trainer.scoring.predict` runs the whole path of a bundle instead.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax  # type: ignore[import-untyped]
from torch import nn
from torch.nn import functional as F

from edge_infer.files import write_atomically
from edge_infer.rules import Metric
from trainer.data.cache import CACHE_FOLDER
from trainer.data.ham10000 import Record
from trainer.errors import DataError
from trainer.recipe import Recipe
from trainer.scoring.metrics import (
    Measure,
    lesion_weights,
    mean_of,
    multiclass_measures,
    ranking_measures,
    show,
    with_intervals,
)
from trainer.training.checkpoint import Checkpoint, class_names
from trainer.training.loop import serving_batch
from trainer.training.tasks import picture_scores, serving_data, split_outputs

BATCH = 32
MACRO = "macro"
_SMALLEST = 1e-12


@dataclass(frozen=True)
class Scores:
    """What a network says about pictures, in their order.

    Attributes:
        records: the pictures.
        classes: names of the columns of `probabilities`; empty for segmenters.
        probabilities: float64, shape (n, classes).
        dice: float64, shape (n,), at threshold 0.5 and the network's size; None for classifiers.
    """

    records: tuple[Record, ...]
    classes: tuple[str, ...]
    probabilities: NDArray[np.float64]
    dice: NDArray[np.float64] | None


@torch.inference_mode()
def score(checkpoint: Checkpoint, records: Sequence[Record], cache: Path = CACHE_FOLDER) -> Scores:
    """Runs a network over pictures as they are served, without augmentation."""
    recipe, model = checkpoint.recipe, checkpoint.model.eval()
    data = serving_data(recipe, records, cache)
    probabilities, dice = [], []
    for start in range(0, len(data), BATCH):
        batch = serving_batch(recipe, data, np.arange(start, min(start + BATCH, len(data))))
        outputs = model(*batch.inputs())
        _, logits = split_outputs(recipe.task, outputs)
        if logits is not None:
            probabilities.append(F.softmax(logits.double(), 1).numpy())
        found = picture_scores(recipe, outputs, batch)
        if "dice" in found:
            dice.append(found["dice"].double().numpy())
    names = class_names(recipe)
    rows = np.concatenate(probabilities) if probabilities else np.zeros((len(data), 0))
    return Scores(tuple(records), names, rows, np.concatenate(dice) if dice else None)


def together(several: Sequence[Scores]) -> Scores:
    """What classifiers say whose logits are averaged, of the same pictures.

    Raises:
        DataError: one of them names other classes, or is no classifier.
    """
    first = several[0]
    same = all((one.classes, one.records) == (first.classes, first.records) for one in several)
    if not (first.classes and same):
        raise DataError(
            "These networks do not name the same classes of the same pictures.", "Give classifiers of one target."
        )
    logits = np.mean([np.log(np.maximum(one.probabilities, _SMALLEST)) for one in several], axis=0)
    return replace(first, probabilities=softmax(logits, axis=1), dice=None)


def figures(scores: Scores, resamples: int = 1000) -> dict[str, dict[str, Metric]]:
    """Figures by source, and of all sources with equal weight under `MACRO`, with intervals bootstrapped by lesion."""
    weights = lesion_weights([record.lesion_id for record in scores.records], resamples)
    return {name: with_intervals(own, weights) for name, own in measures_of(scores).items()}


def measures_of(scores: Scores) -> dict[str, dict[str, Measure]]:
    """What `figures` computes, as functions of the weights of all pictures: by source, and under `MACRO`."""
    sources = np.array([record.source for record in scores.records])
    found = {name: _measures(scores, sources == name) for name in dict.fromkeys(sources.tolist())}
    once = np.ones((1, len(sources)))
    defined = [{key for key, measure in own.items() if np.isfinite(measure(once)).all()} for own in found.values()]
    shared = [key for key in next(iter(found.values()), {}) if all(key in keys for keys in defined)]
    if len(found) > 1:
        found[MACRO] = {key: _mean([own[key] for own in found.values()]) for key in shared}
    return found


def table(found: Mapping[str, Mapping[str, Metric]]) -> str:
    """Markdown: a row per source, and the macro row last."""
    columns = list(dict.fromkeys(key for row in found.values() for key in row))
    lines = ["| source | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
    lines += [f"| {name} | " + " | ".join(show(row.get(key)) for key in columns) + " |" for name, row in found.items()]
    return "\n".join(lines) + "\n"


def write_scores(scores: Scores, path: Path) -> None:
    """Writes one CSV row per picture; probabilities to 5 digits."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    dice = ["dice"] if scores.dice is not None else []
    writer.writerow(["image_id", "source", "lesion_id", "dx", *(f"p_{name}" for name in scores.classes), *dice])
    for row, record in enumerate(scores.records):
        cells = [f"{value:.5f}" for value in scores.probabilities[row]]
        cells += [f"{scores.dice[row]:.5f}"] if scores.dice is not None else []
        writer.writerow([record.image_id, record.source, record.lesion_id, record.dx, *cells])
    write_atomically(path, stream.getvalue().encode())


@torch.inference_mode()
def pooled_features(
    recipe: Recipe, model: nn.Module, records: Sequence[Record], cache: Path = CACHE_FOLDER
) -> NDArray[np.float64]:
    """What enters a classifier's last linear layer, shape (n, features), for each picture as it is served."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    kept: list[NDArray[np.float64]] = []
    handle = layers[-1].register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0].double().numpy()))
    try:
        data = serving_data(recipe, records, cache)
        for start in range(0, len(data), BATCH):
            batch = serving_batch(recipe, data, np.arange(start, min(start + BATCH, len(data))))
            model.eval()(*batch.inputs())
    finally:
        handle.remove()
    return np.concatenate(kept)


def _measures(scores: Scores, among: NDArray[np.bool_]) -> dict[str, Measure]:
    rows = np.flatnonzero(among)
    if scores.dice is not None:
        dice = scores.dice[rows]
        failed = dice / (2 - dice) < 0.65
        own = {"dice": mean_of(dice), "jaccard_below_0.65": mean_of(failed)}
    else:
        label = "mel" if "mel" in scores.classes else scores.classes[-1]
        probabilities = scores.probabilities[rows]
        positive = np.array([scores.records[row].dx == label for row in rows])
        ranked = ranking_measures(probabilities[:, scores.classes.index(label)], positive)
        own = {key: ranked[key] for key in ("auc", "sensitivity_at_95_specificity")}
        truth = np.array([_position(scores.records[row].dx, scores.classes) for row in rows])
        known = np.flatnonzero(truth >= 0)
        if len(scores.classes) > 2 and len(known):
            named = multiclass_measures(probabilities[known], truth[known])["class_balanced_accuracy"]
            own["class_balanced_accuracy"] = _among(named, known)
    return {name: _among(measure, rows) for name, measure in own.items()}


def _position(dx: str, classes: tuple[str, ...]) -> int:
    return classes.index(dx) if dx in classes else -1


def _among(measure: Measure, rows: NDArray[np.intp]) -> Measure:
    return lambda weights: measure(weights[:, rows])


def _mean(measures: Sequence[Measure]) -> Measure:
    return lambda weights: np.asarray(np.mean([measure(weights) for measure in measures], axis=0))
