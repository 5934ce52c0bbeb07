"""From a float32 file to an int8 one: which blocks stay float, and the file that is written."""

from __future__ import annotations

import importlib.metadata
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnxruntime.quantization import quant_pre_process
from tqdm import tqdm

from trainer.bundle.quantize.errors import QuantizationError
from trainer.bundle.quantize.quantizer import BlockSensitivity, Quantizer, Target
from trainer.bundle.quantize.runs import Pictures, check_pictures
from trainer.bundle.quantize.shift import Decisions, Shift
from trainer.bundle.rewrite import expand_depth_to_space, rewrite_transposed
from trainer.bundle.storage import narrow, save_onnx, widen

_LEADING = (1, 2, 3, 4, 6, 8)


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
    rewrite_transposed(source_model)
    expand_depth_to_space(source_model)
    check_pictures(source_model, calibration, selection)
    with tempfile.TemporaryDirectory(prefix="quantize-") as name:
        folder = Path(name)
        wide, prepared = folder / "wide.onnx", folder / "prepared.onnx"
        onnx.save(source_model, wide)
        quant_pre_process(wide, prepared, skip_symbolic_shape=True)
        quantizer = Quantizer(prepared, folder, calibration, selection, target, reduce_range, decisions)
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
