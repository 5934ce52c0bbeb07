"""Variants of a bundle: both networks in other forms, each proven on real pictures before it is kept.

Everything that is chosen here (activation ranges, biases, which layers stay float) is chosen on the training split. The
parity gates then judge the finished files on the validation split, against the PyTorch float32 model.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge_infer.bundle.golden import Network, Trace, replay, trace
from edge_infer.bundle.manifest import Manifest, Stage, StageName, Variant
from edge_infer.engines.onnx import OnnxEngine
from edge_infer.rules import Tolerance
from edge_infer.steps.image import open_picture
from edge_infer.steps.resize import to_batch
from trainer.bundle.coreml import Weights, export_coreml, find_float_layers
from trainer.bundle.errors import ExportError, ParityError
from trainer.bundle.gates import (
    Limit,
    Unseen,
    float16_limits,
    float32_limits,
    int8_limits,
    judge,
    measure_parities,
    require,
)
from trainer.bundle.mil import MilProgram
from trainer.bundle.quantize import Decisions, quantize_onnx
from trainer.bundle.quantize import Target as Processor
from trainer.data.ham10000 import Record
from trainer.data.splits import spread
from trainer.models.serving import ServingGraph
from trainer.scoring.networks import Networks

Pictures = NDArray[np.uint8]

CALIBRATION_SHARE = 0.4
# A map has as many values as ten thousand crops, and the segmenter costs three times as much: fewer pictures tell.
SEGMENTER_PICTURES = 96
# Well below what the gates (`trainer.bundle.gates`) allow on the validation split: more pictures find larger shifts.
# Twice these int8 limits failed three gates by little.
FLOAT16_LIMIT = 2e-3
INT8_PROBABILITY_LIMIT = 0.015
INT8_MAP_LIMIT, INT8_MAP_MEAN_LIMIT = 0.015, 0.001
FLIPPED_LIMIT = 0.003

_INT8_TOLERANCE = Tolerance(max_map=0.01, min_mask_iou=0.97, max_probability=0.05, max_end_to_end=0.1)


@dataclass(frozen=True)
class Kind:
    """A form that a bundle's networks can take.

    Attributes:
        help: for the command line.
        format, precision, meant_for: as in `edge_infer.bundle.manifest.Variant`.
        suffix: of the files' names, after the stage's.
        limits: gates, from the names of both files.
        tolerance: of the golden examples.
        processor: of an int8 ONNX file.
        weights: how a Core ML package stores them, where it is not as it computes.
    """

    help: str
    format: Literal["onnx", "coreml"]
    precision: Literal["float32", "float16", "int8"]
    meant_for: Literal["any", "x86", "arm", "apple"]
    suffix: str
    limits: Callable[[str, str], tuple[Limit, ...]]
    tolerance: Tolerance
    processor: Processor = "x86"
    weights: Weights | None = None


KINDS: dict[str, Kind] = {
    "int8": Kind(
        "ONNX, 8-bit, for x86 processors",
        *("onnx", "int8", "x86", ".int8.onnx", int8_limits, _INT8_TOLERANCE),
    ),
    "int8-arm": Kind(
        "ONNX, 8-bit, for ARM processors",
        *("onnx", "int8", "arm", ".int8-arm.onnx", int8_limits, _INT8_TOLERANCE, "arm"),
    ),
    "coreml-float16": Kind(
        "Core ML package for Apple devices, first layers float32 where measurement demands it",
        *("coreml", "float16", "apple", ".mlpackage", float16_limits, Tolerance(2e-3, 0.99, 0.01, 0.03)),
    ),
    "coreml-float32": Kind(
        "Core ML package in float32",
        *("coreml", "float32", "apple", ".float32.mlpackage", float32_limits, Tolerance(1e-3, 0.995, 0.01, 0.01)),
    ),
    "coreml-int8": Kind(
        "Core ML package, float16 with weights stored in 8 bits: half the size, no faster",
        *("coreml", "float16", "apple", ".int8.mlpackage", int8_limits, _INT8_TOLERANCE),
        weights="int8",
    ),
    "coreml-palette6": Kind(
        "Core ML package, float16 with weights stored as 6-bit palettes: smaller still",
        *("coreml", "float16", "apple", ".palette6.mlpackage", int8_limits, _INT8_TOLERANCE),
        weights="palette6",
    ),
}
ALIASES = {"coreml": "coreml-float16"}


@dataclass(frozen=True)
class Request:
    """Which variants a bundle shall have.

    Attributes:
        names: keys of `KINDS`.
        training: pictures for every choice; about 250 of them serve.
        validation: pictures for the gates; see `trainer.bundle.gates`.
        leave_out_failed: a variant that fails a gate is left out, and the manifest says why; otherwise it is an error.
        say: receives progress in sentences.
        unseen: answers to the validation pictures, where the classifier learnt from them.
    """

    names: tuple[str, ...]
    training: Sequence[Record] = ()
    validation: Sequence[Record] = ()
    leave_out_failed: bool = False
    say: Callable[[str], None] = field(default=print)
    unseen: Unseen | None = None


def parse_names(text: str | None) -> tuple[str, ...]:
    """Names of variants from a comma-separated list; "coreml" is short for "coreml-float16".

    Raises:
        ExportError: there is no such variant.
    """
    names = [ALIASES.get(name, name) for name in (part.strip() for part in (text or "").split(",")) if name]
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        raise ExportError(
            f"There is no variant {', '.join(map(repr, unknown))}.",
            "Choose among: " + "; ".join(f"{name} ({kind.help})" for name, kind in KINDS.items()) + ".",
        )
    return tuple(dict.fromkeys(names))


@dataclass(frozen=True)
class _Source:
    """One stage, and training pictures as it sees them."""

    name: StageName
    graph: ServingGraph
    stage: Stage
    labels: tuple[str, ...] | None
    onnx: Path
    calibration: Pictures
    selection: Pictures


def add_variants(
    folder: Path,
    manifest: Manifest,
    graphs: tuple[ServingGraph, ServingGraph],
    reference: Networks,
    golden: Sequence[Trace],
    request: Request,
) -> Manifest:
    """Writes the wanted variants into a bundle's folder.

    Args:
        folder: of the bundle; holds its float32 ONNX files.
        manifest: of the bundle; its list of files is not read.
        graphs: segmenter and classifier as exported.
        reference: the same as callables.
        golden: examples that every variant must replay within its tolerance.
        request: which.

    Returns:
        The manifest with the variants of both stages and what was left out.

    Raises:
        ExportError: a variant cannot be made.
        ParityError: a variant fails a gate.
    """
    sources = _sources(folder, manifest, graphs, request.training) if request.names else ()
    maker = _Maker(manifest)
    made: dict[str, dict[StageName, str]] = {}
    failed: dict[str, str] = {}
    for name in request.names:
        request.say(f"{name}: {KINDS[name].help}")
        try:
            made[name] = {source.name: maker.make(name, source, folder) for source in sources}
        except ExportError as error:
            _fail(name, error, failed, request)
    networks = {name: open_variant(folder, name) for name in made}
    judged, unseen = request.validation, request.unseen
    parities = measure_parities(judged, manifest, reference, networks, unseen=unseen) if made else {}
    stages: dict[StageName, dict[str, Variant]] = {"segmenter": {}, "classifier": {}}
    for name, schemes in made.items():
        kind, files = KINDS[name], _files(name)
        try:
            gates = judge(parities[name], kind.limits(files["segmenter"], files["classifier"]))
            for gate in gates:
                request.say(f"  {gate.artifact}: {gate.measure} {gate.value:.3g}, gate {gate.relation} {gate.limit:g}")
            require(gates)
            _replay(name, golden, manifest, networks[name])
        except ParityError as error:
            _fail(name, error, failed, request)
            continue
        for stage, scheme in schemes.items():
            own = tuple(gate for gate in gates if (gate.artifact == files["segmenter"]) == (stage == "segmenter"))
            stages[stage][name] = Variant(
                kind.format, files[stage], kind.precision, kind.meant_for, scheme, own, kind.tolerance
            )
    for name in failed:
        _remove(folder / file for file in _files(name).values())
    packages = dict(manifest.provenance.packages)
    if any(KINDS[name].format == "coreml" for name in stages["segmenter"]):
        packages["coremltools"] = importlib.metadata.version("coremltools")
    return replace(
        manifest,
        segmenter=_with_variants(manifest.segmenter, stages["segmenter"]),
        classifier=_with_variants(manifest.classifier, stages["classifier"]),
        provenance=replace(manifest.provenance, packages=packages),
        variants_left_out=failed,
    )


def open_variant(folder: Path, name: str) -> Networks:
    """Both networks of a variant: ONNX Runtime's CPU provider, or the interpreter of Core ML packages."""

    def network(file: str) -> Network:
        if KINDS[name].format == "coreml":
            return MilProgram(folder / file).run
        return OnnxEngine(folder / file, providers=["cpu"]).run

    files = _files(name)
    return Networks(network(files["segmenter"]), network(files["classifier"]))


