"""The manifest's schema.

A bundle is a folder that the trainer writes and the runtime reads. `bundle.json` is its one source of truth: everything
that changes a decision stands there. `exported/README.md` describes it for readers in other languages.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from edge_infer.errors import (
    BundleError,
)
from edge_infer.rules import (
    Calibration,
    DermoscopyRule,
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

SCHEMA_VERSION = 3
UNVERSIONED = "0.0.0"
"""The version of a bundle that was written before bundles had one."""
SINCE: dict[str, tuple[int, Any]] = {
    "version": (2, UNVERSIONED),
    "min_onnxruntime": (2, None),
    "familiarity": (3, None),
}
"""Keys of `Manifest` that came after schema version 1: the version that brought them, and what older ones mean."""
INNER_SINCE = {
    "calibration.bias": 3,
    "calibration.prior": 3,
    "operating_points.*.basis": 3,
    "golden.max_familiarity": 3,
    "provenance.familiarity": 3,
    "segmenter.variants.*.tolerance.max_familiarity": 3,
    "classifier.variants.*.tolerance.max_familiarity": 3,
}
"""The same for keys further inside, `*` standing for any; in older versions they have their defaults."""
MANIFEST = "bundle.json"
MODEL_CARD = "MODEL_CARD.md"
SEGMENTER_FILE, CLASSIFIER_FILE, GOLDEN_FILE = "segmenter.onnx", "classifier.onnx", "golden.npz"
DEFAULT_VARIANT = "float32"
StageName = Literal["segmenter", "classifier"]


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
    max_familiarity: float | None = None

    @property
    def tolerance(self) -> Tolerance:
        """The bounds alone."""
        both = self.max_probability
        return Tolerance(self.max_map, self.min_mask_iou, both, both, self.max_familiarity)


@dataclass(frozen=True)
class Provenance:
    """Where the weights come from and what may be done with them.

    `recipes` are those of the stages; `bundle_recipe` says what made a bundle of them, empty in older bundles.
    `familiarity` says what the segmenter's score was fitted on, empty where it has none.
    """

    data: str
    citation: str
    license: str
    license_note: str
    trainer_version: str
    created: str
    packages: dict[str, str]
    recipes: dict[str, Any] = field(default_factory=dict)
    bundle_recipe: dict[str, Any] = field(default_factory=dict)
    familiarity: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FileEntry:
    """One file of the bundle: lower-case hex SHA-256 and size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """The contents of `bundle.json`. One of an older schema is read as one of the newest; see `SINCE`.

    `variants_left_out` says of every variant that was asked for and failed a gate why it is not in the bundle. What
    does not look like dermoscopy is refused by `familiarity`, a score that the segmenter gives, or by `dermoscopy`,
    measures taken outside the networks; never by both, and by neither where both are None.

    `version` is the bundle's own, three numbers: the first grows where answers may change in kind (other classes, other
    operating points), the second where networks or limits were made anew, the third where only the form of the files
    did and every answer stays. `min_onnxruntime` is the oldest ONNX Runtime that the ONNX files were proven with; None
    where a bundle of schema version 1 does not say.
    """

    schema_version: int
    name: str
    version: str
    min_onnxruntime: str | None
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
    familiarity: FamiliarityRule | None = None

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
