"""Puts a bundle together: files, gates, golden examples, manifest, model card; then replaces the old one at once."""

from __future__ import annotations

import datetime
import functools
import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

import edge_infer
from edge_infer.bundle.golden import Trace, read_golden, replay, trace, write_golden
from edge_infer.bundle.manifest import (
    MANIFEST,
    SCHEMA_VERSION,
    Calibration,
    DermoscopyRule,
    Evaluation,
    FileEntry,
    Golden,
    InputSpec,
    Manifest,
    MaskRule,
    OperatingPoint,
    OutputSpec,
    ParityGate,
    Provenance,
    QualityLimits,
    RoiRule,
    Stage,
    load_bundle,
)
from edge_infer.engines.onnx import OnnxEngine
from trainer.bundle.errors import ExportError
from trainer.bundle.gates import float32_limits, judge, measure_parities, measure_parity, require, storage_limits
from trainer.bundle.onnx import export_onnx
from trainer.bundle.rounding import rounded
from trainer.bundle.storage import Store
from trainer.bundle.variants import Request, add_variants
from trainer.choices.refusals import Refusals
from trainer.data.drawn import BARE_SKIN, draw_picture
from trainer.data.ham10000 import Record
from trainer.models.complexity import measure_module
from trainer.models.serving import (
    INPUT_NAME,
    MAP_NAME,
    PROBABILITIES_NAME,
    VIEWS,
    ServingClassifier,
    ServingSegmenter,
    as_network,
)
from trainer.report.model_card import MODEL_CARD, model_card
from trainer.report.summary import Summary
from trainer.scoring.predict import Networks
from trainer.training.checkpoint import Checkpoint, class_names

SEGMENTER_FILE, CLASSIFIER_FILE, GOLDEN_FILE = "segmenter.onnx", "classifier.onnx", "golden.npz"
MAX_BUNDLE_BYTES, MAX_PACKAGES_BYTES, MAX_GOLDEN_BYTES = 46_000_000, 46_000_000, 1_000_000

LABEL_NAMES = {
    "akiec": "actinic keratosis or intraepithelial carcinoma",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevus",
    "other": "not melanoma",
    "vasc": "vascular lesion",
}
MELANOMA = "mel"

INTENDED_USE = (
    "Research and teaching on dermoscopic pictures of single skin lesions. Not a medical device: it must not be used "
    "to diagnose, to reassure, or to decide on treatment."
)
DATA = "HAM10000 with Tschandl's lesion masks, split by lesion"
CITATION = (
    "Tschandl P, Rosendahl C, Kittler H. The HAM10000 dataset, a large collection of multi-source dermatoscopic images "
    "of common pigmented skin lesions. Sci Data 5, 180161 (2018). doi:10.1038/sdata.2018.161"
)
LICENSE = "CC-BY-NC-4.0"
LICENSE_NOTE = (
    "The weights were trained on HAM10000 (CC BY-NC 4.0): attribution is required and commercial use is not allowed. "
    "The code that reads this bundle is Apache-2.0."
)
_PACKAGES = ("torch", "torchvision", "segmentation-models-pytorch", "onnx", "onnxscript", "onnxruntime", "numpy")

# Seed, size and kind of the golden pictures. The first is shrunk for the networks and the others enlarged, so that both
# interpolations are replayed; the last has no lesion.
_GOLDEN_PICTURES = ((103, (240, 320), "nv"), (7, (96, 128), "mel"), (11, (72, 96), BARE_SKIN))
_GOLDEN_MAP_DECIMALS = 4


@dataclass(frozen=True)
class Choices:
    """What was fixed on the training and validation pictures: see `trainer.choices.operating_points`."""

    mask: MaskRule
    quality: QualityLimits
    calibration: Calibration
    operating_points: tuple[OperatingPoint, ...]
    default_operating_point: str
    dermoscopy: DermoscopyRule | None = None


