"""Puts a bundle together: files, gates, golden examples, manifest; its figures and card follow when it is published.

A folder is replaced at once, after everything for it succeeded.
"""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import edge_infer
from edge_infer.bundle.golden import read_golden, replay, write_golden
from edge_infer.bundle.manifest import (
    CLASSIFIER_FILE,
    GOLDEN_FILE,
    MANIFEST,
    MODEL_CARD,
    SCHEMA_VERSION,
    SEGMENTER_FILE,
    FileEntry,
    Golden,
    Manifest,
    ParityGate,
    Provenance,
    Stage,
)
from edge_infer.bundle.store import load_bundle
from edge_infer.rules import Calibration
from trainer.bundle.errors import ExportError
from trainer.bundle.gates import (
    Unseen,
    float32_limits,
    judge,
    measure_parities,
    measure_parity,
    require,
    storage_limits,
)
from trainer.bundle.onnx import export_onnx
from trainer.bundle.provenance import LABEL_NAMES
from trainer.bundle.recipe import BundleRecipe
from trainer.bundle.storage import MIN_ONNXRUNTIME
from trainer.bundle.swapping import replacement
from trainer.bundle.system import System, golden_traces
from trainer.bundle.variants import Request, add_variants
from trainer.choices.choose import Choices
from trainer.data.ham10000 import MELANOMA, Record
from trainer.scoring.networks import open_onnx

MAX_BUNDLE_BYTES, MAX_PACKAGES_BYTES, MAX_GOLDEN_BYTES = 46_000_000, 46_000_000, 1_000_000


MAX_FAMILIARITY = 0.02
"""By how much a float32 file's score may differ from PyTorch's on a golden picture; see `trainer.bundle.gates`."""

_PACKAGES = ("torch", "torchvision", "segmentation-models-pytorch", "onnx", "onnxscript", "onnxruntime", "numpy")


def write_bundle(
    out: Path,
    recipe: BundleRecipe,
    system: System,
    choices: Choices,
    parity_records: Sequence[Record],
    variants: Request | None = None,
    unseen: Unseen | None = None,
) -> Manifest:
    """Exports, proves and writes a bundle that has no figures yet; `out` is replaced only after everything succeeded.

    Args:
        out: the bundle's folder.
        recipe: what the manifest says about it.
        system: the trained networks.
        choices: thresholds and limits.
        parity_records: validation pictures for the gates; see `trainer.bundle.gates`.
        variants: other forms of both networks to write and prove as well; see `trainer.bundle.variants`.
        unseen: answers to the validation pictures, where the classifier learnt from them.

    Raises:
        ExportError: a model cannot be exported, or the bundle is larger than allowed.
        ParityError: a gate fails.
    """
    with replacement(out) as draft:
        calibration = choices.calibration
        fold = calibration.temperature, calibration.bias
        graphs, stages = system.graphs(*fold), system.stages()
        manifest = _manifest(recipe, system, stages, choices)
        rounding = _judge_rounding(parity_records, manifest, system, calibration, unseen)
        export_onnx(graphs[0], stages[0], draft / SEGMENTER_FILE, store=system.store)
        export_onnx(graphs[1], stages[1], draft / CLASSIFIER_FILE, system.labels, store=system.store)
        reference, files = system.networks(*fold), open_onnx(draft)
        parity = measure_parity(parity_records, manifest, reference, files, unseen=unseen)
        gates = judge(parity, float32_limits(SEGMENTER_FILE, CLASSIFIER_FILE))
        require(gates)
        golden = golden_traces(manifest, reference)
        if variants is not None:
            manifest = add_variants(draft, manifest, graphs, reference, golden, variants)
        write_golden(draft / GOLDEN_FILE, golden)
        manifest = seal(draft, replace(manifest, parity=(*gates, *rounding)))
        _prove(draft, manifest)
    return manifest


def publish(written: Path, out: Path, manifest: Manifest, card: str) -> Manifest:
    """Puts a copy of a written bundle, with its figures and its card, in the place of `out` at once.

    Args:
        written: what `write_bundle` wrote; it stays as it is.
        out: the published bundle's folder.
        manifest: the written one, with figures.
        card: text of its model card.

    Raises:
        ExportError: the copy is not what was proven.
    """
    with replacement(out) as draft:
        shutil.copytree(written, draft, dirs_exist_ok=True)
        (draft / MODEL_CARD).write_text(card, encoding="utf-8")
        manifest = seal(draft, manifest)
        _prove(draft, manifest)
    return manifest


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


def _judge_rounding(
    records: Sequence[Record], manifest: Manifest, system: System, calibration: Calibration, unseen: Unseen | None
) -> tuple[ParityGate, ...]:
    """Gates between the networks with rounded weights and those that were trained; none where nothing is rounded."""
    if system.store == "float32":
        return ()
    fold = calibration.temperature, calibration.bias
    trained = replace(system, store="float32").networks(*fold)
    candidates = {f"weights in {system.store}": system.networks(*fold)}
    [parity] = measure_parities(records, manifest, trained, candidates, unseen=unseen).values()
    gates = judge(parity, storage_limits(SEGMENTER_FILE, CLASSIFIER_FILE, system.store))
    more = "float16" if system.store == "int8" else "float32"
    require(
        gates,
        f"Store the weights in more bits: store = '{more}' in the bundle's recipe, or export with --store {more}.",
    )
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


def _manifest(recipe: BundleRecipe, system: System, stages: tuple[Stage, Stage], choices: Choices) -> Manifest:
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=recipe.name,
        version=recipe.version,
        min_onnxruntime=MIN_ONNXRUNTIME,
        description=recipe.description,
        intended_use=recipe.intended_use,
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
        familiarity=choices.familiarity,
        golden=Golden(
            GOLDEN_FILE,
            max_map=1e-3,
            min_mask_iou=0.995,
            max_probability=0.01,
            max_familiarity=None if choices.familiarity is None else MAX_FAMILIARITY,
        ),
        parity=(),
        evaluations=(),
        provenance=Provenance(
            data=recipe.data,
            citation=recipe.citation,
            license=recipe.license,
            license_note=recipe.license_note,
            trainer_version=edge_infer.__version__,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            packages={package: importlib.metadata.version(package).split("+")[0] for package in _PACKAGES},
            recipes=json.loads(json.dumps(system.recipes())),
            bundle_recipe=json.loads(json.dumps(recipe.to_dict())),
            familiarity=json.loads(json.dumps({} if system.familiarity is None else system.familiarity.record())),
        ),
        files={},
    )
