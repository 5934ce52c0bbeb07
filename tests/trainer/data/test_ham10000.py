"""The reader names what is missing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trainer.data.ham10000 import DX, Record, read_ham10000, read_image, read_mask
from trainer.errors import DataError


@pytest.fixture
def copy(drawn_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(drawn_folder, tmp_path / "copy"))


def test_reads_every_row(drawn_folder: Path, drawn_records: list[Record]) -> None:
    rows = (drawn_folder / "metadata.csv").read_text().splitlines()[1:]
    assert [record.image_id for record in drawn_records] == [row.split(",")[1] for row in rows]
    assert {record.dx for record in drawn_records} == set(DX)
    assert all(record.label == DX.index(record.dx) for record in drawn_records)
    image, mask = read_image(drawn_records[0].image_path), read_mask(drawn_records[0].mask_path)
    assert image.shape == (96, 128, 3)
    assert mask.shape == (96, 128)
    assert set(np.unique(mask)) == {0, 1}


def test_reads_the_published_layout(copy: Path, drawn_records: list[Record]) -> None:
    (copy / "images").rename(copy / "HAM10000_images_part_1")
    (copy / "HAM10000_images_part_2").mkdir()
    moved = next((copy / "HAM10000_images_part_1").iterdir())
    moved.rename(copy / "HAM10000_images_part_2" / moved.name)
    (copy / "masks").rename(copy / "HAM10000_segmentations_lesion_tschandl")
    (copy / "metadata.csv").rename(copy / "HAM10000_metadata")
    assert [record.image_id for record in read_ham10000(copy)] == [record.image_id for record in drawn_records]


def remove_picture(folder: Path) -> str:
    path = sorted((folder / "images").iterdir())[4]
    path.unlink()
    return path.name


def remove_mask(folder: Path) -> str:
    path = sorted((folder / "masks").iterdir())[4]
    path.unlink()
    return path.name


def remove_metadata(folder: Path) -> str:
    (folder / "metadata.csv").unlink()
    return "metadata.csv"


def remove_masks(folder: Path) -> str:
    shutil.rmtree(folder / "masks")
    return "masks"


def remove_column(folder: Path) -> str:
    edit(folder, "lesion_id,", "lesion,")
    return "no column lesion_id"


def unknown_diagnosis(folder: Path) -> str:
    edit(folder, ",bcc,", ",bccc,")
    return "'bccc'"


def repeat_row(folder: Path) -> str:
    path = folder / "metadata.csv"
    row = path.read_text().splitlines()[-1]
    path.write_text(path.read_text() + row + "\n")
    return f"{row.split(',')[1]} twice"


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / "metadata.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    "damage",
    [remove_picture, remove_mask, remove_metadata, remove_masks, remove_column, unknown_diagnosis, repeat_row],
)
def test_damage_is_named(copy: Path, damage: Callable[[Path], str]) -> None:
    named = damage(copy)
    with pytest.raises(DataError) as caught:
        read_ham10000(copy)
    assert named in str(caught.value)


def test_missing_folder_says_where_the_data_is_published(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"doi\.org/10\.7910/DVN/DBW86T"):
        read_ham10000(tmp_path / "nowhere")


def test_unreadable_picture_is_named(copy: Path) -> None:
    record = read_ham10000(copy)[0]
    record.image_path.write_bytes(b"no picture")
    with pytest.raises(DataError, match=record.image_id):
        read_image(record.image_path)


def test_real_data_set_has_the_published_counts(ham10000: Path) -> None:
    records = read_ham10000(ham10000)
    assert {record.dx for record in records} == set(DX)
    assert len({record.lesion_id for record in records}) < len(records)
