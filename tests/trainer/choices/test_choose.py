"""Choices follow from stored answers alone, and are what choosing beside the networks gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_infer.steps.appearance import measure_appearance
from edge_infer.steps.image import open_picture
from edge_infer.steps.quality import measure_quality
from edge_infer.steps.resize import resize
from tests.support.toy_system import toy_system
from trainer.choices.appearance import fit_rule
from trainer.choices.choose import Choices, choose
from trainer.choices.limits import area_limits, confidence_limit, quality_limits
from trainer.choices.operating_points import DEFAULT_POINT, choose_operating_points, fit_temperature
from trainer.data.drawn import draw_dataset
from trainer.data.ham10000 import MELANOMA, SOURCE, Record, read_ham10000
from trainer.data.negatives import negatives
from trainer.data.varied import vary
from trainer.errors import DataError, StaleError
from trainer.scoring.answers import Unseen, answer_unseen, read_unseen, write_unseen
from trainer.scoring.measures import true_areas
from trainer.scoring.origin import require_same
from trainer.scoring.predict import Rules, predict, select
from trainer.scoring.predictions import Prediction, refuse
from trainer.scoring.scores import scores_of, temper


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    folder = tmp_path_factory.mktemp("drawn")
    draw_dataset(folder, lesions=40, seed=4, height=96, width=128, split=(0.4, 0.5, 0.1))
    return read_ham10000(folder)


@pytest.fixture(scope="module")
def unseen(records: list[Record]) -> Unseen:
    system = toy_system()
    return answer_unseen(system.networks(), system.rules(), records)


def chosen_beside_the_networks(records: Sequence[Record]) -> tuple[Choices, list[Prediction]]:
    """Limits first, then the networks under these limits, then all else: every picture at hand."""
    system = toy_system()
    spec = system.stages()[0].input

    def small(record: Record) -> np.ndarray:
        return resize(open_picture(record.image_path).pixels, spec.height, spec.width)

    training, validation = select(records, "train"), select(records, "val")
    mask = area_limits(true_areas(training, progress=False), 0.5)
    quality = quality_limits({SOURCE: [measure_quality(small(record)) for record in training]}, spec.height // 2)
    look = fit_rule(
        [measure_appearance(small(record)) for record in training],
        [measure_appearance(vary(small(r), np.random.default_rng(i))) for i, r in enumerate(training) if i % 2 == 0],
        [measure_appearance(small(record)) for record in validation],
        [measure_appearance(resize(one.image, spec.height, spec.width)) for one in negatives("fit")],
    )
    rules = Rules(spec, system.stages()[1].input, system.labels, mask, system.roi, quality, look)
    found = list(predict(validation, rules, system.networks(), progress=False))
    mask = replace(mask, min_confidence=confidence_limit(found))
    found = [refuse(p, mask) for p in found]
    scores = scores_of([p for p in found if not p.reason], system.labels, MELANOMA)
    calibration = replace(fit_temperature(scores, "val"), prior=round(float(scores.positive.mean()), 4))
    found = [temper(p, calibration.temperature) for p in found]
    points = choose_operating_points(scores_of([p for p in found if not p.reason], system.labels, MELANOMA), "val")
    return Choices(mask, quality, calibration, points, DEFAULT_POINT, look), found


def test_stored_answers_give_the_choices_that_networks_and_pictures_gave(
    unseen: Unseen, records: list[Record], tmp_path: Path
) -> None:
    write_unseen(tmp_path / "unseen.json", unseen, {"networks": "a"})
    stored, origin = read_unseen(tmp_path / "unseen.json")
    assert stored == unseen and origin == {"networks": "a"}
    choices, found = choose(stored)
    assert (choices, found) == chosen_beside_the_networks(records)
    assert any(p.reason for p in found) and len(choices.operating_points) == 3


def test_answers_of_something_else_are_refused(unseen: Unseen, tmp_path: Path) -> None:
    with pytest.raises(StaleError, match="other networks and limit"):
        require_same(tmp_path, {"networks": "a", "limit": "None"}, {"networks": "b", "limit": "8"})
    (tmp_path / "unseen.json").write_text('{"origin": {}}', encoding="utf-8")
    for name in ("unseen.json", "missing.json"):
        with pytest.raises(DataError, match="holds no answers"):
            read_unseen(tmp_path / name)
