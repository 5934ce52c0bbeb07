"""One network over labelled pictures: the serving path of `trainer.scoring.predict`, also for what is no bundle.

Networks run at their recipe's precision and on any device, as in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge_infer.files import write_atomically
from edge_infer.rules import InputSpec
from edge_infer.steps.image import open_picture
from edge_infer.steps.mask import clean_mask
from edge_infer.steps.resize import resize, to_batch
from trainer.data.ham10000 import Record
from trainer.errors import DataError
from trainer.scoring.measures import true_areas
from trainer.scoring.networks import (
    _WHOLE,
    NO_LIMITS,
    REFERENCE_SIZE,
    Networks,
    Segmenter,
    TorchNetwork,
    _named,
    _no_classes,
    _no_map,
    _tiny,
)
from trainer.scoring.predict import Rules, predict
from trainer.scoring.predictions import Prediction, RoiSource
from trainer.training.checkpoint import Checkpoint, class_names


def predict_with(
    checkpoint: Checkpoint,
    records: Sequence[Record],
    *,
    roi: RoiSource = "truth",
    segmenter: Segmenter | None = None,
    device: str = "cpu",
    views: int = 1,
    batch_size: int = 16,
) -> list[Prediction]:
    """Runs a network over the records, in order.

    Networks that segment see the whole picture and leave masks' counts; joint ones leave probabilities too. Classifiers
    leave no counts: masks around which they were shown a crop are not theirs. Classifiers
    without an ROI see the whole picture whatever `roi` says.

    Args:
        checkpoint: the trained network.
        records: labelled pictures with masks.
        roi: for classifiers on crops, where the crop comes from.
        segmenter: gives the masks where `roi` is "predicted".
        device: `cpu` or `cuda`.
        views: mirrored copies that a classifier averages over; see `trainer.models.serving.mean_over_views`.
        batch_size: pictures per call.

    Raises:
        DataError: several views of what is no classifier of pictures alone; a predicted ROI without a segmenter or
            with metadata; with metadata, a true mask is empty.
    """
    recipe = checkpoint.recipe
    network = TorchNetwork(checkpoint, device, views)
    spec, labels = InputSpec("image", recipe.data.size, recipe.data.size), class_names(recipe)
    if views > 1 and (recipe.task != "classification" or recipe.data.metadata):
        raise DataError(f"{recipe.name} cannot average over {views} views.", "Use a classifier of pictures alone.")
    if recipe.task != "classification":
        rules = Rules(spec, _tiny(), (), NO_LIMITS, _WHOLE)
        found = list(predict(records, rules, Networks(network.segment, _no_classes), batch_size=batch_size))
        rows = network.answers
        if not rows:
            return found
        return [replace(p, reason="", probabilities=_named(labels, row)) for p, row in zip(found, rows, strict=True)]
    source: RoiSource = "whole" if recipe.data.roi is None else roi
    if source == "predicted" and segmenter is None:
        raise DataError("There is no segmenter for predicted crops.", "Give --segmenter.")
    if recipe.data.metadata:
        if source == "predicted":
            raise DataError(f"{recipe.name} is evaluated on ground-truth crops only.", "Use the true masks.")
        network.follow(records)
    first = segmenter.spec if segmenter and source == "predicted" else _tiny(64)
    rule = segmenter.rule if segmenter and source == "predicted" else NO_LIMITS
    rules = Rules(first, spec, labels, rule, recipe.data.roi or _WHOLE)
    run = segmenter.run if segmenter else _no_map
    found = list(predict(records, rules, Networks(run, network.classify), roi=source, batch_size=batch_size))
    if recipe.data.metadata and not all(p.probabilities for p in found):
        raise DataError("A true mask is empty, so pictures and metadata do not pair up.", "Remove the picture.")
    return [replace(p, raw=None, clean=None) for p in found]


def write_predicted_masks(segmenter: Segmenter, records: Sequence[Record], folder: Path) -> list[Record]:
    """The records with the segmenter's outlines in place of the true ones, one PNG each in `folder`.

    A picture in which it finds no lesion keeps its true mask: serving would refuse it, training needs a crop.
    """
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    for record in tqdm(records, unit="picture", desc="predicted masks"):
        path = folder / f"{record.image_id}.png"
        if not path.is_file():
            picture = resize(open_picture(record.image_path).pixels, segmenter.spec.height, segmenter.spec.width)
            mask = clean_mask(segmenter.run(to_batch([picture]))[0], segmenter.rule.threshold)
            if not mask.any():
                changed.append(record)
                continue
            write_atomically(path, cv2.imencode(".png", mask * 255)[1].tobytes())
        changed.append(replace(record, mask_path=path))
    return changed


def reference_masks(kind: str, train_records: Sequence[Record], seed: int = 0) -> Segmenter:
    """A segmenter that learnt nothing: `random` decides each pixel by coin, `constant-negative` finds no lesion.

    `ellipse` always answers with a centred ellipse that has the picture's shape and the mean area of the training
    masks.
    """
    size = REFERENCE_SIZE
    spec = InputSpec("image", size, size)
    draws = np.random.default_rng(seed)
    centred = np.zeros((size, size), np.float32)
    if kind == "ellipse":
        radius = size * np.sqrt(true_areas(train_records, progress=False).mean() / np.pi)
        cv2.ellipse(centred, (size // 2, size // 2), (round(radius), round(radius)), 0, 0, 360, 1.0, cv2.FILLED)

    def run(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        if kind == "random":
            return draws.random((len(batch), size, size), np.float32)
        return np.repeat(centred[None], len(batch), 0)

    return Segmenter(kind, spec, run)


def predict_masks(segmenter: Segmenter, records: Sequence[Record], batch_size: int = 16) -> list[Prediction]:
    """Masks' counts alone, without any class."""
    rules = Rules(segmenter.spec, _tiny(), (), segmenter.rule, _WHOLE)
    return list(predict(records, rules, Networks(segmenter.run, _no_classes), batch_size=batch_size))


def reference_classes(
    kind: str, found: Sequence[Prediction], labels: Sequence[str], majority: str, seed: int = 0
) -> list[Prediction]:
    """The same pictures with answers that learnt nothing.

    `random` draws the probabilities evenly from all that sum to 1 (for two classes: evenly from 0 to 1);
    `constant-negative` is certain of the majority class.
    """
    draws = np.random.default_rng(seed)
    answers = []
    for prediction in found:
        if kind == "constant-negative":
            row = np.array([float(label == majority) for label in labels])
        else:
            row = draws.dirichlet(np.ones(len(labels)))
        answers.append(replace(prediction, roi="whole", reason="", probabilities=_named(labels, row)))
    return answers
