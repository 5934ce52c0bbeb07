"""Splits never share a lesion."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.ham10000 import DX, Record
from trainer.data.splits import split_by_column, split_by_lesion, spread, standard_split
from trainer.errors import DataError


def record(image: int, lesion: int, dx: str, split: str = "") -> Record:
    nowhere = Path("nowhere")
    return Record(f"ISIC_{image}", f"HAM_{lesion}", dx, split, None, "", "", "histo", nowhere, nowhere)


@st.composite
def data_sets(draw: st.DrawFn) -> list[Record]:
    """Lesions with one to four pictures each; pictures of a lesion share its diagnosis."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=40, max_size=80))
    lesions = [lesion for lesion, size in enumerate(sizes) for _ in range(size)]
    return [record(image, lesion, DX[lesion % 4]) for image, lesion in enumerate(lesions)]


@settings(max_examples=25, deadline=None)
@given(data_sets(), st.integers(0, 99))
def test_drawn_split_keeps_lesions_together_and_loses_nothing(records: list[Record], seed: int) -> None:
    parts = split_by_lesion(records, seed=seed)
    lesions = {name: {item.lesion_id for item in part} for name, part in parts.items()}
    assert not lesions["train"] & lesions["val"]
    assert not lesions["train"] & lesions["test"]
    assert not lesions["val"] & lesions["test"]
    assert Counter(item.image_id for part in parts.values() for item in part) == Counter(
        item.image_id for item in records
    )
    assert all(parts.values())


def test_drawn_split_is_stratified_and_seeded() -> None:
    records = [record(image, image // 2, "mel" if image % 10 < 2 else "nv") for image in range(1000)]
    parts = split_by_lesion(records, seed=1)
    for part in parts.values():
        assert sum(item.dx == "mel" for item in part) / len(part) == pytest.approx(0.2, abs=0.02)
    assert parts == split_by_lesion(records, seed=1)
    assert parts != split_by_lesion(records, seed=2)


@pytest.mark.parametrize(
    ("lesions", "diagnoses", "why"), [(4, 1, "4 lesions are too few"), (8, 7, "more than 2 pictures, too few")]
)
def test_too_few_to_draw_from_are_refused(lesions: int, diagnoses: int, why: str) -> None:
    records = [record(lesion, lesion, DX[lesion % diagnoses]) for lesion in range(lesions)]
    with pytest.raises(DataError, match=why):
        standard_split(records)


def test_column_is_followed(drawn_records: list[Record]) -> None:
    parts = standard_split(drawn_records)
    assert all(item.split == name for name, part in parts.items() for item in part)


def test_column_that_leaks_is_refused() -> None:
    with pytest.raises(DataError, match="HAM_7 is in 'train' and in 'test'"):
        split_by_column([record(0, 7, "nv", "train"), record(1, 8, "nv", "val"), record(2, 7, "nv", "test")])


def test_unknown_split_is_refused(drawn_records: list[Record]) -> None:
    with pytest.raises(DataError, match="'dev'"):
        split_by_column([dataclasses.replace(drawn_records[0], split="dev")])


def test_without_a_column_a_split_is_drawn(drawn_records: list[Record]) -> None:
    parts = standard_split([dataclasses.replace(item, split="") for item in drawn_records])
    assert sum(map(len, parts.values())) == len(drawn_records)


def test_spread_reaches_over_the_whole_list(drawn_records: list[Record]) -> None:
    chosen = spread(drawn_records, 7)
    assert len({item.image_id for item in chosen}) == 7
    assert chosen[0] is drawn_records[0]
    assert drawn_records.index(chosen[-1]) > len(drawn_records) * 3 // 4
    assert spread(drawn_records, None) == drawn_records
