"""int8 for ONNX files: static QDQ by ONNX Runtime's own tools, with what stays float decided by measurement.

1. Activation ranges are observed on calibration pictures of the training split.
2. Bias correction (Nagel et al., arXiv 1906.04721, section 4.2): rounding a layer's weights moves the mean of its
   output by the rounding error times the mean of its input, which is measured and taken back from the bias; what still
   moves the mean of the last layer is measured and taken back there. It is kept only where it helps.
3. Where the whole network in int8 moves the probabilities too far on other training pictures, its first blocks are kept
   in float, one more in each attempt, as long as they are less than a third: they are the sensitive ones in most
   networks, and an attempt is a measurement.
4. Where that is not enough, a sensitivity scan quantises each block alone, biases corrected, and ranks the blocks by
   how far they move the probabilities. The most sensitive are kept in float, as few as bring the shift under the limit.

Nothing here looks at the validation split: the parity gates judge the result there.
"""

from __future__ import annotations

import importlib.metadata
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)
from tqdm import tqdm

from trainer.bundle.errors import ExportError
from trainer.bundle.storage import narrow, save_onnx, widen

Target = Literal["x86", "arm"]
Pictures = NDArray[np.uint8]
Results = NDArray[np.float32]

_WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
# ONNX Runtime has no int8 ConvTranspose on the CPU: quantising it would only add conversions.
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
_BATCH = 8
_BIAS_PICTURES = 32
_LEADING = (1, 2, 3, 4, 6, 8)


class QuantizationError(ExportError):
    """The network cannot be quantised within the limit."""

    code = "quantization"


@dataclass(frozen=True)
class Shift:
    """How far results moved: per picture the largest |Δp| of a class, or the mean |Δp| of a map; then over pictures.

    `flipped` is the share of decisions that changed, over pictures and thresholds; 0 without thresholds.
    """

    mean: float
    worst: float
    flipped: float = 0.0


@dataclass(frozen=True)
class Decisions:
    """What is decided from probabilities: `column` at each of `thresholds`; `limit` is the largest share to change."""

    column: int
    thresholds: tuple[float, ...]
    limit: float


@dataclass(frozen=True)
class BlockSensitivity:
    """A block (a module path of the network), its layers with weights, and the shift when it alone is int8."""

    block: str
    layers: int
    shift: Shift


@dataclass(frozen=True)
class QuantizationReport:
    """What was measured and decided.

    Attributes:
        scheme: for example "QDQ U8S8, per channel, 7-bit weights".
        sensitivity: all blocks, the most sensitive first; empty where no scan was needed.
        float_blocks: what stays float.
        shift: of the written file on the selection pictures.
        shift_uncorrected: the same before bias correction.
        corrected_layers: layers whose bias was corrected; 0 where correction did not help and was dropped.
        float_bytes: size of the float32 file.
        int8_bytes: size of the written file.
    """

    scheme: str
    sensitivity: tuple[BlockSensitivity, ...]
    float_blocks: tuple[str, ...]
    shift: Shift
    shift_uncorrected: Shift
    corrected_layers: int
    float_bytes: int
    int8_bytes: int


