"""Reads the text of `bundle.json` strictly: an unknown key, a wrong type or a contradiction is a typed error."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from edge_infer.bundle.manifest import DEFAULT_VARIANT, INNER_SINCE, MANIFEST, SCHEMA_VERSION, SINCE, Manifest
from edge_infer.errors import BundleSchemaError
from edge_infer.rules import APPEARANCE_MEASURES
from edge_infer.schema import SchemaError, parse

_VERSION, _RELEASE = (re.compile(text) for text in (r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", r"\d+(\.\d+){1,2}"))

_SHA256, _CONTROL = re.compile(r"[0-9a-f]{64}"), re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_LARGEST_FILE = 2**31 - 1
"""Protocol buffers, which ONNX and Core ML files are, end there."""


def parse_manifest(text: str) -> Manifest:
    """Reads and checks the text of a `bundle.json`, of this schema version or an older one.

    What an older schema does not know has its default, and `schema_version` is the newest: written again, it is one of
    the newest schema.

    Raises:
        BundleSchemaError: no JSON, an unknown schema version, an unknown or missing key, or values that contradict
            each other.
    """
    remedy = "Export the bundle again with this version of the trainer, or install the matching edge-infer."
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleSchemaError(
            f"{MANIFEST} is not valid JSON: {error}.", "Restore the bundle from its source."
        ) from error
    for text_inside in _texts(data):
        if _CONTROL.search(text_inside):
            raise BundleSchemaError(
                f"{MANIFEST} holds control characters: {text_inside[:60]!r}.", "Do not use this bundle."
            )
    version = data.get("schema_version") if isinstance(data, dict) else None
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        raise BundleSchemaError(
            f"{MANIFEST} has schema version {version!r}; this runtime reads 1 to {SCHEMA_VERSION}.", remedy
        )
    newer = {key: value for key, (since, value) in SINCE.items() if since > version}
    inner = (key for path, since in INNER_SINCE.items() if since > version for key in _present(data, path.split(".")))
    for key in (*(key for key in newer if key in data), *inner):
        raise BundleSchemaError(f"{MANIFEST}: {key}: unknown key in schema version {version}.", remedy)
    try:
        manifest = parse(Manifest, {**data, **newer, "schema_version": SCHEMA_VERSION})
    except SchemaError as error:
        raise BundleSchemaError(f"{MANIFEST}: {error}.", remedy) from error
    for problem in _contradictions(manifest):
        raise BundleSchemaError(f"{MANIFEST}: {problem}.", remedy)
    return manifest


def _present(data: Any, path: list[str], where: str = "") -> Iterator[str]:
    """Every place in `data` that a path leads to; `*` goes into every entry of a table or a list."""
    if not path:
        yield where.removeprefix(".")
        return
    entries: Mapping[Any, Any] = data if isinstance(data, Mapping) else {}
    if path[0] == "*" and isinstance(data, list):
        entries = dict(enumerate(data))
    for key, value in entries.items():
        if path[0] in ("*", key):
            yield from _present(value, path[1:], f"{where}.{key}")


def _texts(value: object) -> Iterator[str]:
    """Every key and string; they go to terminals and pages, so they must be text."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _contradictions(manifest: Manifest) -> Iterator[str]:
    """What the types alone do not rule out."""
    if not _VERSION.fullmatch(manifest.version):
        yield f"version '{manifest.version}' is not three numbers such as 1.0.0"
    if manifest.min_onnxruntime is not None and not _RELEASE.fullmatch(manifest.min_onnxruntime):
        yield f"min_onnxruntime '{manifest.min_onnxruntime}' is no version such as 1.20"
    if manifest.melanoma_label not in manifest.labels:
        yield f"melanoma_label '{manifest.melanoma_label}' is not among the labels"
    if len(set(manifest.labels)) != len(manifest.labels) or len(manifest.labels) < 2:
        yield "labels must be at least two different names"
    if set(manifest.label_names) != set(manifest.labels):
        yield "label_names must name exactly the labels"
    names = [point.name for point in manifest.operating_points]
    if len(set(names)) != len(names):
        yield "two operating points share a name"
    if manifest.default_operating_point not in names:
        yield f"default_operating_point '{manifest.default_operating_point}' is not among the operating points"
    for point in manifest.operating_points:
        if not 0 < point.threshold < 1:
            yield f"operating point '{point.name}': threshold {point.threshold} is not between 0 and 1"
        for band in point.bands:
            if not 0 <= band.low < point.threshold < band.high <= 1:
                yield f"operating point '{point.name}': band {band.low} to {band.high} is not around the threshold"
            if not 0 < band.referred < 1:
                yield f"operating point '{point.name}': a band refers {band.referred}, not a share between 0 and 1"
    if not 0 < manifest.mask.threshold < 1:
        yield f"mask.threshold {manifest.mask.threshold} is not between 0 and 1"
    if not 0 <= manifest.mask.min_area_fraction < manifest.mask.max_area_fraction <= 1:
        yield "mask area fractions must satisfy 0 <= min < max <= 1"
    if not 0 <= manifest.mask.min_confidence <= 1:
        yield f"mask.min_confidence {manifest.mask.min_confidence} is not between 0 and 1"
    if manifest.dermoscopy is not None:
        for name, term in manifest.dermoscopy.terms.items():
            if name not in APPEARANCE_MEASURES:
                yield f"dermoscopy.terms.{name}: unknown; known measures: {', '.join(APPEARANCE_MEASURES)}"
            if not term.scale > 0:
                yield f"dermoscopy.terms.{name}.scale {term.scale} is not positive"
        if not manifest.dermoscopy.clip > 0:
            yield f"dermoscopy.clip {manifest.dermoscopy.clip} is not positive"
    yield from _familiarity_contradictions(manifest)
    prior = manifest.calibration.prior
    if prior is not None and not 0 < prior < 1:
        yield f"calibration.prior {prior} is not between 0 and 1"
    if not 0 <= manifest.roi.margin <= 2:
        yield f"roi.margin {manifest.roi.margin} is not between 0 and 2"
    for name, stage, kind in (
        ("segmenter", manifest.segmenter, "probability_map"),
        ("classifier", manifest.classifier, "probabilities"),
    ):
        if stage.output.kind != kind:
            yield f"{name}.output.kind must be '{kind}'"
        if not 8 <= min(stage.input.height, stage.input.width) <= max(stage.input.height, stage.input.width) <= 4096:
            yield f"{name}.input size {stage.input.height}x{stage.input.width} is not within 8..4096"
        files = {f"files.{format}": file for format, file in stage.files.items()}
        files |= {f"variants.{variant}": entry.file for variant, entry in stage.variants.items()}
        for key, file in files.items():
            if not any(listed == file or listed.startswith(f"{file}/") for listed in manifest.files):
                yield f"{name}.{key} '{file}' is not listed in files"
        if DEFAULT_VARIANT in stage.variants:
            yield f"{name}.variants.{DEFAULT_VARIANT}: this name stands for files.onnx"
        for variant, entry in stage.variants.items():
            if not entry.parity:
                yield f"{name}.variants.{variant} has no parity gate"
            if variant in manifest.variants_left_out:
                yield f"variants_left_out.{variant}: {name} has this variant"
    if manifest.golden.file not in manifest.files:
        yield f"golden.file '{manifest.golden.file}' is not listed in files"
    for gate in manifest.gates:
        if not gate.passed:
            yield f"parity gate failed: {gate.artifact} {gate.measure} {gate.value} is not {gate.relation} {gate.limit}"
    if manifest.classifier.input.height != manifest.classifier.input.width:
        yield "classifier.input must be square"
    for file, listed_as in manifest.files.items():
        if not _SHA256.fullmatch(listed_as.sha256) or not 0 <= listed_as.bytes <= _LARGEST_FILE:
            yield f"files: '{file}' has no SHA-256 and size of a file"
        parts = PurePosixPath(file)
        if (
            parts.is_absolute()
            or ".." in parts.parts
            or "\\" in file
            or ":" in file
            or file != str(parts)
            or file == "."
            or "\n" in file
        ):
            yield f"files: '{file}' leaves the bundle's folder"


def _familiarity_contradictions(manifest: Manifest) -> Iterator[str]:
    rule = manifest.familiarity
    if rule is None:
        return
    if manifest.dermoscopy is not None:
        yield "familiarity and dermoscopy: a bundle has one of the two rules"
    if not rule.output or rule.output == manifest.segmenter.output.name:
        yield f"familiarity.output '{rule.output}' is no second output of the segmenter"
    if manifest.golden.max_familiarity is None:
        yield "golden.max_familiarity is missing, and the bundle has a score to replay"
    for name, variant in manifest.segmenter.variants.items():
        if variant.tolerance.max_familiarity is None:
            yield f"segmenter.variants.{name}.tolerance.max_familiarity is missing"
