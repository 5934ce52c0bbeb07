"""The rule that tells dermoscopy from other things, fitted to drawn skin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_infer.rules import APPEARANCE_MEASURES, InputSpec
from edge_infer.steps.appearance import dermoscopy_score, measure_appearance
from edge_infer.steps.resize import resize
from trainer.choices.appearance import fit_rule
from trainer.data import negatives as module
from trainer.data.drawn import draw_picture
from trainer.data.negatives import negatives
from trainer.data.varied import round_view, vary
from trainer.errors import DataError

SPEC = InputSpec("image", 96, 96)


def measures(images: list[np.ndarray]) -> list:
    return [measure_appearance(resize(image, SPEC.height, SPEC.width)) for image in images]


def test_other_things_score_below_skin_that_was_not_fitted() -> None:
    skin = [draw_picture(np.random.default_rng(i), 120, 160, ("nv", "mel", "bkl")[i % 3]).image for i in range(60)]
    plain, held = measures(skin[:40]), measures(skin[40:])
    varied = measures([vary(image, np.random.default_rng(i)) for i, image in enumerate(skin[:40])])
    others = measures([one.image for one in negatives("fit", drawn=4)][::4])
    unseen = measures([one.image for one in negatives("test", drawn=4)][::4])
    rule = fit_rule(plain, varied, held, others)
    assert tuple(rule.terms) == APPEARANCE_MEASURES
    genuine = [dermoscopy_score(one, rule) for one in held]
    foreign = [dermoscopy_score(one, rule) for one in unseen]
    assert np.mean(np.array(genuine)[:, None] > np.array(foreign)) > 0.9
    assert sum(score < rule.min_score for score in genuine) <= 1
    assert np.mean(np.array(foreign) < rule.min_score) > 0.6


def test_what_is_fitted_to_is_not_what_is_tested_on() -> None:
    fitted, tested = (list(negatives(use, drawn=1)) for use in ("fit", "test"))
    sources = [{one.source.partition("#")[0] for one in found} for found in (fitted, tested)]
    assert not sources[0] & sources[1] and min(map(len, sources)) >= 10
    kinds = [{one.what for one in found} - {"photograph"} for found in (fitted, tested)]
    assert not kinds[0] & kinds[1]
    assert all(one.image.dtype == np.uint8 and one.image.shape[2] == 3 for one in (*fitted, *tested))


def test_a_library_that_is_not_there_is_a_typed_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_PHOTOGRAPHS", {"fit": {"no_such_package/data": ("a.png",)}})
    with pytest.raises(DataError, match=r"a\.png"):
        list(negatives("fit"))


def test_a_round_view_is_dark_outside_and_untouched_inside() -> None:
    image = np.full((90, 120, 3), 200, np.float32)
    seen = round_view(image, np.random.default_rng(0))
    assert seen[45, 60].tolist() == [200, 200, 200]
    assert seen[0, 0].max() <= 12
