"""One network in int8, again and again with other blocks in float; biases are corrected where it helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from tqdm import tqdm

from trainer.bundle.quantize.biases import BiasCorrection
from trainer.bundle.quantize.blocks import find_blocks, layer_paths
from trainer.bundle.quantize.runs import Pictures, batches, run
from trainer.bundle.quantize.shift import Decisions, Shift, measure_shift

Target = Literal["x86", "arm"]
# ONNX Runtime has no int8 ConvTranspose on the CPU: quantising one that was not rewritten would only add conversions.
_QUANTIZED = [
    "Conv",
    "Gemm",
    "MatMul",
    "Add",
    "Concat",
    "Relu",
    "Clip",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "Resize",
]
# A linear layer gives logits: eight bits there would be seen in the probabilities.
_FLOAT_RESULT = ["Gemm"]
_BIAS_PICTURES = 32


@dataclass(frozen=True)
class BlockSensitivity:
    """A block (a module path of the network), its layers with weights, and the shift when it alone is int8."""

    block: str
    layers: int
    shift: Shift


@dataclass(frozen=True)
class Attempt:
    """One int8 network and how far it is from the float one; fields as in `QuantizationReport`."""

    model: onnx.ModelProto
    float_blocks: tuple[str, ...]
    shift: Shift
    shift_uncorrected: Shift
    corrected_layers: int


class Quantizer:
    """Quantises one prepared network again and again, with other blocks kept float each time."""

    def __init__(
        self,
        prepared: Path,
        folder: Path,
        calibration: Pictures,
        selection: Pictures,
        target: Target,
        reduce_range: bool,
        decisions: Decisions | None,
    ) -> None:
        self._decisions = decisions
        self._prepared, self._folder = prepared, folder
        self._calibration, self._selection = calibration, selection
        self._target, self._reduce_range = target, reduce_range and target == "x86"
        self._model = onnx.load(prepared)
        self.blocks = find_blocks(self._model)
        self._outside = {node.name for node in self._model.graph.node} - {
            name for names in self.blocks.values() for name in names
        }
        self._layers = [node for node in self._model.graph.node if node.name in layer_paths(self._model)]
        self._expected = run(self._model, selection)
        self._correction = BiasCorrection(self._model, self._layers, calibration[:_BIAS_PICTURES])

    @property
    def scheme(self) -> str:
        """In words, for the report and the file."""
        kind = "U8S8" if self._target == "x86" else "S8S8"
        return f"QDQ {kind}, per channel{', 7-bit weights' if self._reduce_range else ''}"

    def scan(self, progress: bool = False) -> tuple[BlockSensitivity, ...]:
        """Quantises each block alone; the most sensitive first."""
        layers = {node.name for node in self._layers}
        result = []
        blocks = tqdm(self.blocks.items(), desc="sensitivity", unit="block", disable=not progress)
        for block, nodes in blocks:
            alone = self._quantize([other for other in self.blocks if other != block])
            self._correction.apply(alone)
            shift = self._shift(alone)
            result.append(BlockSensitivity(block, len(layers & set(nodes)), shift))
        return tuple(sorted(result, key=lambda entry: entry.shift.mean, reverse=True))

    def attempt(self, float_blocks: Sequence[str]) -> Attempt:
        """Quantises all but these blocks; biases are corrected if that brings the results nearer."""
        model = self._quantize(float_blocks)
        plain = self._shift(model)
        corrected = onnx.ModelProto()
        corrected.CopyFrom(model)
        layers = self._correction.apply(corrected)
        shift = self._shift(corrected)
        if shift.mean < plain.mean:
            return Attempt(corrected, tuple(float_blocks), shift, plain, layers)
        return Attempt(model, tuple(float_blocks), plain, plain, 0)

    def _shift(self, model: onnx.ModelProto) -> Shift:
        return measure_shift(self._expected, run(model, self._selection), self._decisions)

    def _quantize(self, float_blocks: Sequence[str]) -> onnx.ModelProto:
        kept = self._outside.union(*(self.blocks[block] for block in float_blocks))
        output = self._folder / "quantized.onnx"
        quantize_static(
            self._prepared,
            output,
            _Reader(self._model.graph.input[0].name, self._calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_QUANTIZED,
            per_channel=True,
            reduce_range=self._reduce_range,
            activation_type=QuantType.QUInt8 if self._target == "x86" else QuantType.QInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=sorted(kept),
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"OpTypesToExcludeOutputQuantization": _FLOAT_RESULT},
            calibration_cache_path=self._folder / "ranges.json",
        )
        return onnx.load(output)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands pictures to ONNX Runtime's calibration, batch by batch."""

    def __init__(self, name: str, pictures: Pictures) -> None:
        self._batches = iter([{name: batch} for batch in batches(pictures)])

    def get_next(self) -> dict[str, Pictures] | None:
        return next(self._batches, None)
