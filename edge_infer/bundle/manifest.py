"""Bundles: the manifest's schema, where bundles are found, and the checks before one is trusted.

A bundle is a folder that the trainer writes and the runtime reads. `bundle.json` is its one source of truth: everything
that changes a decision stands there. `exported/README.md` describes it for readers in other languages.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from edge_infer.errors import (
    BundleError,
    BundleFileMissingError,
    BundleNotFoundError,
    BundleSchemaError,
    BundleTamperedError,
)
from edge_infer.schema import SchemaError, dump, parse

SCHEMA_VERSION = 1
MANIFEST = "bundle.json"
DEFAULT_BUNDLE = "mobile"
SEARCH_VARIABLE = "EDGE_INFER_BUNDLES"
DEFAULT_VARIANT = "float32"
StageName = Literal["segmenter", "classifier"]


@dataclass(frozen=True)
class InputSpec:
    """A network's input: RGB uint8 in NHWC layout, any batch size; normalisation is inside the graph."""

    name: str
    height: int
    width: int
    channels: Literal[3] = 3
    dtype: Literal["uint8"] = "uint8"
    layout: Literal["NHWC"] = "NHWC"
    color: Literal["RGB"] = "RGB"


@dataclass(frozen=True)
class OutputSpec:
    """A network's output, float32 in 0..1.

    `probability_map` has shape (n, height, width); `probabilities` has shape (n, classes), calibrated, rows sum to 1.
    """

    name: str
    kind: Literal["probability_map", "probabilities"]
    dtype: Literal["float32"] = "float32"


@dataclass(frozen=True)
class ParityGate:
    """How one artifact compares with the PyTorch float32 model that it came from, on real pictures.

    The gate holds where `value` is at most (`relation` "<=") or at least (">=") `limit`.
    """

    artifact: str
    measure: str
    relation: Literal["<=", ">="]
    limit: float
    value: float

    @property
    def passed(self) -> bool:
        """Whether the gate holds."""
        return self.value <= self.limit if self.relation == "<=" else self.value >= self.limit


@dataclass(frozen=True)
class Tolerance:
    """How far a replay of the golden examples may deviate from what is stored; see `edge_infer.bundle.golden.replay`.

    `max_map` bounds the mean absolute deviation of the probability map, `min_mask_iou` the overlap of the cleaned
    masks, `max_probability` the largest deviation of a class probability on the stored crop, `max_end_to_end` the
    same on the crop that the stage's own mask gives.
    """

    max_map: float
    min_mask_iou: float
    max_probability: float
    max_end_to_end: float

    def wider(self, other: Tolerance) -> Tolerance:
        """What two networks with different tolerances must hold together: the wider bound of each."""
        return Tolerance(
            max(self.max_map, other.max_map),
            min(self.min_mask_iou, other.min_mask_iou),
            max(self.max_probability, other.max_probability),
            max(self.max_end_to_end, other.max_end_to_end),
        )


@dataclass(frozen=True)
class Variant:
    """One more form of a stage's network, beside the float32 ONNX file: smaller, faster, or for another engine.

    Attributes:
        format: what runs it: ONNX Runtime (`edge_infer.engines.onnx`) or Core ML (`edge_infer.engines.coreml`).
        file: path inside the bundle; a `.mlpackage` is a folder, each of whose files is listed in `Manifest.files`.
        precision: of the arithmetic.
        meant_for: machines that it was made for. Others may run it, slower or with other rounding.
        scheme: how it was made, in words.
        parity: its own gates against the PyTorch float32 model. Gates of whole diagnoses (decisions, AUC) were measured
            with the same variant of both stages, and stand with the classifier.
        tolerance: of a replay of the golden examples, in place of the bundle's own.
    """

    format: Literal["onnx", "coreml"]
    file: str
    precision: Literal["float32", "float16", "int8"]
    meant_for: Literal["any", "x86", "arm", "apple"]
    scheme: str
    parity: tuple[ParityGate, ...]
    tolerance: Tolerance


@dataclass(frozen=True)
class Stage:
    """One network of the bundle.

    Attributes:
        files: path inside the bundle by format: `onnx` is the float32 file that the bundle's figures were measured
            with, `coreml` the package for Apple devices where there is one.
        variants: other forms by name, such as "int8" or "coreml-float16". "float32" is the `onnx` file itself and
            needs no entry; see `Manifest.variants`.
    """

    architecture: str
    parameters: int
    input: InputSpec
    output: OutputSpec
    files: dict[str, str]
    gflops: float | None = None
    variants: dict[str, Variant] = field(default_factory=dict)


