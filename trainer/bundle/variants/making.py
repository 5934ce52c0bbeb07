"""The files of a variant, made from training pictures alone; what several variants share is measured once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge_infer.bundle.golden import trace
from edge_infer.bundle.manifest import Manifest, Stage, StageName
from edge_infer.engines.onnx import OnnxEngine
from edge_infer.steps.image import open_picture
from edge_infer.steps.resize import to_batch
from trainer.bundle.coreml import export_coreml, find_float_layers
from trainer.bundle.errors import ExportError
from trainer.bundle.mil import MilProgram
from trainer.bundle.quantize import Decisions, quantize_onnx
from trainer.bundle.variants.kinds import KINDS, Kind, files_of
from trainer.data.ham10000 import Record
from trainer.data.splits import spread
from trainer.models.serving import ServingGraph

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


@dataclass(frozen=True)
class Source:
    """One stage, and training pictures as it sees them."""

    name: StageName
    graph: ServingGraph
    stage: Stage
    labels: tuple[str, ...] | None
    onnx: Path
    calibration: Pictures
    selection: Pictures


def find_sources(
    folder: Path,
    manifest: Manifest,
    graphs: tuple[ServingGraph, ServingGraph],
    training: Sequence[Record],
) -> tuple[Source, Source]:
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
    ) -> Source:
        if len(seen) < 2:
            raise ExportError(
                f"Only {len(seen)} training pictures reach the {name}.", "Variants are chosen on them: give more."
            )
        cut = max(1, int(CALIBRATION_SHARE * len(seen)))
        return Source(
            name, graph, stage, labels, folder / stage.files["onnx"], to_batch(seen[:cut]), to_batch(seen[cut:])
        )

    return (
        source("segmenter", graphs[0], first, None, inputs),
        source("classifier", graphs[1], second, manifest.labels, crops),
    )


class Maker:
    """Makes files; what several variants share is measured once."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._float_layers: dict[StageName, int] = {}

    def make(self, name: str, source: Source, folder: Path, strictness: float = 1.0) -> str:
        """Writes one file and says how it was made; `strictness` is a share of the limits, for int8 ONNX alone."""
        kind, path = KINDS[name], folder / files_of(name)[source.name]
        if kind.format == "onnx":
            return self._int8(kind, source, path, strictness)
        return self._coreml(kind, source, path)

    def _int8(self, kind: Kind, source: Source, path: Path, strictness: float) -> str:
        points = self._manifest.operating_points
        decisions = None
        if source.name == "classifier":
            thresholds = tuple(point.threshold for point in points)
            decisions = Decisions(self._manifest.melanoma_index, thresholds, strictness * FLIPPED_LIMIT)
        report = quantize_onnx(
            source.onnx,
            path,
            source.calibration,
            source.selection,
            limit=strictness * (INT8_MAP_LIMIT if source.name == "segmenter" else INT8_PROBABILITY_LIMIT),
            mean_limit=strictness * INT8_MAP_MEAN_LIMIT if source.name == "segmenter" else None,
            target=kind.processor,
            decisions=decisions,
            progress=True,
        )
        kept = f"float: {', '.join(report.float_blocks)}" if report.float_blocks else "nothing in float"
        limits = "" if strictness == 1 else f"; at {strictness:g} of the usual limits, as a gate failed before"
        return f"{report.scheme}; {kept}; biases of {report.corrected_layers} layers corrected{limits}"

    def _coreml(self, kind: Kind, source: Source, path: Path) -> str:
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
