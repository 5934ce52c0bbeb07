"""Single pictures through both stages, kept with every step that a figure shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_infer.bundle.golden import Network
from edge_infer.bundle.store import load_bundle
from edge_infer.geometry import Box
from edge_infer.rules import InputSpec
from edge_infer.steps.crop import crop_roi, lesion_box, roi_box
from edge_infer.steps.image import open_picture
from edge_infer.steps.mask import clean_mask, restore_mask
from edge_infer.steps.resize import resize, to_batch
from trainer.data.ham10000 import MELANOMA, Record, read_mask
from trainer.errors import DataError
from trainer.recipe import Recipe
from trainer.scoring.ledger import decisions_hash
from trainer.scoring.networks import TorchNetwork, open_segmenter
from trainer.scoring.origin import digest, digest_files
from trainer.scoring.predict import Rules
from trainer.scoring.predictions import Counts, Prediction, overlap
from trainer.training.checkpoint import class_names, load_checkpoint

HALF = 0.5


@dataclass(frozen=True)
class Seer:
    """Both stages with their rules.

    Attributes:
        name: for titles.
        rules: sizes and thresholds.
        segment: the first stage.
        classify: the second; None shows no decision.
        positive: the class that is decided about.
        threshold: at or above it the decision is positive.
        point: the threshold's name.
        what: the bundle and its version, or the checkpoints, for the ledger of `test`.
        identity: hash of networks and rules, likewise.
    """

    name: str
    rules: Rules
    segment: Network
    classify: Network | None
    positive: str
    threshold: float
    point: str
    what: str
    identity: str


@dataclass(frozen=True)
class Case:
    """One picture and what became of it.

    Attributes:
        record: label and metadata.
        picture: RGB uint8, shape (h, w, 3).
        truth, mask: uint8 0/1, shape (h, w): the true lesion, None where the picture has no mask; the predicted one.
        dice: of the predicted mask at the true mask's own size, as in the tables; None without a true mask.
        box: the crop's rectangle; None where no lesion was found.
        crop: RGB uint8, shape (s, s, 3), as the classifier sees it; None likewise.
        probabilities: by class; empty without a crop or a classifier.
    """

    record: Record
    picture: NDArray[np.uint8]
    truth: NDArray[np.uint8] | None
    mask: NDArray[np.uint8]
    dice: float | None
    box: Box | None
    crop: NDArray[np.uint8] | None
    probabilities: dict[str, float]


def open_bundle(name: str) -> Seer:
    """A bundle by path or name, at its default operating point."""
    from trainer.scoring.networks import open_onnx

    bundle = load_bundle(name)
    manifest = bundle.manifest
    networks = open_onnx(bundle.path)
    point = next(p for p in manifest.operating_points if p.name == manifest.default_operating_point)
    rules = Rules.of_manifest(manifest)
    return Seer(
        f"bundle {manifest.name}",
        rules,
        networks.segment,
        networks.classify,
        MELANOMA,
        point.threshold,
        point.name,
        f"{manifest.name} {manifest.version}",
        decisions_hash(manifest),
    )


def open_checkpoints(segmenter: str, classifier: Path | None, device: str = "cpu") -> Seer:
    """A segmenter's checkpoint (or bundle) and a classifier's, which decides at 0.5.

    Raises:
        DataError: the classifier takes no crop, or metadata.
    """
    from edge_infer.rules import RoiRule

    first = open_segmenter(segmenter, device)
    if classifier is None:
        rules = Rules(first.spec, InputSpec("image", 224, 224), (), first.rule, RoiRule("keep", 0.0))
        return Seer(first.name, rules, first.run, None, "mel", HALF, "0.5", segmenter, first.identity)
    checkpoint = load_checkpoint(classifier)
    recipe = checkpoint.recipe
    if recipe.task != "classification" or recipe.data.roi is None or recipe.data.metadata:
        raise DataError(f"{classifier} does not name a lesion from its crop alone.", "Give another classifier.")
    spec, labels = InputSpec("image", recipe.data.size, recipe.data.size), class_names(recipe)
    rules = Rules(first.spec, spec, labels, first.rule, recipe.data.roi)
    classify = TorchNetwork(checkpoint, device).classify
    positive = "bkl" if recipe.data.target == "keratosis" else "mel"
    what, identity = f"{segmenter} + {classifier}", digest([first.identity, digest_files((classifier,))])
    return Seer(f"{first.name}, {recipe.name}", rules, first.run, classify, positive, HALF, "0.5", what, identity)


def look(record: Record, seer: Seer) -> Case:
    """Takes one picture through both stages."""
    rules = seer.rules
    picture = open_picture(record.image_path).pixels
    height, width = picture.shape[:2]
    small = resize(picture, rules.segmenter_input.height, rules.segmenter_input.width)
    found = clean_mask(seer.segment(to_batch([small]))[0], rules.mask.threshold)
    truth = None if record.mask_path is None else read_mask(record.mask_path)
    counts: Counts | None = None if truth is None else overlap(found, truth)
    mask = restore_mask(found, height, width)
    lesion = lesion_box(mask)
    box = None if lesion is None else roi_box(lesion, height, width, rules.roi.margin, rules.roi.outside)
    crop, answers = None, {}
    if box is not None:
        crop = crop_roi(picture, mask, box, rules.roi, rules.classifier_input.height)
        if seer.classify is not None:
            row = seer.classify(to_batch([crop]))[0]
            answers = {label: float(value) for label, value in zip(rules.labels, row, strict=True)}
    shown = None if truth is None else restore_mask(truth, height, width)
    return Case(record, picture, shown, mask, None if counts is None else counts.dice, box, crop, answers)


def view_of(record: Record, recipe: Recipe) -> NDArray[np.uint8]:
    """What a classifying network is shown, RGB uint8, shape (s, s, 3): the crop around the true mask, or the picture.

    Raises:
        DataError: the true mask is empty.
    """
    picture, side = open_picture(record.image_path).pixels, recipe.data.size
    if recipe.data.roi is None:
        return resize(picture, side, side)
    height, width = picture.shape[:2]
    mask = restore_mask(read_mask(record.mask_path), height, width)
    lesion = lesion_box(mask)
    if lesion is None:
        raise DataError(f"{record.mask_path} is empty: there is no lesion to crop.", "Name another picture.")
    rule = recipe.data.roi
    return crop_roi(picture, mask, roi_box(lesion, height, width, rule.margin, rule.outside), rule, side)


def mistakes(predictions: Sequence[Prediction], count: int, positive: str = MELANOMA) -> dict[str, list[str]]:
    """Image ids of what a bundle gets most wrong, `count` of each kind at most.

    Missed melanomas, false alarms, the worst outlines, and good pictures that were refused.

    Raises:
        DataError: none of the predictions is of a labelled picture with an answer.
    """
    answered = [p for p in predictions if p.dx and not p.reason and positive in p.probabilities]
    if not answered:
        raise DataError("No prediction has an answer and a diagnosis.", "Give those of a bundle's split.")
    by_score = sorted(answered, key=lambda p: p.probabilities[positive])
    outlined = sorted((p for p in predictions if p.clean is not None), key=lambda p: p.clean.dice if p.clean else 1.0)
    found = {
        "missed": [p for p in by_score if p.dx == positive],
        "false alarm": [p for p in reversed(by_score) if p.dx != positive],
        "outline": outlined,
        "refused": [p for p in predictions if p.reason],
    }
    return {kind: [p.image_id for p in items[:count]] for kind, items in found.items()}


def extremes(predictions: Sequence[Prediction], count: int) -> dict[str, list[str]]:
    """Image ids of the best, the median and the worst pictures by Dice after clean-up, `count` of each.

    Raises:
        DataError: the predictions hold no masks, or too few pictures.
    """
    known = sorted(((p.clean.dice, p.image_id) for p in predictions if p.clean is not None), reverse=True)
    if len(known) < 3 * count:
        raise DataError(f"{len(known)} pictures have a mask, {3 * count} are needed.", "Lower --count.")
    middle = (len(known) - count) // 2
    chosen = {"best": known[:count], "median": known[middle : middle + count], "worst": known[-count:][::-1]}
    return {name: [image_id for _, image_id in found] for name, found in chosen.items()}