@dataclass(frozen=True)
class MaskRule:
    """How a probability map becomes a lesion, and when the lesion is refused.

    `threshold` applies to the probability; the area fractions are of the whole picture; `min_confidence` is the least
    mean probability inside the outline (`edge_infer.steps.mask.lesion_confidence`).
    """

    threshold: float
    min_area_fraction: float
    max_area_fraction: float
    min_confidence: float = 0.0


@dataclass(frozen=True)
class RoiRule:
    """How the lesion is cropped: see `edge_infer.steps.mask.roi_box` and `crop_roi`."""

    background: Literal["keep", "zero"]
    margin: float


@dataclass(frozen=True)
class QualityLimits:
    """Limits of a usable picture, outside which there is no probability; measures: `edge_infer.steps.quality`."""

    min_side: int
    min_contrast: float
    min_luminance: float
    max_luminance: float
    min_sharpness: float


APPEARANCE_MEASURES = (
    *("red_green", "red_green_spread", "green_blue", "green_blue_spread", "shading", "brightness", "contrast"),
    *("octave_1", "octave_2", "octave_3", "octave_4", "octave_5", "flat", "peaked"),
)
"""What `DermoscopyRule.terms` may name; see `edge_infer.steps.appearance.Appearance`."""


@dataclass(frozen=True)
class Term:
    """One measure in a score: weight * z + curve * z**2 with z = (measure - centre) / scale, clipped."""

    centre: float
    scale: float
    weight: float
    curve: float


@dataclass(frozen=True)
class DermoscopyRule:
    """When a picture is no dermoscopy: see `edge_infer.steps.appearance.dermoscopy_score`.

    Attributes:
        terms: by measure, see `APPEARANCE_MEASURES`.
        clip: z counts up to this size to either side.
        intercept: of the score.
        min_score: below it there is no probability.
    """

    terms: dict[str, Term]
    clip: float
    intercept: float
    min_score: float


@dataclass(frozen=True)
class Metric:
    """A figure with its 95 % confidence interval, bootstrapped by lesion."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Band:
    """Probabilities too close to a threshold for a decision: low < p < high, chosen on the split of the threshold.

    `referred` is the share of pictures that it was chosen to leave undecided; `metrics` is what it gave on the
    evaluation split: the decided pictures' sensitivity, specificity, and so on.
    """

    referred: float
    low: float
    high: float
    metrics: dict[str, Metric] = field(default_factory=dict)


@dataclass(frozen=True)
class OperatingPoint:
    """A named decision threshold on the melanoma probability, chosen on the split `chosen_on`.

    `rule` says how it was chosen, `meaning` what it is for, in plain words. `metrics` is what it gave on the
    evaluation split: sensitivity, specificity, and so on. `bands` are for those who would rather leave the least
    certain pictures undecided; none is used unless it is asked for.
    """

    name: str
    threshold: float
    rule: str
    meaning: str
    chosen_on: str
    metrics: dict[str, Metric] = field(default_factory=dict)
    bands: tuple[Band, ...] = ()

    def band(self, referred: float) -> Band:
        """The band that leaves this share of pictures undecided.

        Raises:
            BundleError: there is none for this share.
        """
        for band in self.bands:
            if abs(band.referred - referred) < 1e-6:
                return band
        known = ", ".join(f"{band.referred:g}" for band in self.bands)
        raise BundleError(
            f"Operating point '{self.name}' has no band that leaves {referred:g} of the pictures undecided.",
            f"Choose one of: {known}." if known else "This bundle has none: leave it out, or use another bundle.",
        )


@dataclass(frozen=True)
class Calibration:
    """Post-hoc calibration. It is already folded into the classifier's graph; this records what was done."""

    method: Literal["none", "temperature"]
    temperature: float
    fitted_on: str


@dataclass(frozen=True)
class Evaluation:
    """What was measured, on what, and the command that measures it again."""

    data: str
    split: str
    images: int
    lesions: int
    command: str
    metrics: dict[str, Metric]


@dataclass(frozen=True)
class Golden:
    """Stored examples with every intermediate result, and how far a replay of the float32 files may deviate from them.

    See `edge_infer.bundle.golden` and `Tolerance`; `max_probability` holds on the stored crop and end to end.
    """

    file: str
    max_map: float
    min_mask_iou: float
    max_probability: float

    @property
    def tolerance(self) -> Tolerance:
        """The bounds alone."""
        return Tolerance(self.max_map, self.min_mask_iou, self.max_probability, self.max_probability)


