"""Framing: measured on masks, ranked by itself, and arms told apart by whether their crop leaves the picture."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from trainer.cli.app import app
from trainer.data.ham10000 import DX, Record
from trainer.data.splits import standard_split
from trainer.errors import DataError
from trainer.papers.sources.framing import GROUPS, alone, arms_by_group, framing_of, framings, group_of
from trainer.papers.sources.rows import ArmRow, write_arm
from trainer.scoring.alone import Scores, figures


def with_mask(record: Record, path: Path, box: tuple[int, int, int, int]) -> Record:
    x, y, width, height = box
    mask = np.zeros((100, 200), np.uint8)
    mask[y : y + height, x : x + width] = 255
    assert cv2.imwrite(str(path), mask)
    return dataclasses.replace(record, mask_path=path)


@pytest.mark.parametrize(
    ("box", "share", "outside"),
    [
        ((50, 20, 40, 40), 0.08, 0.0),
        ((0, 0, 40, 10), 0.02, 0.0),  # the square is shifted inside
        ((40, 0, 100, 100), 0.5, 1 - 100 / 150),  # 150 x 150 in 100 rows
        ((0, 0, 200, 100), 1.0, 1 - 200 * 100 / 300**2),
    ],
)
def test_framing_follows_the_crop(
    box: tuple[int, int, int, int], share: float, outside: float, drawn_records: list[Record], tmp_path: Path
) -> None:
    found = framing_of(with_mask(drawn_records[0], tmp_path / "m.png", box), 0.25)
    assert found is not None
    assert (found.share, found.outside) == pytest.approx((share, outside))


def test_no_mask_and_an_empty_one_have_no_framing(drawn_records: list[Record], tmp_path: Path) -> None:
    empty = with_mask(drawn_records[0], tmp_path / "m.png", (0, 0, 0, 0))
    without = dataclasses.replace(drawn_records[1], mask_path=None)
    assert framings([empty, without], 0.25) == {}
    assert group_of(empty.image_id, {}) == "no mask"


def test_alone_ranks_by_the_framing(drawn_records: list[Record]) -> None:
    known = framings(drawn_records, 0.25)
    found = alone(drawn_records, known)
    positive = [record.dx == "mel" for record in drawn_records]
    for name, values in (
        ("AUC of the lesion's share", [known[r.image_id].share for r in drawn_records]),
        ("AUC of the crop's share outside", [known[r.image_id].outside for r in drawn_records]),
    ):
        assert found["ham10000"][name].value == pytest.approx(roc_auc_score(positive, values), abs=1e-6)


def store(folder: Path, records: list[Record], name: str, seed: int, left_out: str = "ham10000") -> Scores:
    values = np.random.default_rng([seed, len(name)]).dirichlet(np.ones(7), len(records))
    scores = Scores(tuple(records), DX, values, None)
    said = {"recipe_name": "r", "name": name, "what": "", "seed": seed, "left_out": left_out, "split": "development"}
    cost = {"epochs": 1, "recipe_epochs": 1, "size": 32, "recipe_size": 32, "train_minutes": 1.0, "threads": 1}
    rest = {"schema": 1, "initialisation": "", "train_images": 1, "hardware": "", "recipe": {}}
    write_arm(folder, ArmRow(**said, **cost, **rest, figures=figures(scores, 10)), scores)  # type: ignore[arg-type]
    return scores


def test_arms_are_told_apart_by_group(drawn_records: list[Record], tmp_path: Path) -> None:
    known = framings(drawn_records[::2], 0.5)
    groups = np.array([group_of(record.image_id, known) for record in drawn_records])
    assert min(Counter(groups).values()) >= 2 and set(groups) == set(GROUPS), "the drawn pictures no longer show all"
    drawn_records = [
        dataclasses.replace(record, dx="nv" if (groups[:place] == groups[place]).sum() % 2 else "mel")
        for place, record in enumerate(drawn_records)
    ]
    base, pad = store(tmp_path, drawn_records, "base", 0), store(tmp_path, drawn_records, "outside-pad", 0)
    rows = arms_by_group(tmp_path, known)
    assert [row[:3] for row in rows] == [["ham10000", "base", "0"], ["ham10000", "outside-pad", "0"]]
    positive = np.array([record.dx == "mel" for record in drawn_records])
    for cell, group in zip(rows[1][3:], GROUPS, strict=True):
        among, place = groups == group, DX.index("mel")
        ours, theirs = (roc_auc_score(positive[among], s.probabilities[among, place]) for s in (pad, base))
        assert cell.startswith(f"{ours:.3f}"), group
        assert f"; {ours - theirs:+.3f}" in cell.replace("**", ""), group


def test_a_folder_without_a_source_left_out_is_refused(drawn_records: list[Record], tmp_path: Path) -> None:
    store(tmp_path, drawn_records, "base", 0, left_out="")
    with pytest.raises(DataError, match="no arms with a source left out"):
        arms_by_group(tmp_path, {})
    with pytest.raises(DataError):
        arms_by_group(tmp_path / "none", {})


def test_command_writes_the_page_and_reads_no_test(
    drawn_folder: Path, drawn_records: list[Record], tmp_path: Path
) -> None:
    store(tmp_path / "arms", drawn_records, "base", 0)
    out = tmp_path / "framing.md"
    result = CliRunner().invoke(
        app, ["framing", "--data", str(drawn_folder), "--arms", str(tmp_path / "arms"), "--out", str(out)]
    )
    assert result.exit_code == 0, result.output
    assert "# What the framing alone tells" in out.read_text() and "| ham10000 | base | 0 |" in out.read_text()
    tested = len(standard_split(drawn_records)["test"])
    assert tested and f"{len(drawn_records) - tested}/{len(drawn_records) - tested}" in result.output
