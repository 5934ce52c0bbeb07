"""Saved programs: read as they are, asked with the right pictures, rounded as they say."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.packages import NORMALIZATION, Lambda, Spread, pictures, stage
from trainer.bundle.coreml import export_coreml
from trainer.bundle.mil import MilError, MilProgram, UnknownOperationError
from trainer.models.serving import ServingSegmenter, as_network


def test_height_and_width_are_not_mixed_up_and_names_are_kept(tmp_path: Path) -> None:
    graph = ServingSegmenter(nn.Conv2d(3, 1, 3, padding=1), NORMALIZATION)
    export_coreml(graph, stage("probability_map", 24, 40, "dermoscopy"), None, tmp_path / "segmenter.mlpackage")
    program = MilProgram(tmp_path / "segmenter.mlpackage")
    assert program.input_shape == (24, 40, 3)
    batch = pictures(2, 24, 40)
    assert program.run(batch) == pytest.approx(as_network(graph)(batch), abs=5e-3)
    with pytest.raises(MilError, match=r"24, 40"):
        program.run(pictures(1, 40, 24))
    with pytest.raises(MilError, match="uint8"):
        program.run(batch.astype(np.float32))  # type: ignore[arg-type]


def test_an_unknown_operation_is_named(tmp_path: Path) -> None:
    model = Spread(Lambda(lambda x: torch.atan(x))).eval()
    export_coreml(model, stage("probability_map", 8, 8), None, tmp_path / "odd.mlpackage")
    with pytest.raises(UnknownOperationError, match="'atan'") as caught:
        MilProgram(tmp_path / "odd.mlpackage")
    assert caught.value.operation == "atan"


def test_overflow_in_float16_is_not_hidden(tmp_path: Path) -> None:
    model = Spread(Lambda(lambda x: (x * 3e4) * 3.0)).eval()
    export_coreml(model, stage("probability_map", 8, 8), None, tmp_path / "large.mlpackage")
    program = MilProgram(tmp_path / "large.mlpackage")
    batch = np.full((1, 8, 8, 3), 255, np.uint8)
    assert math.isinf(program.run(batch).max())
    assert np.isfinite(program.run(batch, fp16=False)).all()