@dataclass(frozen=True)
class Provenance:
    """Where the weights come from and what may be done with them."""

    data: str
    citation: str
    license: str
    license_note: str
    trainer_version: str
    created: str
    packages: dict[str, str]
    recipes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FileEntry:
    """One file of the bundle: lower-case hex SHA-256 and size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """The contents of `bundle.json`, schema version 1.

    `variants_left_out` says of every variant that was asked for and failed a gate why it is not in the bundle. Without
    `dermoscopy` no picture is refused for not looking like dermoscopy.
    """

    schema_version: int
    name: str
    description: str
    intended_use: str
    labels: tuple[str, ...]
    label_names: dict[str, str]
    melanoma_label: str
    segmenter: Stage
    classifier: Stage
    mask: MaskRule
    roi: RoiRule
    quality: QualityLimits
    calibration: Calibration
    operating_points: tuple[OperatingPoint, ...]
    default_operating_point: str
    golden: Golden
    parity: tuple[ParityGate, ...]
    evaluations: tuple[Evaluation, ...]
    provenance: Provenance
    files: dict[str, FileEntry]
    variants_left_out: dict[str, str] = field(default_factory=dict)
    dermoscopy: DermoscopyRule | None = None

    @property
    def gates(self) -> tuple[ParityGate, ...]:
        """All parity gates: of the float32 files, then of the variants."""
        stages = (self.segmenter, self.classifier)
        return (
            *self.parity,
            *(gate for stage in stages for variant in stage.variants.values() for gate in variant.parity),
        )

    def variants(self, stage: StageName) -> dict[str, Variant]:
        """Every form of a stage by name, the float32 ONNX file first."""
        spec = self.segmenter if stage == "segmenter" else self.classifier
        plain = {
            DEFAULT_VARIANT: Variant(
                "onnx", spec.files["onnx"], "float32", "any", "float32", self.parity, self.golden.tolerance
            )
        }
        return (plain if "onnx" in spec.files else {}) | spec.variants

    def variant(self, stage: StageName, name: str | None = None) -> Variant:
        """One form of a stage; the float32 ONNX file by default.

        Raises:
            BundleError: the bundle has no such variant of this stage.
        """
        known = self.variants(stage)
        wanted = name or DEFAULT_VARIANT
        if wanted not in known:
            why = self.variants_left_out.get(wanted)
            raise BundleError(
                f"Bundle '{self.name}' has no variant '{wanted}' of its {stage}{f': {why}' if why else '.'}",
                f"It has: {', '.join(known) or 'none'}.",
            )
        return known[wanted]

    @property
    def melanoma_index(self) -> int:
        """Column of the melanoma probability in the classifier's output."""
        return self.labels.index(self.melanoma_label)

    def operating_point(self, name: str | None = None) -> OperatingPoint:
        """The operating point of this name, or the default one.

        Raises:
            BundleError: the bundle has no such operating point.
        """
        wanted = name or self.default_operating_point
        for point in self.operating_points:
            if point.name == wanted:
                return point
        known = ", ".join(point.name for point in self.operating_points)
        raise BundleError(f"Bundle '{self.name}' has no operating point '{wanted}'.", f"Choose one of: {known}.")

    def to_json(self) -> str:
        """The text of `bundle.json`."""
        return json.dumps(dump(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose manifest was read and whose files match their hashes.

    `sha256` is the hash of `bundle.json`; as that lists every file's hash, it identifies the whole bundle.
    """

    path: Path
    manifest: Manifest
    sha256: str

    def file(self, stage: StageName, format: str) -> Path:
        """Path of a stage's file in a format such as `onnx`.

        Raises:
            BundleError: the bundle has no such file.
        """
        files = (self.manifest.segmenter if stage == "segmenter" else self.manifest.classifier).files
        if format not in files:
            raise BundleError(
                f"Bundle '{self.manifest.name}' has no {format} file for its {stage}.",
                f"It has: {', '.join(sorted(files))}.",
            )
        return self.path / files[format]

    def variant_file(self, stage: StageName, name: str | None = None) -> Path:
        """Path of a stage's variant: an `.onnx` file or an `.mlpackage` folder; see `Manifest.variant`.

        Raises:
            BundleError: the bundle has no such variant of this stage.
        """
        return self.path / self.manifest.variant(stage, name).file


def parse_manifest(text: str) -> Manifest:
    """Reads and checks the text of a `bundle.json`.

    Raises:
        BundleSchemaError: no JSON, an unknown schema version, an unknown or missing key, or values that contradict
            each other.
    """
    remedy = "Export the bundle again with this version of the trainer, or install the matching edge-infer."
    try:
        data = json.loads(text)
    except ValueError as error:
        raise BundleSchemaError(
            f"{MANIFEST} is not valid JSON: {error}.", "Restore the bundle from its source."
        ) from error
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        raise BundleSchemaError(
            f"{MANIFEST} has schema version {version!r}; this runtime reads {SCHEMA_VERSION}.", remedy
        )
    try:
        manifest = parse(Manifest, data)
    except SchemaError as error:
        raise BundleSchemaError(f"{MANIFEST}: {error}.", remedy) from error
    for problem in _contradictions(manifest):
        raise BundleSchemaError(f"{MANIFEST}: {problem}.", remedy)
    return manifest


def load_bundle(bundle: str | os.PathLike[str] | None = None) -> Bundle:
    """Finds a bundle and checks every file against the manifest before anything is used.

    Args:
        bundle: a folder's path, a bundle's name, or None for the default one. A name is looked up in the folders
            listed in the environment variable EDGE_INFER_BUNDLES, then among the bundles shipped with the package.

    Raises:
        BundleNotFoundError: nothing there.
        BundleSchemaError: the manifest cannot be read.
        BundleFileMissingError: a listed file is absent.
        BundleTamperedError: a file's hash differs.
    """
    folder = find_bundle(bundle)
    loaded = read_manifest(folder)
    for name, entry in loaded.manifest.files.items():
        verify_file(folder, name, entry)
    return loaded


def read_manifest(folder: Path) -> Bundle:
    """Reads a bundle's manifest without checking its files (for listings)."""
    try:
        raw = (folder / MANIFEST).read_bytes()
        text = raw.decode("utf-8")
    except OSError as error:
        raise BundleNotFoundError(
            f"Cannot read '{folder / MANIFEST}': {error.strerror}.", "Check its permissions."
        ) from error
    except UnicodeDecodeError as error:
        raise BundleSchemaError(
            f"'{folder / MANIFEST}' is not UTF-8 text.", "Restore the bundle from its source."
        ) from error
    return Bundle(folder, parse_manifest(text), hashlib.sha256(raw).hexdigest())


def verify_file(folder: Path, name: str, entry: FileEntry) -> None:
    """Checks one file of a bundle against its manifest entry. Raises as `load_bundle` does."""
    path = folder / name
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BundleFileMissingError(
            f"'{path}' is listed in {MANIFEST} and cannot be read: {error.strerror}.",
            "Copy the whole bundle again.",
        ) from error
    if digest != entry.sha256:
        raise BundleTamperedError(
            f"'{path}' has SHA-256 {digest[:12]}…, the manifest says {entry.sha256[:12]}….",
            "The file was changed or damaged; restore the bundle from its source.",
        )


def search_path() -> list[Path]:
    """Folders in which names are looked up, in order: EDGE_INFER_BUNDLES, the package, the source checkout."""
    listed = [Path(part) for part in os.environ.get(SEARCH_VARIABLE, "").split(os.pathsep) if part]
    package = Path(__file__).parents[1]
    return [*listed, package / "bundles", package.parent / "exported"]


def available_bundles() -> Iterator[Path]:
    """Folders with a manifest on the search path; a name found twice counts where it is found first."""
    seen: set[str] = set()
    for root in search_path():
        for manifest in sorted(root.glob(f"*/{MANIFEST}")):
            folder = manifest.parent
            if folder.name not in seen:
                seen.add(folder.name)
                yield folder


def find_bundle(bundle: str | os.PathLike[str] | None = None) -> Path:
    """The folder of a bundle; see `load_bundle`.

    Raises:
        BundleNotFoundError: nothing there.
    """
    wanted = DEFAULT_BUNDLE if bundle is None else os.fspath(bundle)
    is_name = PurePosixPath(wanted).name == wanted and os.sep not in wanted and wanted not in {".", ".."}
    if is_name:
        for folder in available_bundles():
            if folder.name == wanted:
                return folder
    path = Path(wanted)
    if bundle is not None and (path / MANIFEST).is_file():
        return path
    known = ", ".join(folder.name for folder in available_bundles())
    names = f", or one of these names: {known}" if known else " (no bundle is installed by name)"
    raise BundleNotFoundError(
        f"There is no bundle '{wanted}'.",
        f"Give the path of a folder with a {MANIFEST}{names}. Folders listed in {SEARCH_VARIABLE} are searched too.",
    )


def _contradictions(manifest: Manifest) -> Iterator[str]:
    """What the types alone do not rule out."""
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
    if not 0 <= manifest.roi.margin <= 4:
        yield f"roi.margin {manifest.roi.margin} is not between 0 and 4"
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
    for file in manifest.files:
        parts = PurePosixPath(file)
        if parts.is_absolute() or ".." in parts.parts or "\\" in file or ":" in file:
            yield f"files: '{file}' leaves the bundle's folder"
