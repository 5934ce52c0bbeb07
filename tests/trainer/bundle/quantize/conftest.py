"""Pictures to calibrate and to choose on, and a classifier before and after."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.trainer.bundle.quantize.networks import Classifier, drawn, export
from trainer.bundle.quantize import QuantizationReport, quantize_onnx


@pytest.fixture(scope="module")
def pictures() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return drawn(24, 1), drawn(16, 2)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return export(Classifier(), tmp_path_factory.mktemp("quantize") / "classifier.onnx")


@pytest.fixture(scope="module")
def quantized(
    classifier: Path, pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]]
) -> tuple[Path, QuantizationReport]:
    path = classifier.with_name("classifier.int8.onnx")
    return path, quantize_onnx(classifier, path, *pictures, limit=0.05)