@dataclass(frozen=True)
class System:
    """Two checkpoints as serving graphs.

    Attributes:
        segmenter, classifier: the trained networks.
        views: mirrored copies of the crop that the classifier averages over.
        training_hours: wall time of each training by stage, where it is known.
        store: how the ONNX files store weights. Unless it is "float32", all that is made of the system, calibration
            included, rests on networks with weights so rounded.
    """

    segmenter: Checkpoint
    classifier: Checkpoint
    views: int = 1
    training_hours: Mapping[str, float] = field(default_factory=dict)
    store: Store = "float32"

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

    def graphs(self, temperature: float = 1.0) -> tuple[ServingSegmenter, ServingClassifier]:
        """Both networks with normalisation and probabilities inside.

        Raises:
            ExportError: a weight cannot be rounded to float16.
        """
        segmenter, classifier = self._stored
        return (
            ServingSegmenter(segmenter, self.segmenter.recipe.normalization),
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

    def networks(self, temperature: float = 1.0) -> Networks:
        """The same as callables."""
        return Networks(*map(as_network, self.graphs(temperature)))

    def stages(self) -> tuple[Stage, Stage]:
        """What the manifest says about each."""
        segmenter = OutputSpec(MAP_NAME, "probability_map")
        classifier = OutputSpec(PROBABILITIES_NAME, "probabilities")
        return (
            _stage(self.segmenter, segmenter, SEGMENTER_FILE),
            _stage(self.classifier, classifier, CLASSIFIER_FILE, self.views),
        )

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


@dataclass(frozen=True)
class Assessment:
    """What was measured with the finished files.

    Attributes:
        evaluation: the manifest's entry.
        summary: all figures of the same split, for the card.
        refused: see `trainer.report.model_card.model_card`.
    """

    evaluation: Evaluation
    summary: Summary
    refused: Refusals


Assess = Callable[[Manifest, Networks], Assessment]
"""Evaluates the finished files: the manifest so far and the engines in."""


def write_bundle(
    out: Path,
    name: str,
    description: str,
    system: System,
    choices: Choices,
    parity_records: Sequence[Record],
    assess: Assess,
    variants: Request | None = None,
) -> Manifest:
    """Exports, proves, evaluates and writes a bundle; `out` is replaced only after everything succeeded.

    Args:
        out: the bundle's folder.
        name: the bundle's name.
        description: one sentence for the manifest.
        system: the trained networks.
        choices: thresholds and limits.
        parity_records: validation pictures for the gates.
        assess: evaluates the ONNX files themselves on the test split.
        variants: other forms of both networks to write and prove as well; see `trainer.bundle.variants`.

    Raises:
        ExportError: a model cannot be exported, or the bundle is larger than allowed.
        ParityError: a gate fails.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        temperature = choices.calibration.temperature
        graphs, stages = system.graphs(temperature), system.stages()
        manifest = _manifest(name, description, system, stages, choices)
        rounding = _judge_rounding(parity_records, manifest, system, temperature)
        export_onnx(graphs[0], stages[0], draft / SEGMENTER_FILE, store=system.store)
        export_onnx(graphs[1], stages[1], draft / CLASSIFIER_FILE, system.labels, store=system.store)
        reference, files = system.networks(temperature), open_onnx(draft)
        parity = measure_parity(parity_records, manifest, reference, files)
        gates = judge(parity, float32_limits(SEGMENTER_FILE, CLASSIFIER_FILE))
        require(gates)
        golden = golden_traces(manifest, reference)
        if variants is not None:
            manifest = add_variants(draft, manifest, graphs, reference, golden, variants)
        assessed = assess(manifest, files)
        manifest = replace(
            manifest,
            parity=(*gates, *rounding),
            evaluations=(assessed.evaluation,),
            operating_points=tuple(
                replace(
                    point,
                    metrics=assessed.summary.operating_points[point.name],
                    bands=tuple(
                        replace(band, metrics=figures)
                        for band, figures in zip(point.bands, assessed.summary.bands[point.name], strict=True)
                    ),
                )
                for point in manifest.operating_points
            ),
        )
        write_golden(draft / GOLDEN_FILE, golden)
        card = model_card(manifest, [assessed.summary], assessed.refused)
        (draft / MODEL_CARD).write_text(card, encoding="utf-8")
        manifest = seal(draft, manifest)
        _prove(draft, manifest)
        swap(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return manifest


def open_onnx(folder: Path) -> Networks:
    """Both ONNX files on ONNX Runtime's CPU provider."""
    engines = [OnnxEngine(folder / file, providers=["cpu"]) for file in (SEGMENTER_FILE, CLASSIFIER_FILE)]
    return Networks(engines[0].run, engines[1].run)


def golden_pictures() -> list[NDArray[np.uint8]]:
    """The drawn pictures of the golden examples: no patient's photograph."""
    return [draw_picture(np.random.default_rng(seed), *size, kind).image for seed, size, kind in _GOLDEN_PICTURES]


def golden_traces(manifest: Manifest, reference: Networks) -> list[Trace]:
    """Every step of the golden pictures; the maps are rounded to 1e-4, as they would fill the file otherwise."""
    traces = [trace(picture, manifest, *reference) for picture in golden_pictures()]
    for steps in traces:
        steps["probability_map"] = np.asarray(np.round(steps["probability_map"], _GOLDEN_MAP_DECIMALS), np.float32)
    return traces


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Lists every file with its hash and writes `bundle.json` last."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    files.pop(MANIFEST, None)
    entries = {
        name: FileEntry(hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
        for name, path in files.items()
    }
    sealed = replace(manifest, files=entries)
    (folder / MANIFEST).write_text(sealed.to_json(), encoding="utf-8")
    return sealed


def swap(draft: Path, out: Path) -> None:
    """Puts `draft` in the place of `out` by renaming; the old bundle is kept until the new one is there."""
    draft.chmod(0o755)
    old = out.with_name(f".{out.name}-old-{os.getpid()}")
    if out.exists():
        out.rename(old)
    try:
        draft.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _judge_rounding(
    records: Sequence[Record], manifest: Manifest, system: System, temperature: float
) -> tuple[ParityGate, ...]:
    """Gates between the networks with rounded weights and those that were trained; none where nothing is rounded."""
    if system.store == "float32":
        return ()
    trained = replace(system, store="float32").networks(temperature)
    candidates = {f"weights in {system.store}": system.networks(temperature)}
    [parity] = measure_parities(records, manifest, trained, candidates).values()
    gates = judge(parity, storage_limits(SEGMENTER_FILE, CLASSIFIER_FILE, system.store))
    more = "float16" if system.store == "int8" else "float32"
    require(gates, f"Store the weights in more bits: --store {more}.")
    return gates


def _prove(folder: Path, manifest: Manifest) -> None:
    """Reads the finished folder as the runtime will, replays the golden examples, checks the sizes."""
    bundle = load_bundle(folder)
    traces = read_golden(folder / GOLDEN_FILE)
    for deviation in replay(traces, bundle.manifest, *open_onnx(folder)):
        if not deviation.passed:
            raise ExportError(
                f"The golden examples deviate: {deviation.step} by {deviation.value:.3g}, at most {deviation.limit:g}.",
                "The ONNX files and the PyTorch model disagree on drawn pictures; compare them step by step.",
            )
    check_sizes(manifest)


def check_sizes(manifest: Manifest) -> None:
    """Does nothing if the bundle is small enough.

    Raises:
        ExportError: its files, its Core ML packages or its golden examples are larger than allowed.
    """
    sizes = {name: entry.bytes for name, entry in manifest.files.items()}
    packages = sum(size for name, size in sizes.items() if ".mlpackage/" in name)
    total, golden = sum(sizes.values()) - packages, sizes[GOLDEN_FILE]
    if total > MAX_BUNDLE_BYTES or packages > MAX_PACKAGES_BYTES or golden > MAX_GOLDEN_BYTES:
        raise ExportError(
            f"The bundle has {total / 1e6:.1f} MB, {packages / 1e6:.1f} MB more in Core ML packages, its golden "
            f"examples {golden / 1e6:.2f} MB.",
            f"At most {MAX_BUNDLE_BYTES / 1e6:g}, {MAX_PACKAGES_BYTES / 1e6:g} and {MAX_GOLDEN_BYTES / 1e6:g} MB: use "
            "smaller networks or fewer variants.",
        )


def _stage(checkpoint: Checkpoint, output: OutputSpec, file: str, views: int = 1) -> Stage:
    size = checkpoint.recipe.data.size
    cost = measure_module(checkpoint.model, size)
    members = checkpoint.recipe.members
    several = f", ensemble of {members}" if members > 1 else ""
    mirrored = f", mean of {views} mirrored views" if views > 1 else ""
    return Stage(
        architecture=checkpoint.recipe.model.name + several + mirrored,
        parameters=cost.parameters,
        input=InputSpec(INPUT_NAME, size, size),
        output=output,
        files={"onnx": file},
        gflops=round(views * cost.gflops, 3),
    )


def _manifest(name: str, description: str, system: System, stages: tuple[Stage, Stage], choices: Choices) -> Manifest:
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=name,
        description=description,
        intended_use=INTENDED_USE,
        labels=system.labels,
        label_names={label: LABEL_NAMES[label] for label in system.labels},
        melanoma_label=MELANOMA,
        segmenter=stages[0],
        classifier=stages[1],
        mask=choices.mask,
        roi=system.roi,
        quality=choices.quality,
        calibration=choices.calibration,
        operating_points=choices.operating_points,
        default_operating_point=choices.default_operating_point,
        dermoscopy=choices.dermoscopy,
        golden=Golden(GOLDEN_FILE, max_map=1e-3, min_mask_iou=0.995, max_probability=0.01),
        parity=(),
        evaluations=(),
        provenance=Provenance(
            data=DATA,
            citation=CITATION,
            license=LICENSE,
            license_note=LICENSE_NOTE,
            trainer_version=edge_infer.__version__,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            packages={package: importlib.metadata.version(package).split("+")[0] for package in _PACKAGES},
            recipes=json.loads(json.dumps(system.recipes())),
        ),
        files={},
    )
