"""Operations of the interpreter against PyTorch."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.support.packages import Lambda, Spread, pictures, settled, stage
from trainer.bundle.coreml import export_coreml
from trainer.bundle.mil import MilProgram
from trainer.models.serving import as_network

OPERATIONS: dict[str, tuple[str, nn.Module]] = {
    "dilated, grouped convolution": ("conv", nn.Conv2d(3, 6, 3, stride=2, padding=2, dilation=2, groups=3)),
    "uneven padding": ("conv", nn.Conv2d(3, 2, (3, 5), padding=(0, 2))),
    "same padding": ("conv", nn.Conv2d(3, 2, 4, padding="same")),
    "transposed convolution": ("conv_transpose", nn.ConvTranspose2d(3, 4, 2, stride=2)),
    "transposed convolution, cropped": ("conv_transpose", nn.ConvTranspose2d(3, 4, 4, stride=2, padding=1)),
    "max pooling with padding": ("max_pool", nn.MaxPool2d(3, stride=2, padding=1)),
    "average pooling": ("avg_pool", nn.AvgPool2d(2, stride=2)),
    "average pooling without padding in the mean": (
        "avg_pool",
        nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False),
    ),
    "average pooling with padding in the mean": ("avg_pool", nn.AvgPool2d(3, stride=2, padding=1)),
    "batch norm that cannot be folded": ("batch_norm", nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3))),
    "nearest": ("upsample_nearest_neighbor", nn.Upsample(scale_factor=2, mode="nearest")),
    "bilinear": ("upsample_bilinear", nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)),
    "bilinear, corners aligned": (
        "upsample_bilinear",
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
    ),
    "concatenation": ("concat", Lambda(lambda x: torch.cat([x, x * 2], dim=1))),
    "slice": ("slice_by_index", Lambda(lambda x: x[:, 1:, ::2, 3:9])),
    "transpose": ("transpose", Lambda(lambda x: x.transpose(2, 3))),
    "reshape": ("reshape", Lambda(lambda x: x.reshape(1, 6, -1, 16))),
    "squeeze": ("squeeze", Lambda(lambda x: x[:, :1].squeeze(1) + x.mean(1))),
    "expand": ("expand_dims", Lambda(lambda x: x.mean((2, 3)).unsqueeze(2).unsqueeze(1))),
    "mean": ("reduce_mean", Lambda(lambda x: x.mean((2, 3), keepdim=True))),
    "constant padding": ("pad", Lambda(lambda x: F.pad(x, (1, 2, 3, 4), value=0.5))),
    "reverse": ("reverse", Lambda(lambda x: x.flip(1, 3))),
    "clip": ("clip", nn.Hardtanh(-0.5, 0.7)),
    "subtraction": ("sub", Lambda(lambda x: x.mean(1, keepdim=True) - x)),
    "division": ("real_div", Lambda(lambda x: x / (x.abs().mean() + x * x + 1))),
    "matrix product": ("matmul", Lambda(lambda x: x @ x.transpose(2, 3))),
}


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_operations_are_those_of_torch(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    operation, module = OPERATIONS[name]
    module = settled(copy.deepcopy(module), 16) if isinstance(module, nn.Sequential) else module
    model = Spread(module).eval()
    path = tmp_path / "operation.mlpackage"
    export_coreml(model, stage("probability_map", 16, 16), None, path, precision="float32")
    program = MilProgram(path)
    assert operation in program.operations
    batch = pictures(2, 16, 16)
    expected = np.concatenate([as_network(model)(batch[i : i + 1]) for i in range(2)])
    result = program.run(batch)
    assert result.shape == expected.shape
    assert result == pytest.approx(expected, abs=1e-5)
