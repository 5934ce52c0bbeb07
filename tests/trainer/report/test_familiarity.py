"""What is refused of a source that the fit never saw, and the tables that say so."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.errors import DataError
from trainer.report.familiarity import FITS, left_out, left_out_markdown
from trainer.scoring.familiarity import OTHERS, Features


def drawn_features(rng: np.random.Generator) -> Features:
    """Three sources apart in their first feature, which changed copies vary, and others apart in the second."""
    rows, groups, parts = [], [], []
    for source, camera in (("a", -3.0), ("b", 0.0), ("c", 12.0)):
        for part, spread in (("train", 0.3), ("varied", 12.0), ("val", 0.3)):
            values = rng.normal(0, 1, (150, 4))
            values[:, 0] = camera + spread * rng.normal(0, 1, 150)
            rows.append(values)
            groups += [source] * 150
            parts += [part] * 150
    for kind, place in (("photograph", 9.0), ("drawing", 11.0)):
        for part in OTHERS:
            values = rng.normal(0, 1, (80, 4))
            values[:, 0] = rng.normal(8, 8, 80)
            values[:, 1] = place
            rows.append(values)
            groups += [kind] * 80
            parts += [part] * 80
    return Features(np.concatenate(rows).astype(np.float32), np.array(groups), np.array(parts))


def test_changed_copies_keep_a_source_that_was_left_out_familiar() -> None:
    found = list(left_out(drawn_features(np.random.default_rng(0)), (0.01,)))
    shares = {(one.part, one.group, one.fit): one.refused for one in found}
    ships, *_, plain = FITS
    assert shares["val", "c", plain] > 0.5, "its camera alone makes it strange"
    assert shares["val", "c", ships] < 0.1
    for part in OTHERS:
        assert shares[part, "photograph", ships] > 0.9 and shares[part, "drawing", ships] > 0.9
    assert {one.pictures for one in found if one.part == "val"} == {150}


def test_a_source_is_left_out_where_another_sets_the_threshold() -> None:
    features = drawn_features(np.random.default_rng(0))
    alone = features.without("a").without("b")
    assert {one.group for one in left_out(alone, (0.01,))} == {"photograph", "drawing"}
    few = features.parts != "val"
    with pytest.raises(DataError, match="validation pictures"):
        list(left_out(Features(features.values[few], features.groups[few], features.parts[few]), (0.01,)))


def test_the_tables_have_a_row_for_each_fit_and_a_column_for_each_group() -> None:
    text = left_out_markdown(list(left_out(drawn_features(np.random.default_rng(0)), (0.01, 0.1))))
    good, others, copies = text.split("###")[1:]
    assert "| a (150) | b (150) | c (150) |" in good and "| drawing (80) | photograph (80) |" in others
    for part in (good, others, copies):
        assert sum(part.count(f"| {name} | {strength} |") for name in FITS for strength in (0.01, 0.1)) == 6
