"""Readers of the challenge sets, on folders laid out as their publishers do."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from trainer.data.isic import detect, read_dataset
from trainer.data.splits import standard_split
from trainer.errors import DataError


def picture(path: Path, *, mask: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.zeros((12, 16), np.uint8) if mask else np.full((12, 16, 3), 120, np.uint8)
    image[3:9, 4:12] = 255
    assert cv2.imwrite(str(path), image)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def isic_2016(root: Path) -> None:
    for name, rows in (("Training", "ISIC_1,malignant\nISIC_2,benign\n"), ("Test", "ISIC_3,1.0\nISIC_4,0.0\n")):
        for row in rows.split():
            image_id = row.partition(",")[0]
            picture(root / f"ISBI2016_ISIC_Part1_{name}_Data/{image_id}.jpg")
            picture(root / f"ISBI2016_ISIC_Part1_{name}_GroundTruth/{image_id}_Segmentation.png", mask=True)
        write(root / f"ISBI2016_ISIC_Part3_{name}_GroundTruth.csv", rows)


def isic_2017(root: Path) -> None:
    for name, image_id, row in (
        ("Training", "ISIC_1", "1.0,0.0"),
        ("Validation", "ISIC_2", "0.0,1.0"),
        ("Test_v2", "ISIC_3", "0.0,0.0"),
    ):
        picture(root / f"ISIC-2017_{name}_Data/{image_id}.jpg")
        picture(root / f"ISIC-2017_{name}_Data/{image_id}_superpixels.png")
        picture(root / f"ISIC-2017_{name}_Part1_GroundTruth/{image_id}_segmentation.png", mask=True)
        write(
            root / f"ISIC-2017_{name}_Part3_GroundTruth.csv",
            f"image_id,melanoma,seborrheic_keratosis\n{image_id},{row}\n",
        )
        write(
            root / f"ISIC-2017_{name}_Data_metadata.csv", f"image_id,age_approximate,sex\n{image_id},unknown,female\n"
        )


def isic_2018_masks(root: Path) -> None:
    for name in ("Training", "Validation", "Test"):
        picture(root / f"ISIC2018_Task1-2_{name}_Input/ISIC_{name}.jpg")
        picture(root / f"ISIC2018_Task1_{name}_GroundTruth/ISIC_{name}_segmentation.png", mask=True)


def isic_2018_classes(root: Path) -> None:
    picture(root / "ISIC2018_Task3_Training_Input/ISIC_1.jpg")
    table = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nISIC_1,0.0,0.0,0.0,1.0,0.0,0.0,0.0\n"
    folder = "ISIC2018_Task3_Training_GroundTruth"
    write(root / folder / f"{folder}.csv", table)


def isic_2019(root: Path) -> None:
    for image_id in ("ISIC_1", "ISIC_2", "ISIC_3"):
        picture(root / f"ISIC_2019_Training_Input/{image_id}.jpg")
    head = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\n"
    rows = "ISIC_1,1.0,0,0,0,0,0,0,0,0\nISIC_2,0,0,0,0,0,0,0,1.0,0\nISIC_3,0,0,0,1.0,0,0,0,0,0\n"
    write(root / "ISIC_2019_Training_GroundTruth.csv", head + rows)
    head = "image,age_approx,anatom_site_general,lesion_id,sex\n"
    rows = "ISIC_1,55.0,anterior torso,MSK_7,male\nISIC_2,,,MSK_7,\nISIC_3,30.0,head/neck,,female\n"
    write(root / "ISIC_2019_Training_Metadata.csv", head + rows)


def ph2(root: Path) -> None:
    table = ["||   Name || Histological Diagnosis || Clinical Diagnosis || Asymmetry || Colors ||"]
    for name, histology, diagnosis in (("IMD003", "", 0), ("IMD058", "Melanoma", 2)):
        home = root / "PH2 Dataset images" / name
        picture(home / f"{name}_Dermoscopic_Image/{name}.bmp")
        picture(home / f"{name}_lesion/{name}_lesion.bmp", mask=True)
        table.append(f"|| {name} ||  {histology}  ||   {diagnosis}   ||    2    ||  4 ||")
    write(root / "PH2_dataset.txt", "\n".join(table))


SETS = {
    "ISIC 2016": (isic_2016, ["mel", "nv", "mel", "nv"], ["train", "train", "test", "test"]),
    "ISIC 2017": (isic_2017, ["mel", "bkl", "nv"], ["train", "val", "test"]),
    "ISIC 2018 task 1": (isic_2018_masks, ["", "", ""], ["train", "val", "test"]),
    "ISIC 2018 task 3": (isic_2018_classes, ["akiec"], ["train"]),
    "ISIC 2019": (isic_2019, ["mel", "scc", "akiec"], ["", "", ""]),
    "PH2": (ph2, ["nv", "mel"], ["", ""]),
}
MASKED = ("ISIC 2016", "ISIC 2017", "ISIC 2018 task 1", "PH2")


@pytest.mark.parametrize("name", SETS)
def test_layout_is_recognised_and_read(name: str, tmp_path: Path) -> None:
    build, dx, splits = SETS[name]
    build(tmp_path)
    assert detect(tmp_path) == name
    records = read_dataset(tmp_path)
    assert [record.dx for record in records] == dx
    assert [record.split for record in records] == splits
    assert all(record.image_path.is_file() for record in records)
    assert all((record.mask_path is not None) == (name in MASKED) for record in records)
    assert all(record.mask_path is None or record.mask_path.is_file() for record in records)


@pytest.mark.parametrize("name", MASKED)
def test_missing_mask_is_named(name: str, tmp_path: Path) -> None:
    SETS[name][0](tmp_path)
    victim = read_dataset(tmp_path)[-1].mask_path
    victim.unlink()
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path)
    assert victim.name in str(caught.value)
    assert "published at http" in str(caught.value)
    assert [record.mask_path for record in read_dataset(tmp_path, strict=False)][-1] == victim


def test_metadata_of_2019(tmp_path: Path) -> None:
    isic_2019(tmp_path)
    first, second, third = read_dataset(tmp_path)
    assert (first.age, first.sex, first.localization, first.lesion_id) == (55.0, "male", "anterior torso", "MSK_7")
    assert (second.age, second.sex, second.lesion_id) == (None, "", "MSK_7")
    assert third.lesion_id == "ISIC_3"
    with pytest.raises(DataError, match="'scc', none of the seven"):
        _ = second.label


def test_missing_label_table_and_unknown_folder_are_named(tmp_path: Path) -> None:
    isic_2017(tmp_path)
    (tmp_path / "ISIC-2017_Validation_Part3_GroundTruth.csv").unlink()
    with pytest.raises(DataError, match=r"ISIC-2017_Validation_Part3_GroundTruth\.csv is missing"):
        read_dataset(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no data set that is known"):
        read_dataset(tmp_path / "empty")


def test_validation_is_drawn_from_training_where_none_is_prescribed(tmp_path: Path) -> None:
    rows = "".join(f"ISIC_{number},{'malignant' if number % 4 == 0 else 'benign'}\n" for number in range(60))
    for number in range(60):
        picture(tmp_path / f"ISBI2016_ISIC_Part1_Training_Data/ISIC_{number}.jpg")
        picture(tmp_path / f"ISBI2016_ISIC_Part1_Training_GroundTruth/ISIC_{number}_Segmentation.png", mask=True)
    write(tmp_path / "ISBI2016_ISIC_Part3_Training_GroundTruth.csv", rows)
    parts = standard_split(read_dataset(tmp_path))
    assert (len(parts["train"]), len(parts["val"]), len(parts["test"])) == (54, 6, 0)
