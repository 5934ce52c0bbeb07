"""int8 files: close to float within the limit, sensitive blocks found and kept float, the report true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from tests.trainer.bundle.quantize.networks import BLOCKS, SIZE, Classifier, drawn, export, run
from trainer.bundle.quantize import QuantizationError, QuantizationReport, measure_shift, quantize_onnx


def test_probabilities_stay_within_the_limit_on_new_pictures(
    classifier: Path, quantized: tuple[Path, QuantizationReport]
) -> None:
    path, report = quantized
    new = drawn(16, 9)
    expected, actual = run(classifier, new), run(path, new)
    assert np.ptp(expected, axis=0).max() > 0.1
    assert 0 < np.abs(expected - actual).max() <= 0.06
    assert report.shift.worst <= 0.05
    assert report.int8_bytes == path.stat().st_size
    assert report.float_bytes == classifier.stat().st_size


def test_the_report_is_what_the_written_file_does(
    classifier: Path,
    quantized: tuple[Path, QuantizationReport],
    pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    path, report = quantized
    again = measure_shift(run(classifier, pictures[1]), run(path, pictures[1]))
    assert (again.mean, again.worst) == pytest.approx((report.shift.mean, report.shift.worst), abs=2e-3)
    assert (report.float_blocks, report.sensitivity) == ((), ())


def test_input_output_and_metadata_are_those_of_the_source(
    classifier: Path, quantized: tuple[Path, QuantizationReport]
) -> None:
    before, after = onnx.load(classifier), onnx.load(quantized[0])
    assert [value.SerializeToString() for value in before.graph.input] == [
        value.SerializeToString() for value in after.graph.input
    ]
    assert [value.name for value in before.graph.output] == [value.name for value in after.graph.output]
    old, new = ({entry.key: entry.value for entry in model.metadata_props} for model in (before, after))
    quantization = json.loads(new.pop("edge_infer.quantization"))
    assert new == old
    assert quantization["scheme"] == quantized[1].scheme
    assert quantization["float_blocks"] == list(quantized[1].float_blocks)


def test_the_scan_finds_what_cannot_be_quantised(
    pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    source = export(Classifier(spike=1000.0), tmp_path / "spiky.onnx")
    with pytest.raises(QuantizationError, match="shift"):
        quantize_onnx(source, tmp_path / "all.onnx", *pictures, limit=0.03, float_blocks=[])
    assert not (tmp_path / "all.onnx").exists()
    report = quantize_onnx(source, tmp_path / "some.onnx", *pictures, limit=0.03)
    assert {entry.block for entry in report.sensitivity} == set(BLOCKS)
    assert {entry.block for entry in report.sensitivity[:2]} == {"spiky.0", "spiky.1"}
    assert report.sensitivity[1].shift.mean > 3 * report.sensitivity[2].shift.mean
    assert set(report.float_blocks) == {"spiky.0", "spiky.1"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"float_blocks": ["stem.0", "nose"]}, "nose"),
        ({"calibration": np.zeros((2, SIZE, SIZE + 1, 3), np.uint8)}, "pictures"),
        ({"selection": np.zeros((2, SIZE, SIZE, 3), np.float32)}, "pictures"),
        ({"calibration": np.zeros((0, SIZE, SIZE, 3), np.uint8)}, "pictures"),
    ],
)
def test_wrong_arguments_are_refused(
    change: dict[str, Any],
    message: str,
    classifier: Path,
    pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    tmp_path: Path,
) -> None:
    arguments: dict[str, Any] = {"calibration": pictures[0], "selection": pictures[1], "limit": 1.0, **change}
    with pytest.raises(QuantizationError, match=message):
        quantize_onnx(classifier, tmp_path / "int8.onnx", **arguments)
    assert list(tmp_path.iterdir()) == []
