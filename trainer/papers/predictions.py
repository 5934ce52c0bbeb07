"""One network over labelled pictures: the serving path of `trainer.scoring.predict`, also for what is no bundle.

Networks run at their recipe's precision and on any device, as in training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from edge_infer.bundle.golden import Network
from edge_infer.bundle.manifest import InputSpec, MaskRule, RoiRule, load_bundle
from edge_infer.files import write_atomically
from edge_infer.steps.image import open_picture
from edge_infer.steps.mask import clean_mask
from edge_infer.steps.resize import resize, to_batch
from trainer.choices.operating_points import true_areas
from trainer.data.ham10000 import Record
from trainer.data.metadata import encode_metadata
from trainer.data.transforms import normalize, to_float
from trainer.errors import DataError
from trainer.models.serving import mean_over_views
from trainer.scoring.predict import Networks, Prediction, RoiSource, Rules, predict
from trainer.training.checkpoint import Checkpoint, class_names, load_checkpoint
from trainer.training.tasks import split_outputs

MASK_THRESHOLD = 0.5
NO_LIMITS = MaskRule(MASK_THRESHOLD, 0.0, 1.0)
"""Every mask is taken; only where there is none at all is there no crop."""

REFERENCE_SIZE = 256
_WHOLE = RoiRule("keep", 0.0)


@dataclass(frozen=True)
class Segmenter:
    """What gives the predicted outlines.

    Attributes:
        name: for tables.
        spec: its input.
        run: uint8 RGB (n, h, w, 3) to float32 probability maps (n, h, w).
        identity: SHA-256 of the file that it comes from, "" where there is none.
        rule: threshold of its maps; no area is refused.
    """

    name: str
    spec: InputSpec
    run: Network
    identity: str = ""
    rule: MaskRule = NO_LIMITS


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


def open_segmenter(path: str, device: str = "cpu") -> Segmenter:
    """The segmenter of a checkpoint (`best.pt`), or of a bundle by its path or name.

    Raises:
        EdgeInferError: neither is there, or it cannot be read.
    """
    if Path(path).suffix == ".pt":
        checkpoint = load_checkpoint(path)
        if checkpoint.recipe.task == "classification":
            raise DataError(f"{path} does not segment.", "Give the checkpoint of a segmenter.")
        size = checkpoint.recipe.data.size
        network, identity = TorchNetwork(checkpoint, device), hashlib.sha256(Path(path).read_bytes()).hexdigest()
        return Segmenter(checkpoint.recipe.name, InputSpec("image", size, size), network.segment, identity)
    from trainer.bundle.write import open_onnx

    bundle = load_bundle(path)
    manifest = bundle.manifest
    rule = MaskRule(manifest.mask.threshold, 0.0, 1.0)
    spec, file = manifest.segmenter.input, manifest.files[manifest.segmenter.files["onnx"]]
    return Segmenter(f"bundle {manifest.name}", spec, open_onnx(bundle.path).segment, file.sha256, rule)


class TorchNetwork:
    """A torch network as the callables that `trainer.scoring.predict.predict` takes.

    `answers` keeps a joint network's class probabilities, one row a picture, in the order in which they were segmented.
    """

    def __init__(self, checkpoint: Checkpoint, device: str, views: int = 1) -> None:
        self.recipe, self.device, self.views = checkpoint.recipe, device, views
        self.model: nn.Module = checkpoint.model.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.answers: list[NDArray[np.float32]] = []
        self._metadata: Iterator[NDArray[np.float32]] | None = None

    def follow(self, records: Sequence[Record]) -> None:
        """The next calls' pictures are these records' in order, whose metadata the network takes too."""
        self._metadata = iter(encode_metadata(records))

    def segment(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        mask_logits, class_logits = split_outputs(self.recipe.task, self._run(batch))
        if class_logits is not None:
            self.answers += list(_array(torch.softmax(class_logits.float(), 1)))
        assert mask_logits is not None
        return _array(torch.sigmoid(mask_logits.float()).squeeze(1))

    def classify(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        return _array(torch.softmax(self._run(batch).float(), 1))

    def probabilities(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Class probabilities of RGB uint8 pictures, shape (s, s, 3) each: float32, shape (n, classes)."""
        class_logits = split_outputs(self.recipe.task, self._run(to_batch(list(pictures))))[1]
        assert class_logits is not None
        return _array(torch.softmax(class_logits.float(), 1))

    @torch.inference_mode()
    def _run(self, batch: NDArray[np.uint8]) -> Any:
        images = normalize(to_float(torch.from_numpy(batch).to(self.device)), self.recipe.normalization)
        inputs = [images.contiguous(memory_format=torch.channels_last)]
        if self._metadata is not None:
            rows = np.stack([next(self._metadata) for _ in batch])
            inputs.append(torch.from_numpy(rows).to(self.device))
        with torch.autocast(self.device, torch.bfloat16, enabled=self.recipe.optim.precision == "bf16"):
            if self.views > 1:
                return mean_over_views(self.model, inputs[0], self.views)
            return self.model(*inputs)


def adjust_for_classes(
    found: Sequence[Prediction], train_records: Sequence[Record], labels: Sequence[str]
) -> list[Prediction]:
    """Predictions whose probabilities are divided by the class frequencies of the training pictures and normalised.

    That is the post-hoc logit adjustment of Menon et al. (ICLR 2021), with tau 1: the answer for a population in which
    all classes are equally frequent.
    """
    names = [record.dx if record.dx in labels else "other" for record in train_records]
    frequency = np.array([max(names.count(label), 1) for label in labels], np.float64)
    adjusted = []
    for prediction in found:
        if not prediction.probabilities:
            adjusted.append(prediction)
            continue
        odds = np.array([prediction.probabilities[label] for label in labels]) / frequency
        adjusted.append(replace(prediction, probabilities=_named(labels, odds / odds.sum())))
    return adjusted


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


def _tiny(side: int = 8) -> InputSpec:
    return InputSpec("image", side, side)


def _named(labels: Sequence[str], row: NDArray[Any]) -> dict[str, float]:
    return {label: float(value) for label, value in zip(labels, row, strict=True)}


def _no_classes(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.zeros((len(batch), 0), np.float32)


def _no_map(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    raise DataError("There is no segmenter.", "Give --segmenter.")


def _array(values: Tensor) -> NDArray[np.float32]:
    result: NDArray[np.float32] = values.cpu().numpy()
    return result
