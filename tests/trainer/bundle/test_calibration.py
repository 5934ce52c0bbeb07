"""A calibration inside the graph gives what the choices computed from uncalibrated answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.toy_system import CLASSIFIER_SIZE, toy_system, wide_system
from trainer.bundle.errors import ExportError
from trainer.bundle.system import shifted
from trainer.data.ham10000 import DX, MELANOMA
from trainer.models.classification.resnet import BinaryHead
from trainer.models.ensemble import Ensemble
from trainer.scoring.scores import tempered


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("make", [toy_system, wide_system])
def test_temperature_and_bias_in_the_graph_are_those_of_the_choices(make: object, views: int) -> None:
    system = replace(make(), views=views)  # type: ignore[operator]
    shape = (3, CLASSIFIER_SIZE, CLASSIFIER_SIZE, 3)
    batch = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    plain = system.networks().classify(batch)
    both = system.networks(1.7, -0.8).classify(batch)
    np.testing.assert_allclose(both, tempered(plain, 1.7, -0.8, DX.index(MELANOMA)), atol=2e-5)
    np.testing.assert_allclose(system.networks().classify(batch), plain, err_msg="the system itself stays as it is")


LABELS = ("other", "mel", "rest")


def test_every_member_of_an_ensemble_is_shifted_and_a_layer_that_cannot_be_is_refused() -> None:
    members = Ensemble([nn.Linear(2, 3), nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 3))])
    moved = shifted(members, LABELS, "mel", 0.5)
    for before, after in zip(members.members, moved.members, strict=True):  # type: ignore[arg-type]
        first, second = (list(m.modules())[-1].bias.detach() for m in (before, after))
        np.testing.assert_allclose(second - first, [0, 0.5, 0], atol=1e-6)
    for network in (nn.Linear(2, 3, bias=False), nn.Linear(2, 4), nn.Linear(2, 1), nn.ReLU()):
        with pytest.raises(ExportError, match="has no bias of melanoma"):
            shifted(network, LABELS, "mel", 0.5)


@pytest.mark.parametrize("label", [0, 1])
def test_one_unit_that_decides_between_two_labels_is_shifted(label: int) -> None:
    head, features = BinaryHead(4, 8, 0.5, 2).eval(), torch.randn(5, 4)
    before = head(features).softmax(1).detach().numpy()
    after = shifted(head, ("other", "mel"), ("other", "mel")[label], -0.8)(features).softmax(1).detach().numpy()
    np.testing.assert_allclose(after, tempered(before, 1.0, -0.8, label), atol=1e-6)