def quantize_onnx(
    source: Path,
    target_path: Path,
    calibration: Pictures,
    selection: Pictures,
    *,
    limit: float,
    target: Target = "x86",
    reduce_range: bool = True,
    float_blocks: Sequence[str] | None = None,
    mean_limit: float | None = None,
    decisions: Decisions | None = None,
    progress: bool = False,
) -> QuantizationReport:
    """Quantises a float32 ONNX file and writes the int8 one, with the same input, output and metadata.

    Where the source stores weights as float16, so does the int8 file with those of layers that stay float.

    Args:
        source: a file from `export_onnx`: uint8 (n, h, w, 3) in, probabilities out. What is before the first and after
            the last layer with weights (normalisation, temperature, softmax or sigmoid) stays float.
        target_path: file to write.
        calibration: uint8 (n, h, w, 3), training pictures as the network sees them; they set the activation ranges and
            the bias correction.
        selection: the same, other pictures; they measure sensitivity and shift.
        limit: largest allowed `Shift.worst` on the selection pictures, in probability.
        target: "x86" takes unsigned activations (U8S8), "arm" signed ones (S8S8); weights are signed, per channel.
        reduce_range: 7-bit weights. On x86 without VNNI the 16-bit sums of U8S8 saturate with 8-bit weights, which
            changes results silently; a file that is meant for any x86 machine needs this. Ignored for "arm".
        float_blocks: module paths to keep in float; None finds by measurement which, where int8 throughout is too far.
        mean_limit: largest allowed `Shift.mean`; of maps, where one uncertain picture decides what the worst one is.
        decisions: of a classifier: at most so many may change on the selection pictures.
        progress: shows bars on stderr.

    Raises:
        QuantizationError: a block is unknown, the pictures do not fit, or a limit is not reached.
    """
    source_model = onnx.load(source)
    narrowed = widen(source_model)
    _check_pictures(source_model, calibration, selection)
    with tempfile.TemporaryDirectory(prefix="quantize-") as name:
        folder = Path(name)
        wide, prepared = folder / "wide.onnx", folder / "prepared.onnx"
        onnx.save(source_model, wide)
        quant_pre_process(wide, prepared, skip_symbolic_shape=True)
        quantizer = _Quantizer(prepared, folder, calibration, selection, target, reduce_range, decisions)
        unknown = set(float_blocks or ()) - set(quantizer.blocks)
        if unknown:
            raise QuantizationError(
                f"No such block: {', '.join(sorted(unknown))}.", f"Known: {', '.join(quantizer.blocks)}."
            )

        def excess(shift: Shift) -> float:
            """1 where the tighter of the limits is just reached."""
            flipped = 0.0 if decisions is None else shift.flipped / decisions.limit
            return max(shift.worst / limit, 0.0 if mean_limit is None else shift.mean / mean_limit, flipped)

        best = quantizer.attempt(float_blocks or ())
        sensitivity: tuple[BlockSensitivity, ...] = ()

        def improve(candidates: Sequence[Sequence[str]]) -> None:
            """Tries sets of float blocks in turn until one is within the limits."""
            nonlocal best
            for blocks in tqdm(candidates, desc="blocks in float", unit="attempt", disable=not progress):
                if excess(best.shift) <= 1:
                    return
                best = min(best, quantizer.attempt(blocks), key=lambda attempt: excess(attempt.shift))

        if float_blocks is None and excess(best.shift) > 1:
            names = list(quantizer.blocks)
            improve([names[:count] for count in _LEADING if count <= len(names) // 3])
        if float_blocks is None and excess(best.shift) > 1:
            sensitivity = quantizer.scan(progress)
            ranked = [entry.block for entry in sensitivity]
            improve([ranked[:count] for count in range(1, len(ranked))])
        if excess(best.shift) > 1:
            raise QuantizationError(
                f"Probabilities shift by more than {limit} in int8; best: {best.shift.worst:.4f}, mean "
                f"{best.shift.mean:.4f}, {best.shift.flipped:.2%} of the decisions changed, with "
                f"{', '.join(best.float_blocks) or 'nothing'} in float.",
                "Train with a quantisation-friendly activation (ReLU, ReLU6), raise the limit, or ship float32.",
            )
        scheme = quantizer.scheme
        quantization = {
            "scheme": scheme,
            "float_blocks": list(best.float_blocks),
            "onnxruntime": importlib.metadata.version("onnxruntime"),
        }
        metadata = {entry.key: entry.value for entry in source_model.metadata_props}
        metadata["edge_infer.quantization"] = json.dumps(quantization)
        del best.model.metadata_props[:]
        onnx.helper.set_model_props(best.model, metadata)
        if narrowed:
            narrow(best.model)
        save_onnx(best.model, target_path)
    return QuantizationReport(
        scheme,
        sensitivity,
        tuple(best.float_blocks),
        best.shift,
        best.shift_uncorrected,
        best.corrected_layers,
        source.stat().st_size,
        target_path.stat().st_size,
    )


def find_blocks(model: onnx.ModelProto, most: int = 48) -> dict[str, list[str]]:
    """Groups a network's nodes by the module that they come from, in the graph's order.

    The name of a layer's weight, as torch's exporter keeps it, is its module path. Paths are cut at the deepest level
    that gives at most `most` blocks. A node without weights belongs to the block of its latest input; what comes before
    every layer with weights, and what no such layer needs (the way from the logits to the output), belongs to none.

    Args:
        model: with plain initializers; see `trainer.bundle.storage.load_wide`.
        most: how many blocks at most.

    Returns:
        Node names by block.
    """
    paths = _layer_paths(model)
    depths = range(1, max(map(len, paths.values()), default=0) + 1)
    sufficient = [depth for depth in depths if len({path[:depth] for path in paths.values()}) <= most]
    depth = max(sufficient, default=1)
    blocks: dict[str, list[str]] = {}
    made_by: dict[str, tuple[int, str]] = {}
    needed: set[str] = set()
    for node in reversed(model.graph.node):
        if node.name in paths or needed.intersection(node.output):
            needed.update(node.input)
    for position, node in enumerate(model.graph.node):
        if node.name in paths:
            block = ".".join(paths[node.name][:depth])
        else:
            inputs = [made_by[name] for name in node.input if name in made_by]
            if not inputs or not needed.intersection(node.output):
                continue
            block = max(inputs)[1]
        blocks.setdefault(block, []).append(node.name)
        made_by.update((name, (position, block)) for name in node.output)
    return blocks


@dataclass(frozen=True)
class _Attempt:
    model: onnx.ModelProto
    float_blocks: tuple[str, ...]
    shift: Shift
    shift_uncorrected: Shift
    corrected_layers: int


class _Quantizer:
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
        self._layers = [node for node in self._model.graph.node if node.name in _layer_paths(self._model)]
        self._expected = _run(self._model, selection)
        self._means: dict[str, Results] | None = None

    @property
    def scheme(self) -> str:
        kind = "U8S8" if self._target == "x86" else "S8S8"
        return f"QDQ {kind}, per channel{', 7-bit weights' if self._reduce_range else ''}"

    def scan(self, progress: bool = False) -> tuple[BlockSensitivity, ...]:
        layers = {node.name for node in self._layers}
        result = []
        blocks = tqdm(self.blocks.items(), desc="sensitivity", unit="block", disable=not progress)
        for block, nodes in blocks:
            alone = self._quantize([other for other in self.blocks if other != block])
            self._correct_biases(alone)
            shift = self._shift(alone)
            result.append(BlockSensitivity(block, len(layers & set(nodes)), shift))
        return tuple(sorted(result, key=lambda entry: entry.shift.mean, reverse=True))

    def attempt(self, float_blocks: Sequence[str]) -> _Attempt:
        model = self._quantize(float_blocks)
        plain = self._shift(model)
        corrected = onnx.ModelProto()
        corrected.CopyFrom(model)
        layers = self._correct_biases(corrected)
        shift = self._shift(corrected)
        if shift.mean < plain.mean:
            return _Attempt(corrected, tuple(float_blocks), shift, plain, layers)
        return _Attempt(model, tuple(float_blocks), plain, plain, 0)

    def _shift(self, model: onnx.ModelProto) -> Shift:
        return measure_shift(self._expected, _run(model, self._selection), self._decisions)

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

    def _correct_biases(self, model: onnx.ModelProto) -> int:
        """Corrects `model` in place; returns the number of layers whose bias changed."""
        pictures = self._calibration[:_BIAS_PICTURES]
        last = self._layers[-1].output[0]
        if self._means is None:
            inner = dict.fromkeys([*(node.input[0] for node in self._layers), last])
            self._means = _channel_means(self._model, list(inner), pictures)
        floats = {tensor.name: tensor for tensor in self._model.graph.initializer}
        originals = {node.name: node for node in self._layers}
        changed = set()
        for node in model.graph.node:
            original, bias = originals.get(node.name), _Bias.of(model, node)
            stored = _dequantized(model, node.input[1]) if original and bias else None
            if original is None or bias is None or stored is None:
                continue
            error = numpy_helper.to_array(floats[original.input[1]]) - stored
            moved = _mean_of_error(original, error, self._means[original.input[0]])
            if moved is not None and bias.add(moved):
                changed.add(node.name)
        head = next(node for node in model.graph.node if node.name == self._layers[-1].name)
        bias = _Bias.of(model, head)
        if bias is not None:
            now = _channel_means(model, [head.output[0]], pictures)[head.output[0]]
            if bias.add(self._means[last] - now):
                changed.add(head.name)
        return len(changed)


@dataclass(frozen=True)
class _Bias:
    """A layer's bias: a float initializer, or an int32 one with the scale of its DequantizeLinear."""

    tensor: onnx.TensorProto
    scale: Results | None

    @classmethod
    def of(cls, model: onnx.ModelProto, node: onnx.NodeProto) -> _Bias | None:
        if node.op_type not in _WEIGHTED or len(node.input) < 3 or not node.input[2]:
            return None
        initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        name = node.input[2]
        if name in initializers:
            return cls(initializers[name], None)
        dequantize = next(other for other in model.graph.node if name in other.output)
        return cls(initializers[dequantize.input[0]], numpy_helper.to_array(initializers[dequantize.input[1]]))

    def add(self, error: Results) -> bool:
        """Adds the error per channel; returns whether the stored values changed."""
        old = numpy_helper.to_array(self.tensor)
        step = error if self.scale is None else np.rint(error / self.scale)
        limits = np.iinfo(np.int32) if self.scale is not None else np.finfo(np.float32)
        new = np.clip(old.astype(np.float64) + step, limits.min, limits.max).astype(old.dtype)
        self.tensor.CopyFrom(numpy_helper.from_array(new, self.tensor.name))
        return bool((new != old).any())


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, name: str, pictures: Pictures) -> None:
        self._batches = iter([{name: batch} for batch in _batches(pictures)])

    def get_next(self) -> dict[str, Pictures] | None:
        return next(self._batches, None)


def _dequantized(model: onnx.ModelProto, name: str) -> Results | None:
    """Values of a weight as the int8 file restores them; None where the layer stayed float."""
    dequantize = next((node for node in model.graph.node if name in node.output), None)
    if dequantize is None or dequantize.op_type != "DequantizeLinear":
        return None
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    values, scale, zero = (numpy_helper.to_array(initializers[part]) for part in dequantize.input)
    axis = next((attribute.i for attribute in dequantize.attribute if attribute.name == "axis"), 1)
    shape = [1] * values.ndim
    if scale.ndim:
        shape[axis] = -1
    difference = values.astype(np.float32) - zero.astype(np.float32).reshape(shape)
    return np.asarray(difference * scale.reshape(shape), np.float32)


def _mean_of_error(node: onnx.NodeProto, error: Results, means: Results) -> Results | None:
    """What an error of the weights adds to the mean of each output channel, border effects left out.

    Args:
        node: a Conv, or a Gemm with transposed weights; for others the result is None.
        error: shape of the weights, (out, in / groups, ...).
        means: mean of each input channel.
    """
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    if node.op_type == "Gemm" and attributes.get("transB") == 1:
        return np.asarray(error @ means, np.float32)
    if node.op_type != "Conv":
        return None
    groups = attributes.get("group", 1)
    by_input = error.reshape(*error.shape[:2], -1).sum(axis=2)
    inputs = np.repeat(means.reshape(groups, -1), len(error) // groups, axis=0)
    return np.asarray((by_input * inputs).sum(axis=1), np.float32)


def measure_shift(expected: Results, actual: Results, decisions: Decisions | None = None) -> Shift:
    """Compares results of the same pictures; shapes (n, classes) or (n, h, w). See `Shift`."""
    difference = np.abs(expected.astype(np.float64) - actual)
    by_picture = difference.max(axis=1) if difference.ndim == 2 else difference.mean(axis=(1, 2))
    flipped = 0.0
    if decisions is not None:
        thresholds = np.array(decisions.thresholds)
        before, after = (result[:, decisions.column, None] >= thresholds for result in (expected, actual))
        flipped = float((before != after).mean())
    return Shift(float(by_picture.mean()), float(by_picture.max()), flipped)


def _layer_paths(model: onnx.ModelProto) -> dict[str, tuple[str, ...]]:
    """Module path of every node with stored weights, without the part that all share."""
    stored = {tensor.name for tensor in model.graph.initializer}
    paths = {}
    for node in model.graph.node:
        if node.op_type in _WEIGHTED and len(node.input) > 1 and node.input[1] in stored:
            paths[node.name] = tuple(node.input[1].removesuffix(".weight").split("."))
    while len({path[0] for path in paths.values()}) == 1 and all(len(path) > 1 for path in paths.values()):
        paths = {name: path[1:] for name, path in paths.items()}
    return paths


def _check_pictures(model: onnx.ModelProto, *sets: Pictures) -> None:
    wanted = tuple(size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim)[1:]
    for pictures in sets:
        if pictures.dtype != np.uint8 or pictures.shape[1:] != wanted or not len(pictures):
            raise QuantizationError(
                f"The network takes uint8 pictures of {wanted}, got {pictures.dtype} {pictures.shape}.",
                "Prepare the pictures as the pipeline does (resize, or crop for the classifier).",
            )


def _batches(pictures: Pictures) -> list[Pictures]:
    return [pictures[start : start + _BATCH] for start in range(0, len(pictures), _BATCH)]


def _session(model: onnx.ModelProto) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _run(model: onnx.ModelProto, pictures: Pictures) -> Results:
    session, name = _session(model), model.graph.input[0].name
    return np.concatenate([session.run(None, {name: batch})[0] for batch in _batches(pictures)])


def _channel_means(model: onnx.ModelProto, tensors: Sequence[str], pictures: Pictures) -> dict[str, Results]:
    """Mean of each channel (axis 1) of inner tensors over pictures and positions."""
    outputs = list(model.graph.output)
    del model.graph.output[:]
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None) for tensor in tensors
    )
    session = _session(model)
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    totals: dict[str, NDArray[np.float64]] = {}
    for batch in _batches(pictures):
        for tensor, value in zip(tensors, session.run(None, {model.graph.input[0].name: batch}), strict=True):
            axes = (0, *range(2, value.ndim))
            share = value.mean(axis=axes, dtype=np.float64) * (len(batch) / len(pictures))
            totals[tensor] = totals.get(tensor, 0) + share
    return {tensor: total.astype(np.float32) for tensor, total in totals.items()}
