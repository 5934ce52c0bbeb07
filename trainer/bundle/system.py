"""What a bundle is written from: both networks, and the golden examples."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edge_infer.bundle.golden import Trace, trace
from edge_infer.bundle.manifest import CLASSIFIER_FILE, SEGMENTER_FILE, Manifest, OutputSpec, Stage
from edge_infer.rules import FamiliarityRule, InputSpec, RoiRule
from trainer.bundle.errors import ExportError
from trainer.bundle.rounding import rounded
from trainer.bundle.storage import Store
from trainer.choices.familiarity import FamiliarityFit
from trainer.data.drawn import BARE_SKIN, draw_picture
from trainer.data.ham10000 import MELANOMA
from trainer.models.complexity import measure_module
from trainer.models.ensemble import Ensemble
from trainer.models.serving import (
    FAMILIARITY_NAME,
    INPUT_NAME,
    MAP_NAME,
    PROBABILITIES_NAME,
    VIEWS,
    ServingClassifier,
    ServingSegmenter,
    as_network,
)
from trainer.scoring.networks import NO_LIMITS, Networks
from trainer.scoring.predict import Rules
from trainer.training.checkpoint import Checkpoint, class_names

# Seed, size and kind of the golden pictures. The first is shrunk for the networks and the others enlarged, so that both
# interpolations are replayed; the last has no lesion.
_GOLDEN_PICTURES = ((103, (240, 320), "nv"), (7, (96, 128), "mel"), (11, (72, 96), BARE_SKIN))


_GOLDEN_MAP_DECIMALS = 4


@dataclass(frozen=True)
class System:
    """Two checkpoints as serving graphs.

    Attributes:
        segmenter, classifier: the trained networks.
        views: mirrored copies of the crop that the classifier averages over.
        training_hours: wall time of each training by stage, where it is known.
        familiarity: what the segmenter's second output is made of and the threshold; None: it has none.
        store: how the ONNX files store weights. Unless it is "float32", all that is made of the system, calibration
            included, rests on networks with weights so rounded.
    """

    segmenter: Checkpoint
    classifier: Checkpoint
    views: int = 1
    training_hours: Mapping[str, float] = field(default_factory=dict)
    store: Store = "float32"
    familiarity: FamiliarityFit | None = None

    def __post_init__(self) -> None:
        for checkpoint, task in ((self.segmenter, "segmentation"), (self.classifier, "classification")):
            if checkpoint.recipe.task != task:
                raise ExportError(
                    f"The checkpoint of '{checkpoint.recipe.name}' is for {checkpoint.recipe.task}, not {task}.",
                    "Give the segmenter and the classifier in their own options.",
                )
        if self.views not in VIEWS:
            raise ExportError(f"{self.views} views are not possible.", f"Choose one of: {', '.join(map(str, VIEWS))}.")
        if self.classifier.recipe.data.roi is None:
            raise ExportError(
                f"'{self.classifier.recipe.name}' was trained on whole pictures.", "Train it on crops (data.roi)."
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """The classifier's classes in order."""
        return class_names(self.classifier.recipe)

    @property
    def roi(self) -> RoiRule:
        """The crop that the classifier was trained on."""
        rule = self.classifier.recipe.data.roi
        assert rule is not None
        return rule

    def graphs(self, temperature: float = 1.0, bias: float = 0.0) -> tuple[ServingSegmenter, ServingClassifier]:
        """Both networks with normalisation and probabilities inside.

        Args:
            temperature: divides the classifier's logits.
            bias: is then added to that of melanoma. It becomes part of the last layer's own bias, so that the graph has
                the same operations with it as without.

        Raises:
            ExportError: a weight cannot be rounded to float16, or the last layer takes no bias.
            ModelError: the segmenter cannot have a score of familiarity.
        """
        segmenter, classifier = self._stored
        score = None if self.familiarity is None else self.familiarity.weights
        if bias:
            classifier = shifted(classifier, self.labels, MELANOMA, bias * temperature)
        return (
            ServingSegmenter(segmenter, self.segmenter.recipe.normalization, score),
            ServingClassifier(classifier, self.classifier.recipe.normalization, temperature, self.views),
        )

    @functools.cached_property
    def _stored(self) -> tuple[nn.Module, nn.Module]:
        first, second = self.segmenter, self.classifier
        if self.store == "float32":
            return first.model, second.model
        store = self.store
        return (
            rounded(first.model, first.recipe.data.size, store),
            rounded(second.model, second.recipe.data.size, store),
        )

    def networks(self, temperature: float = 1.0, bias: float = 0.0) -> Networks:
        """The same as callables."""
        return Networks(*map(as_network, self.graphs(temperature, bias)))

    def stages(self) -> tuple[Stage, Stage]:
        """What the manifest says about each."""
        segmenter = OutputSpec(MAP_NAME, "probability_map")
        classifier = OutputSpec(PROBABILITIES_NAME, "probabilities")
        return (
            _stage(self.segmenter, segmenter, SEGMENTER_FILE),
            _stage(self.classifier, classifier, CLASSIFIER_FILE, self.views),
        )

    def rules(self) -> Rules:
        """The steps between the networks, with no limit yet: every picture is answered."""
        segmenter, classifier = (stage.input for stage in self.stages())
        return Rules(segmenter, classifier, self.labels, NO_LIMITS, self.roi, familiarity=self.familiarity_rule)

    @property
    def familiarity_rule(self) -> FamiliarityRule | None:
        """What the manifest says about the segmenter's second output."""
        return None if self.familiarity is None else FamiliarityRule(FAMILIARITY_NAME, self.familiarity.threshold)

    def recipes(self) -> dict[str, Any]:
        """Recipe, chosen epoch, its validation figures, training time and way of storing weights of each stage."""
        return {
            name: checkpoint.recipe.to_dict()
            | {
                "epoch": checkpoint.epoch,
                "validation": dict(checkpoint.metrics),
                "training_hours": self.training_hours.get(name),
                "weights_stored_as": self.store,
            }
            for name, checkpoint in (("segmenter", self.segmenter), ("classifier", self.classifier))
        }


