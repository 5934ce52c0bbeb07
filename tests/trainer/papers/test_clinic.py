"""A figure at home and elsewhere: both means, the order with its interval, and the mix of diagnoses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr  # type: ignore[import-untyped]

from edge_infer.rules import Metric
from tests.support.comparison_rows import answers, make_row
from trainer.papers.clinic import place, rank_correlation, survives
from trainer.papers.measures import auc_of
from trainer.papers.pairs import Rows
from trainer.papers.rows import external_file, read_rows, write_row
from trainer.scoring.predictions import read_predictions, write_predictions

SKILLS = (0.2, 0.6, 1.0, 1.6, 2.4, 3.0)


def sentences(folder: Path, figure: str = "auc", positive: str = "mel") -> str:
    found = survives(Rows(folder), "msk-uda", positive, figure, "AUC of melanoma")
    return " ".join(found[0]) if found else ""


def test_ties_share_their_ranks_and_the_interval_is_over_networks() -> None:
    draws = np.random.default_rng(3)
    first = draws.integers(0, 4, 12).astype(float)
    second = first + draws.normal(size=12)
    found = rank_correlation(list(first), list(second))
    assert found is not None and found.value == pytest.approx(spearmanr(first, second).statistic, abs=1e-6)
    assert found.low is not None and found.high is not None and found.low < found.value < found.high <= 1
    same = rank_correlation([1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 6, 7])
    assert same == Metric(1.0, 1.0, 1.0)
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None and rank_correlation([1, 2], [1, 2]) is None


@pytest.mark.parametrize(
    ("skills", "says"),
    [
        (SKILLS, "tends to be better there too"),
        (SKILLS[::-1], "tends to be worse there"),
        ((1.0, 0.2, 3.0, 0.6, 2.4, 1.6), "do not show whether the order at home holds there"),
    ],
)
def test_what_follows_from_the_order_hangs_on_its_interval(
    tmp_path: Path, skills: tuple[float, ...], says: str
) -> None:
    rows = [make_row(tmp_path, f"n{i}", skill, away=skills[i]) for i, skill in enumerate(SKILLS)]
    own = [auc.value for row in rows if (auc := auc_of(row.figures))]
    away = [auc.value for row in rows if (auc := auc_of(row.external["msk-uda"]))]
    found = rank_correlation(own, away)
    assert found is not None and found.low is not None and found.high is not None
    text = sentences(tmp_path)
    assert says in text and f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f} over trainings)" in text


def test_too_few_rows_have_no_order(tmp_path: Path) -> None:
    for number in range(4):
        make_row(tmp_path, f"n{number}", number, away=number)
    assert "rank correlation" not in sentences(tmp_path)


def test_the_mix_of_diagnoses_is_told_and_tried(tmp_path: Path) -> None:
    make_row(tmp_path, "a", 2.5, away=0.0, away_mix=("mel", "nv"))
    make_row(tmp_path, "a-scratch", 2.5, away=0.0, away_mix=("mel", "nv"))
    text = sentences(tmp_path)
    assert "Averaged over 2 trainings of 1 architecture" in text and "the intervals do not meet" in text
    assert "There are 160 pictures there: 80 melanomas and 80 nevi (melanoma: 50%, at home 25%)" in text
    means = []
    for name in ("a", "a-scratch"):
        kept = [p for p in read_predictions(tmp_path / "classifiers" / f"{name}-truth-roi.parquet") if p.dx != "bkl"]
        score, truth = np.array([p.probabilities["mel"] for p in kept]), np.array([p.dx == "mel" for p in kept])
        means.append((score[truth][:, None] > score[~truth][None]).mean())
    assert f"Of these diagnoses alone, AUC of melanoma at home was {np.mean(means):.3f} (" in text
    assert "so another mix of diagnoses does not explain the difference" in text


def test_a_mix_that_explains_the_drop_is_not_ruled_out(tmp_path: Path) -> None:
    """Keratoses are what the row takes for melanomas, and elsewhere there are no other pictures of harmless skin."""
    row = make_row(tmp_path, "a", 0.0, away=0.0, away_mix=("mel", "bkl"))
    home = tmp_path / "classifiers"
    for file in (row.predictions, external_file("a-truth-roi", "msk-uda")):
        found = read_predictions(home / file)
        score = [0.05 if p.dx == "nv" else 0.5 + 0.4 * p.probabilities["mel"] for p in found]
        write_predictions(
            home / file,
            [replace(p, probabilities={"other": 1 - s, "mel": s}) for p, s in zip(found, score, strict=True)],
        )
    text = sentences(tmp_path)
    assert "the intervals do not meet" in text and "so another mix of diagnoses may explain the difference" in text


def test_rows_that_answered_other_pictures_are_named_and_left_out(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        make_row(tmp_path, name, 1, away=1)
    make_row(tmp_path, "d", 1, away=1, count=80)
    make_row(tmp_path, "e", 1)
    text = sentences(tmp_path)
    assert "Averaged over 3 trainings" in text and "Left out, since they answered other pictures: d." in text
    assert "e" not in {row.name for row in read_rows(tmp_path / "classifiers") if row.external}


def test_predicted_crops_and_other_classes_do_not_count(tmp_path: Path) -> None:
    make_row(tmp_path, "a", 1, away=1)
    before = sentences(tmp_path)
    make_row(tmp_path, "a", 3, view="predicted")
    make_row(tmp_path, "k", 3, positive="bkl", table="branches", view="whole", away=1)
    assert sentences(tmp_path) == before and sentences(tmp_path, "dice", "") == ""
    for row in read_rows(tmp_path / "classifiers"):
        write_row(replace(row, external={}), tmp_path / "classifiers")
    assert sentences(tmp_path) == ""


def test_masks_are_told_too(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_row(tmp_path, name, 2, table="segmenters", view="picture", positive="", masks=True, away=0)
    text = sentences(tmp_path, "dice", "")
    expected = np.mean(
        [p.clean.dice for name in ("a", "b") for p in answers(name, 2, (), masks=True) if p.clean is not None]
    )
    assert f"{expected:.3f} (" in text and place("bcn") == "bcn"
