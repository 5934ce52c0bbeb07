"""The forms that a bundle's networks can take, each with its gates, its tolerance and its files' names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from edge_infer.bundle.manifest import StageName
from edge_infer.rules import Tolerance
from trainer.bundle.coreml import Weights
from trainer.bundle.errors import ExportError
from trainer.bundle.gates import Limit, float16_limits, float32_limits, int8_limits
from trainer.bundle.quantize import Target as Processor

_INT8_TOLERANCE = Tolerance(
    max_map=0.01, min_mask_iou=0.97, max_probability=0.05, max_end_to_end=0.1, max_familiarity=2.0
)


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
        *("coreml", "float16", "apple", ".mlpackage", float16_limits, Tolerance(2e-3, 0.99, 0.01, 0.03, 0.5)),
    ),
    "coreml-float32": Kind(
        "Core ML package in float32",
        *("coreml", "float32", "apple", ".float32.mlpackage", float32_limits, Tolerance(1e-3, 0.995, 0.01, 0.01, 0.02)),
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


def files_of(name: str) -> dict[StageName, str]:
    """The file's name of each stage."""
    suffix = KINDS[name].suffix
    return {"segmenter": f"segmenter{suffix}", "classifier": f"classifier{suffix}"}