@torch.no_grad()
def shifted(classifier: nn.Module, labels: Sequence[str], label: str, shift: float) -> nn.Module:
    """A copy of a classifier that adds `shift` to the logit of one of its labels, by the bias of its last layer.

    One unit that decides between two labels is the logit of the second, that of the first being zero.

    Raises:
        ExportError: its last layer has no bias, or one of another length.
    """
    result = copy.deepcopy(classifier)
    column = labels.index(label)
    for member in result.members if isinstance(result, Ensemble) else (result,):
        layers = [module for module in member.modules() if isinstance(module, nn.Linear)]
        bias = layers[-1].bias if layers else None
        if bias is not None and len(bias) == len(labels):
            bias[column] += shift
        elif bias is not None and (len(bias), len(labels)) == (1, 2):
            bias.add_(shift if column == 1 else -shift)
        else:
            raise ExportError(
                "The classifier's last layer has no bias of melanoma to calibrate by.",
                "Use calibration = 'temperature'.",
            )
    return result


def golden_pictures() -> list[NDArray[np.uint8]]:
    """The drawn pictures of the golden examples: no patient's photograph."""
    return [draw_picture(np.random.default_rng(seed), *size, kind).image for seed, size, kind in _GOLDEN_PICTURES]


def golden_traces(manifest: Manifest, reference: Networks) -> list[Trace]:
    """Every step of the golden pictures; the maps are rounded to 1e-4, as they would fill the file otherwise."""
    traces = [trace(picture, manifest, *reference) for picture in golden_pictures()]
    for steps in traces:
        steps["probability_map"] = np.asarray(np.round(steps["probability_map"], _GOLDEN_MAP_DECIMALS), np.float32)
    return traces


def _stage(checkpoint: Checkpoint, output: OutputSpec, file: str, views: int = 1) -> Stage:
    size = checkpoint.recipe.data.size
    cost = measure_module(checkpoint.model, size)
    several = f", ensemble of {checkpoint.recipe.members}" if checkpoint.recipe.is_ensemble else ""
    mirrored = f", mean of {views} mirrored views" if views > 1 else ""
    return Stage(
        architecture=checkpoint.recipe.model.name + several + mirrored,
        parameters=cost.parameters,
        input=InputSpec(INPUT_NAME, size, size),
        output=output,
        files={"onnx": file},
        gflops=round(views * cost.gflops, 3),
    )