class _Maker:
    """Makes files; what several variants share is measured once."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._float_layers: dict[StageName, int] = {}

    def make(self, name: str, source: _Source, folder: Path) -> str:
        """Writes one file and says how it was made."""
        kind, path = KINDS[name], folder / _files(name)[source.name]
        if kind.format == "onnx":
            return self._int8(kind, source, path)
        return self._coreml(kind, source, path)

    def _int8(self, kind: Kind, source: _Source, path: Path) -> str:
        points = self._manifest.operating_points
        decisions = None
        if source.name == "classifier":
            thresholds = tuple(point.threshold for point in points)
            decisions = Decisions(self._manifest.melanoma_index, thresholds, FLIPPED_LIMIT)
        report = quantize_onnx(
            source.onnx,
            path,
            source.calibration,
            source.selection,
            limit=INT8_MAP_LIMIT if source.name == "segmenter" else INT8_PROBABILITY_LIMIT,
            mean_limit=INT8_MAP_MEAN_LIMIT if source.name == "segmenter" else None,
            target=kind.processor,
            decisions=decisions,
            progress=True,
        )
        kept = f"float: {', '.join(report.float_blocks)}" if report.float_blocks else "nothing in float"
        return f"{report.scheme}; {kept}; biases of {report.corrected_layers} layers corrected"

    def _coreml(self, kind: Kind, source: _Source, path: Path) -> str:
        stage = source.stage
        if kind.precision == "float32":
            export_coreml(source.graph, stage, source.labels, path, precision="float32")
            return "float32"
        if source.name not in self._float_layers:
            self._float_layers[source.name] = find_float_layers(source.graph, stage, source.selection, FLOAT16_LIMIT)
        layers = self._float_layers[source.name]
        export_coreml(source.graph, stage, source.labels, path, float_layers=layers, weights=kind.weights)
        scheme = "float16"
        if layers:
            share = MilProgram(path).float32_share
            scheme += f"; the first {layers} layers ({share:.1%} of the multiplications) in float32"
        return scheme + (f"; weights stored as {kind.weights}" if kind.weights else "")


def _files(name: str) -> dict[StageName, str]:
    suffix = KINDS[name].suffix
    return {"segmenter": f"segmenter{suffix}", "classifier": f"classifier{suffix}"}


def _sources(
    folder: Path,
    manifest: Manifest,
    graphs: tuple[ServingGraph, ServingGraph],
    training: Sequence[Record],
) -> tuple[_Source, _Source]:
    """Traces the training pictures with the float32 files, which are quicker than PyTorch and already proven."""
    files = (folder / stage.files["onnx"] for stage in (manifest.segmenter, manifest.classifier))
    segment, classify = (OnnxEngine(file, providers=["cpu"]).run for file in files)
    inputs: list[Pictures] = []
    crops: list[Pictures] = []
    shown = {record.image_id for record in spread(training, SEGMENTER_PICTURES)}
    # Metadata is sorted by diagnosis: calibration and selection must both see all of them.
    mixed = [training[at] for at in np.random.default_rng(0).permutation(len(training))]
    for record in tqdm(mixed, desc="training pictures", unit="img"):
        steps = trace(open_picture(record.image_path).pixels, manifest, segment, classify)
        if record.image_id in shown:
            inputs.append(np.asarray(steps["segmenter_input"], np.uint8))
        if "roi" in steps:
            crops.append(np.asarray(steps["roi"], np.uint8))
    first, second = manifest.segmenter, manifest.classifier

    def source(
        name: StageName, graph: ServingGraph, stage: Stage, labels: tuple[str, ...] | None, seen: list[Pictures]
    ) -> _Source:
        if len(seen) < 2:
            raise ExportError(
                f"Only {len(seen)} training pictures reach the {name}.", "Variants are chosen on them: give more."
            )
        cut = max(1, int(CALIBRATION_SHARE * len(seen)))
        return _Source(
            name, graph, stage, labels, folder / stage.files["onnx"], to_batch(seen[:cut]), to_batch(seen[cut:])
        )

    return (
        source("segmenter", graphs[0], first, None, inputs),
        source("classifier", graphs[1], second, manifest.labels, crops),
    )


def _replay(name: str, golden: Sequence[Trace], manifest: Manifest, networks: Networks) -> None:
    for deviation in replay(list(golden), manifest, *networks, KINDS[name].tolerance):
        if not deviation.passed:
            raise ParityError(
                f"Golden examples deviate: {deviation.step} by {deviation.value:.3g}, at most {deviation.limit:g}.",
                "Compare the variant with the float32 files step by step.",
            )


def _fail(name: str, error: ExportError, failed: dict[str, str], request: Request) -> None:
    if not request.leave_out_failed:
        kind = ParityError if isinstance(error, ParityError) else ExportError
        remedy = f"{error.remedy} Or leave it out: --leave-out-failed.".strip()
        raise kind(f"Variant '{name}': {error.message}", remedy) from error
    failed[name] = error.message
    request.say(f"  {name} is left out. {error.message}")


def _with_variants(stage: Stage, variants: Mapping[str, Variant]) -> Stage:
    packages = [variant.file for variant in variants.values() if variant.format == "coreml"]
    files = {**stage.files, "coreml": packages[0]} if packages else stage.files
    return replace(stage, files=files, variants=dict(variants))


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
