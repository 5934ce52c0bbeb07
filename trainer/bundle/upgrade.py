"""Brings a finished bundle to the newest form, its networks and its answers untouched.

A bundle that an older trainer wrote has ONNX files of a newer IR version than engines need, and a manifest of an older
schema. Both are rewritten; nothing is trained, chosen or measured again.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import onnx

from edge_infer.bundle.golden import STEPS, read_golden, trace
from edge_infer.bundle.manifest import UNVERSIONED, Manifest
from edge_infer.bundle.store import Bundle, load_bundle
from trainer.bundle.errors import ExportError
from trainer.bundle.storage import MIN_ONNXRUNTIME, save_onnx
from trainer.bundle.swapping import replacement
from trainer.bundle.write import seal
from trainer.scoring.networks import open_onnx

FIRST_VERSION = "1.0.0"


def upgrade_bundle(bundle: Bundle, out: Path, version: str | None = None) -> Manifest:
    """Writes a copy of a bundle whose ONNX files are of the project's IR version, with a manifest of today's schema.

    Args:
        bundle: whose files were checked.
        out: folder of the copy, replaced at the end; may be the bundle's own.
        version: of the copy; None: see `next_version`.

    Raises:
        ExportError: a graph needs a newer IR version, or an answer to a golden example is not bit for bit the same.
        BundleSchemaError: the version is not three numbers.
    """
    with replacement(out) as draft:
        shutil.copytree(bundle.path, draft, dirs_exist_ok=True)
        for file in bundle.manifest.files:
            if file.endswith(".onnx"):
                rewrite_onnx(draft / file)
        require_same_answers(bundle, draft)
        chosen = version or next_version(bundle.manifest.version)
        manifest = seal(draft, replace(bundle.manifest, version=chosen, min_onnxruntime=MIN_ONNXRUNTIME))
        load_bundle(draft)
    return manifest


def next_version(version: str) -> str:
    """The version where files changed in form alone: the third number grows; 1.0.0 where there was none."""
    if version == UNVERSIONED:
        return FIRST_VERSION
    first, second, third = version.split(".")
    return f"{first}.{second}.{int(third) + 1}"


def rewrite_onnx(path: Path) -> None:
    """Writes an ONNX file again in the project's IR version.

    Raises:
        ExportError: its graph cannot be of that version, or would not be the same.
    """
    before = onnx.load(path)
    parts = _parts(before)
    save_onnx(before, path)
    if _parts(onnx.load(path)) != parts:
        raise ExportError(f"'{path}' does not keep its graph in another IR version.", "Export the bundle again.")


def require_same_answers(bundle: Bundle, folder: Path) -> None:
    """Does nothing if both folders' float32 files give the same bits in every step of the golden examples.

    Raises:
        ExportError: naming the step that differs.
    """
    manifest, networks = bundle.manifest, (open_onnx(bundle.path), open_onnx(folder))
    for number, stored in enumerate(read_golden(bundle.path / manifest.golden.file)):
        old, new = (trace(stored["image"], manifest, *pair) for pair in networks)  # type: ignore[arg-type]
        for step in STEPS:
            if (step in old) != (step in new) or (step in old and old[step].tobytes() != new[step].tobytes()):
                raise ExportError(
                    f"'{folder}' answers golden example {number} otherwise than '{bundle.path}': {step}.",
                    "A new form of a bundle must not change an answer; compare the graphs.",
                )


def _parts(model: onnx.ModelProto) -> tuple[object, ...]:
    """All that decides what a model computes and says of itself: everything but its IR version."""
    return (
        model.graph.SerializeToString(deterministic=True),
        [(entry.domain, entry.version) for entry in model.opset_import],
        [function.SerializeToString(deterministic=True) for function in model.functions],
        [(entry.key, entry.value) for entry in model.metadata_props],
    )
