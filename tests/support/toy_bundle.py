"""A complete bundle whose two networks are a few hand-written ONNX nodes, so that tests need no trained weights.

The segmenter calls lesion what is darker than the picture's mean; the classifier compares the mean colour in
the middle of the crop with one colour per class. Both take uint8 NHWC with any batch size, like every bundle.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_infer.bundle.golden import trace, write_golden
from edge_infer.bundle.manifest import (
    MANIFEST,
    SCHEMA_VERSION,
    Evaluation,
    FileEntry,
    Golden,
    Manifest,
    OutputSpec,
    ParityGate,
    Provenance,
    Stage,
    Variant,
)
from edge_infer.bundle.store import read_manifest
from edge_infer.engines.onnx import OnnxEngine
from edge_infer.rules import (
    Band,
    Calibration,
    FamiliarityRule,
    InputSpec,
    MaskRule,
    Metric,
    OperatingPoint,
    QualityLimits,
    RoiRule,
    Tolerance,
)
from edge_infer.schema import dump
from trainer.data.drawn import draw_picture
from trainer.scoring.networks import as_segmenter

LABELS = {
    "akiec": "actinic keratosis or intraepithelial carcinoma",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevus",
    "vasc": "vascular lesion",
}
SEGMENTER_SIZE = (96, 128)
CLASSIFIER_SIZE = 64

# Mean RGB colour in the middle of a crop of each class, in the order of LABELS.
_COLOURS = np.array(
    [
        (196, 130, 124),
        (188, 144, 145),
        (160, 115, 90),
        (180, 130, 122),
        (92, 63, 64),
        (134, 85, 68),
        (159, 53, 77),
    ],
    np.float32,
)
_SHARPNESS = 0.0008


FAMILIARITY = FamiliarityRule("redness", 2.0)
"""Of toy bundles with a score: the mean red minus the mean blue, over 10; skin has more than 2."""


def write_toy_bundle(
    folder: Path,
    golden: Sequence[NDArray[np.uint8]] | None = None,
    familiarity: FamiliarityRule | None = None,
    **overrides: Any,
) -> Path:
    """Writes a valid toy bundle.

    Args:
        folder: made where it is missing; its name becomes the bundle's name.
        golden: pictures of the golden examples; None draws two.
        familiarity: gives the segmenter a second output of that name, see `FAMILIARITY`, and the rule.
        overrides: fields of `Manifest` to replace, for tests of what the runtime makes of them. The ONNX files and the
            golden examples are written before, so they keep the usual values.

    Returns:
        `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    segmenter = Stage(
        architecture="toy-darkness",
        parameters=2,
        input=InputSpec("image", *SEGMENTER_SIZE),
        output=OutputSpec("lesion", "probability_map"),
        files={"onnx": "segmenter.onnx"},
        gflops=0.001,
    )
    classifier = Stage(
        architecture="toy-mean-colour",
        parameters=_COLOURS.size + len(LABELS),
        input=InputSpec("crop", CLASSIFIER_SIZE, CLASSIFIER_SIZE),
        output=OutputSpec("probabilities", "probabilities"),
        files={"onnx": "classifier.onnx"},
    )
    score = None if familiarity is None else familiarity.output
    _save(
        _segmenter_model(segmenter, score), folder / "segmenter.onnx", {"edge_infer.stage": json.dumps(dump(segmenter))}
    )
    _save(
        _classifier_model(classifier),
        folder / "classifier.onnx",
        {"edge_infer.stage": json.dumps(dump(classifier)), "edge_infer.labels": json.dumps(list(LABELS))},
    )
    manifest = replace(_manifest(folder.name, segmenter, classifier), familiarity=familiarity)
    if familiarity is not None:
        manifest = replace(manifest, golden=replace(manifest.golden, max_familiarity=0.01))
    networks = [
        OnnxEngine(folder / name, providers=["cpu"], threads=1) for name in ("segmenter.onnx", "classifier.onnx")
    ]
    pictures = golden or [
        draw_picture(np.random.default_rng(seed), 120, 160, kind).image for seed, kind in ((1, "nv"), (2, "mel"))
    ]
    write_golden(
        folder / manifest.golden.file,
        [trace(picture, manifest, as_segmenter(networks[0]), networks[1].run) for picture in pictures],
    )
    manifest = replace(manifest, files={name: file_entry(folder / name) for name in manifest.files})
    write_manifest(folder, replace(manifest, **overrides))
    return folder


def write_schema_fixture(folder: Path) -> Path:
    """Writes a bundle of a few kilobytes that uses every part of the newest schema.

    `tests/fixtures/bundles/schema-<version>` was written by it once, when that version was new, and is never written
    again: what was shipped must load for ever.
    """
    write_toy_bundle(folder, [plain_picture()], FAMILIARITY)
    manifest = read_manifest(folder).manifest
    gate, tolerance = (
        ParityGate("int8", "max |Δ| of a probability", "<=", 0.05, 0.01),
        Tolerance(0.01, 0.97, 0.05, 0.1, 0.05),
    )
    stages = {}
    for name in ("segmenter", "classifier"):
        file = f"{name}.int8.onnx"
        shutil.copy(folder / f"{name}.onnx", folder / file)
        variant = Variant("onnx", file, "int8", "x86", "a copy, for tests", (gate,), tolerance)
        stages[name] = replace(getattr(manifest, name), variants={"int8": variant})
    first, *others = manifest.operating_points
    others[0] = replace(others[0], basis="probability")
    band = Band(0.1, 0.35, 0.45, {"sensitivity": Metric(0.9, 0.8, 1.0)})
    manifest = replace(
        manifest,
        **stages,
        operating_points=(replace(first, bands=(band,)), *others),
        calibration=Calibration("temperature", 1.5, "val", 0.125),
        variants_left_out={"int8-arm": "It failed a gate."},
    )
    segment, classify = (OnnxEngine(folder / f"{name}.onnx", providers=["cpu"], threads=1) for name in stages)
    write_golden(folder / manifest.golden.file, [trace(plain_picture(), manifest, as_segmenter(segment), classify.run)])
    files = {path.name: file_entry(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}
    write_manifest(folder, replace(manifest, files=files))
    return folder


def plain_picture() -> NDArray[np.uint8]:
    """A dark round lesion on even skin, RGB (96, 128, 3): a picture of a few hundred bytes."""
    rows, columns = np.ogrid[:96, :128]
    inside = (rows - 50) ** 2 + (columns - 60) ** 2 < 28**2
    picture: NDArray[np.uint8] = np.where(inside[..., None], (92, 63, 64), (224, 178, 160)).astype(np.uint8)
    return picture


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes `bundle.json`."""
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")


def file_entry(path: Path) -> FileEntry:
    """Hash and size of a file as the manifest lists them."""
    data = path.read_bytes()
    return FileEntry(hashlib.sha256(data).hexdigest(), len(data))


def _manifest(name: str, segmenter: Stage, classifier: Stage) -> Manifest:
    unhashed = FileEntry("", 0)
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=name,
        version="1.2.3",
        min_onnxruntime="1.20",
        description="Toy bundle for tests: thresholds and colours, nothing learned.",
        intended_use="Tests only.",
        labels=tuple(LABELS),
        label_names=LABELS,
        melanoma_label="mel",
        segmenter=segmenter,
        classifier=classifier,
        mask=MaskRule(threshold=0.5, min_area_fraction=0.02, max_area_fraction=0.85),
        roi=RoiRule(background="keep", margin=0.1),
        quality=QualityLimits(
            min_side=64, min_contrast=2.0, min_luminance=25.0, max_luminance=245.0, min_sharpness=0.006
        ),
        calibration=Calibration("none", 1.0, "nothing"),
        operating_points=(
            OperatingPoint(
                "balanced",
                0.4,
                "chosen by hand",
                "weighs missed melanomas and false alarms alike",
                "nothing",
                {"sensitivity": Metric(0.8, 0.7, 0.9), "specificity": Metric(0.8)},
            ),
            OperatingPoint("sensitive", 0.1, "chosen by hand", "misses few melanomas, many false alarms", "nothing"),
        ),
        default_operating_point="balanced",
        golden=Golden("golden.npz", max_map=0.002, min_mask_iou=0.995, max_probability=0.002),
        parity=(ParityGate("classifier.onnx", "max |Δ| of a probability", "<=", 1e-4, 1e-6),),
        evaluations=(
            Evaluation(
                "drawn pictures", "test", 10, 9, "none", {"dice": Metric(0.9, 0.85, 0.95), "melanoma_auc": Metric(0.8)}
            ),
        ),
        provenance=Provenance(
            data="none",
            citation="none",
            license="Apache-2.0",
            license_note="Nothing was trained.",
            trainer_version="0.0.0",
            created="2026-01-01T00:00:00+00:00",
            packages={"onnx": onnx.__version__},
        ),
        files={"segmenter.onnx": unhashed, "classifier.onnx": unhashed, "golden.npz": unhashed},
    )


def _segmenter_model(stage: Stage, score: str | None = None) -> onnx.ModelProto:
    """sigmoid(0.5 * (mean - smoothed grey - 32)) with grey in 0..255; `score` names the output of `FAMILIARITY`."""
    nodes = [
        helper.make_node("Cast", [stage.input.name], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["grey"], axes=[3], keepdims=0),
        helper.make_node("Unsqueeze", ["grey", "channel_axis"], ["grey4"]),
        helper.make_node(
            "AveragePool", ["grey4"], ["smooth4"], kernel_shape=[5, 5], pads=[2, 2, 2, 2], count_include_pad=0
        ),
        helper.make_node("Squeeze", ["smooth4", "channel_axis"], ["smooth"]),
        helper.make_node("ReduceMean", ["grey"], ["mean"], axes=[1, 2], keepdims=1),
        helper.make_node("Sub", ["mean", "smooth"], ["darker"]),
        helper.make_node("Sub", ["darker", "offset"], ["margin"]),
        helper.make_node("Mul", ["margin", "slope"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], [stage.output.name]),
    ]
    constants: dict[str, NDArray[Any]] = {
        "channel_axis": np.array([1], np.int64),
        "offset": np.array(32.0, np.float32),
        "slope": np.array(0.5, np.float32),
    }
    if score is not None:
        nodes += [
            helper.make_node("ReduceMean", ["float"], ["colour"], axes=[1, 2], keepdims=0),
            helper.make_node("Mul", ["colour", "red_minus_blue"], ["shares"]),
            helper.make_node("ReduceSum", ["shares", "channel_axis"], [score], keepdims=0),
        ]
        constants["red_minus_blue"] = np.array([0.1, 0.0, -0.1], np.float32)
    return _model("segmenter", stage, nodes, constants, ["n", stage.input.height, stage.input.width], score)


def _classifier_model(stage: Stage) -> onnx.ModelProto:
    """softmax(-k * |mean colour of the middle - class colour|^2), without the term that all classes share."""
    nodes = [
        helper.make_node("Cast", [stage.input.name], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["float", "from", "to", "rows_columns"], ["centre"]),
        helper.make_node("ReduceMean", ["centre"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], [stage.output.name], axis=1),
    ]
    quarter = CLASSIFIER_SIZE // 4
    constants: dict[str, NDArray[Any]] = {
        "from": np.array([quarter, quarter], np.int64),
        "to": np.array([3 * quarter, 3 * quarter], np.int64),
        "rows_columns": np.array([1, 2], np.int64),
        "weights": np.float32(2 * _SHARPNESS) * _COLOURS.T,
        "bias": np.float32(-_SHARPNESS) * (_COLOURS**2).sum(1),
    }
    return _model("classifier", stage, nodes, constants, ["n", len(LABELS)])


def _model(
    name: str,
    stage: Stage,
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, NDArray[Any]],
    output_shape: Sequence[str | int],
    score: str | None = None,
) -> onnx.ModelProto:
    shape = ["n", stage.input.height, stage.input.width, 3]
    graph = helper.make_graph(
        list(nodes),
        name,
        [helper.make_tensor_value_info(stage.input.name, TensorProto.UINT8, shape)],
        [
            helper.make_tensor_value_info(stage.output.name, TensorProto.FLOAT, list(output_shape)),
            *([] if score is None else [helper.make_tensor_value_info(score, TensorProto.FLOAT, ["n"])]),
        ],
        [numpy_helper.from_array(np.ascontiguousarray(value), key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def _save(model: onnx.ModelProto, path: Path, metadata: dict[str, str]) -> None:
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
