"""Bias correction takes back what rounded weights add, as a constant input shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from tests.trainer.bundle.quantize.networks import Rounded, export
from trainer.bundle.quantize import quantize_onnx
from trainer.bundle.quantize.biases import mean_of_error


def test_bias_correction_makes_up_for_rounded_weights(
    pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    source = export(Rounded(), tmp_path / "rounded.onnx")
    report = quantize_onnx(source, tmp_path / "int8.onnx", *pictures, limit=1.0, float_blocks=[])
    assert report.corrected_layers == 3
    assert report.shift_uncorrected.mean > 0.02
    assert report.shift.mean < 0.5 * report.shift_uncorrected.mean


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_expected_error_is_that_of_a_constant_input(groups: int) -> None:
    error = torch.randn(8, 4 // groups, 3, 3, generator=torch.Generator().manual_seed(groups))
    means = torch.tensor([0.5, -1.0, 2.0, 3.0])
    flat = means[None, :, None, None].expand(1, 4, 5, 5)
    expected = nn.functional.conv2d(flat, error, groups=groups)[0, :, 0, 0]
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], group=groups)
    actual = mean_of_error(node, error.numpy(), means.numpy())
    assert actual == pytest.approx(expected.numpy(), rel=1e-4)
