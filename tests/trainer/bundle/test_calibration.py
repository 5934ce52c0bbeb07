"""A calibration inside the graph gives what the choices computed from uncalibrated answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from tests.support.toy_system import CLASSIFIER_SIZE, toy_system, wide_system
from trainer.bundle.errors import ExportError
from trainer.bundle.system import shifted
from trainer.data.ham10000 import DX, MELANOMA
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


def test_every_member_of_an_ensemble_is_shifted_and_a_layer_without_bias_is_refused() -> None:
    members = Ensemble([nn.Linear(2, 3), nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 3))])
    moved = shifted(members, 1, 0.5)
    for before, after in zip(members.members, moved.members, strict=True):  # type: ignore[arg-type]
        first, second = (list(m.modules())[-1].bias.detach() for m in (before, after))
        np.testing.assert_allclose(second - first, [0, 0.5, 0], atol=1e-6)
    with pytest.raises(ExportError, match="has no bias"):
        shifted(nn.Linear(2, 3, bias=False), 1, 0.5)
