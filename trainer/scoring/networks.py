"""Both stages as callables, from PyTorch or from ONNX files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_infer.bundle.golden import Network, Scoring
from edge_infer.bundle.manifest import CLASSIFIER_FILE, SEGMENTER_FILE
from edge_infer.bundle.store import load_bundle
from edge_infer.engines.onnx import OnnxEngine
from edge_infer.rules import InputSpec, MaskRule, RoiRule
from edge_infer.steps.resize import to_batch
from trainer.data.ham10000 import Record
from trainer.data.metadata import encode_metadata
from trainer.data.transforms import normalize, to_float
from trainer.errors import DataError
from trainer.models.serving import mean_over_views
from trainer.scoring.predictions import Prediction
from trainer.training.checkpoint import Checkpoint, load_checkpoint
from trainer.training.tasks import split_outputs


class Networks(NamedTuple):
    """Both stages as callables; see `edge_infer.bundle.golden.Network`."""

    segment: Network
    classify: Network


def open_onnx(folder: Path) -> Networks:
    """Both ONNX files on ONNX Runtime's CPU provider."""
    engines = [OnnxEngine(folder / file, providers=["cpu"]) for file in (SEGMENTER_FILE, CLASSIFIER_FILE)]
    return Networks(as_segmenter(engines[0]), engines[1].run)


class Opened(Protocol):
    """What `as_segmenter` takes: an engine, or the interpreter of a Core ML package."""

    outputs: tuple[str, ...]

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The first output."""
        ...

    def run_named(self, batch: NDArray[np.uint8], names: Sequence[str]) -> tuple[NDArray[np.float32], ...]:
        """These outputs of one run."""
        ...


def as_segmenter(engine: Opened) -> Network:
    """An opened network as a callable, which scores familiarity where the file has a second output."""
    if len(engine.outputs) < 2:
        return engine.run

    def both(batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        maps, scores = engine.run_named(batch, engine.outputs[:2])
        return maps, scores

    return Scoring(both)


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
