"""`data check` finds what is wrong, and `preview` shows what is trained on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from tests.support.many_sources import read_rows, write_rows
from trainer.cli.app import app
from trainer.data.check import check_folders, fingerprint
from trainer.data.ham10000 import read_ham10000, read_image
from trainer.data.splits import standard_split
from trainer.errors import DataError


@pytest.fixture
def copy(drawn_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn_folder, tmp_path / "copy"))


def test_drawn_set_has_no_fault(drawn_folder: Path) -> None:
    records = read_ham10000(drawn_folder)
    found = check_folders([drawn_folder])
    assert found.errors == []
    assert (found.pictures, found.lesions) == (len(records), 28)
    assert found.repeated_lesions == len(records) - 28  # a drawn lesion has one picture or two
    assert found.sizes == {"128x96": len(records)}
    assert sum(found.classes.values()) == sum(found.splits.values()) == len(records)


def test_faults_of_pictures_and_masks_name_their_row(copy: Path) -> None:
    records = read_ham10000(copy)
    gone, damaged, cut, no_mask, empty, first = (record for record in records[:6])
    gone.image_path.unlink()
    damaged.image_path.write_bytes(b"no picture")
    cut.image_path.write_bytes(cut.image_path.read_bytes()[:-40])  # a JPEG that OpenCV fills up with grey
    no_mask.mask_path.unlink()
    assert cv2.imwrite(str(empty.mask_path), np.zeros((96, 128), np.uint8))
    twin = next(record for record in records[6:] if record.lesion_id != first.lesion_id)
    shutil.copy(first.image_path, twin.image_path)
    rows = read_rows(copy)
    rows[-1]["split"] = "training"
    write_rows(copy, rows, tuple(rows[0]))

    errors = check_folders([copy]).errors
    for record, words, remedy in (
        (gone, f"{gone.image_id}.jpg (or .png, .webp) is missing", "remove its row"),
        (damaged, f"{damaged.image_path} cannot be read", "remove its row"),
        (cut, "The JPEG picture is damaged or cut short", "remove its row"),
        (no_mask, f"{no_mask.mask_path} is missing", "write 0 in its column 'mask'"),
        (empty, f"{empty.mask_path} marks no lesion", "write 0 in its column 'mask'"),
        (twin, f"shows the same as {first.image_id} ({first.place})", "remove one of the two rows"),
        (records[-1], "the unknown split 'training'", "Write one of train, val, test"),
    ):
        (line,) = [error for error in errors if error.startswith(f"{record.listed_at}: ") and words in error]
        assert remedy in line
    assert len(errors) == 7


def test_one_empty_split_is_a_fault_and_no_reason_to_draw_another(copy: Path) -> None:
    rows = read_rows(copy)
    rows[5]["split"] = ""
    write_rows(copy, rows, tuple(rows[0]))
    [error] = check_folders([copy]).errors
    assert error.startswith(f"{copy / 'metadata.csv'}, row 7: ") and "has no split, and others of 'ham10000'" in error
    with pytest.raises(DataError, match="has no split"):
        standard_split(read_ham10000(copy))
    for row in rows:
        row["split"] = ""
    write_rows(copy, rows, tuple(rows[0]))
    assert check_folders([copy]).errors == [] and all(standard_split(read_ham10000(copy)).values())


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("source", "", "source is empty"),
        ("dx", "MEL", "Did you mean 'mel'?"),
        ("sex", "M", "Write male or female"),
        ("mask", "no", "Write 1 where it has a mask"),
    ],
)
def test_an_odd_cell_does_not_pass_as_empty(copy: Path, column: str, value: str, words: str) -> None:
    rows = [{"source": "clinic", "mask": "1", **row} for row in read_rows(copy)]
    rows[3][column] = value
    write_rows(copy, rows, tuple(rows[0]))
    [error] = [error for error in check_folders([copy]).errors if "row 5:" in error and words in error]
    assert "published at" not in error


def test_a_source_is_its_name_without_spaces(copy: Path) -> None:
    rows = [{"source": " clinic", **row} for row in read_rows(copy)]
    write_rows(copy, rows, tuple(rows[0]))
    assert {record.source for record in read_ham10000(copy)} == {"clinic"}


def test_two_folders_without_a_source_are_not_one_clinic(copy: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(copy, tmp_path / "other"))
    rows = [row | {"image_id": f"b{row['image_id']}", "lesion_id": f"b{row['lesion_id']}"} for row in read_rows(other)]
    write_rows(other, rows, tuple(rows[0]))
    errors = check_folders([copy, other]).errors
    assert [error for error in errors if "as that of another folder is" in error and "column 'source'" in error]


def test_semicolons_are_named(copy: Path) -> None:
    table = copy / "metadata.csv"
    table.write_text(table.read_text(encoding="utf-8").replace(",", ";"), encoding="utf-8")
    assert "Separate cells by commas, not by semicolons." in check_folders([copy]).errors[0]


def test_every_row_is_read_and_each_of_its_faults_is_a_line(copy: Path) -> None:
    rows = read_rows(copy)
    columns = tuple(rows[0])
    rows[0] |= {"dx": "melanom", "age": "old"}
    rows[1]["lesion_id"] = ""
    rows[2]["image_id"] = ""
    write_rows(copy, rows, columns)
    table = copy / "metadata.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    lines[4] = lines[4].rpartition(",")[0]
    table.write_text("\n".join([*lines, lines[-1]]) + "\n", encoding="utf-8")
    errors: list[DataError] = []
    read = read_ham10000(copy, strict=False, complain=errors.append)
    assert len(read) == len(rows) - 1
    assert [str(error).removeprefix(f"{table}, row ").partition(":")[0] for error in errors] == [
        *("3", "4", "5"),  # found while the table is read
        *("2", "2", str(len(rows) + 2)),
    ]
    assert all(error.remedy for error in errors)


def test_a_folder_that_cannot_be_read_does_not_hide_the_next(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "latin").mkdir()
    (tmp_path / "latin" / "images").mkdir()
    (tmp_path / "latin" / "metadata.csv").write_bytes(b"image_id,d\xe9\n")
    labels = tmp_path / "challenge" / "ISIC_2019_Training_GroundTruth.csv"
    (tmp_path / "challenge" / "ISIC_2019_Training_Input").mkdir(parents=True)
    (tmp_path / "challenge" / "ISIC_2019_Training_Input" / "ISIC_1.jpg").touch()
    labels.write_text("image,MEL,NV\nISIC_1,yes,no\n", encoding="utf-8")
    rows = read_rows(copy)
    rows[0]["dx"] = "melanom"
    write_rows(copy, rows, tuple(rows[0]))
    folders = [str(tmp_path / name) for name in ("nowhere", "empty", "latin", "challenge", "copy")]
    result = CliRunner().invoke(app, ["data", "check", *folders])
    assert result.exit_code == 1
    for words in (
        f"There is no data folder {tmp_path / 'nowhere'}",
        "holds no data set that is known here",
        f"{tmp_path / 'latin' / 'metadata.csv'} is no table",
        f"{labels} holds no labels",
        "unknown diagnosis 'melanom'",
    ):
        assert words in result.stdout
    assert "errors: 5\n" in result.stdout


def test_a_missing_folder_of_masks_is_one_fault_and_so_is_each_mask(copy: Path) -> None:
    shutil.rmtree(copy / "masks")
    found = check_folders([copy])
    assert len(found.errors) == 1 + found.pictures
    assert "masks is missing (folder of masks)" in found.errors[0]


def test_faults_that_the_caller_knows_are_listed(drawn_folder: Path) -> None:
    found = check_folders([drawn_folder], lambda records: [DataError(f"{len(records)} are few.", "Take more.")])
    assert found.errors == [f"{found.pictures} are few. Take more."]


def test_fingerprint_survives_recompression_and_tells_lesions_apart(copy: Path) -> None:
    image = read_image(read_ham10000(copy)[0].image_path)
    smooth = cv2.GaussianBlur(image, (0, 0), 3)
    encoded = cv2.imencode(".png", smooth)[1]
    assert fingerprint(cv2.imdecode(encoded, cv2.IMREAD_COLOR)) == fingerprint(smooth)  # type: ignore[arg-type]
    assert fingerprint(np.ascontiguousarray(smooth[:, ::-1])) != fingerprint(smooth)


def test_command_reports_and_fails_where_something_is_wrong(copy: Path) -> None:
    fine = CliRunner().invoke(app, ["data", "check", str(copy), "--json"])
    assert fine.exit_code == 0
    assert json.loads(fine.stdout)["lesions"] == 28
    victim = read_ham10000(copy)[3].mask_path
    victim.unlink()
    bad = CliRunner().invoke(app, ["data", "check", str(copy)])
    assert bad.exit_code == 1
    assert f"errors: 1\n  {copy / 'metadata.csv'}, row 5: {victim} is missing" in bad.stdout


def test_preview_writes_a_contact_sheet(drawn_folder: Path, tmp_path: Path) -> None:
    arguments = ["preview", "mobile-segmenter", "--data", str(drawn_folder), "--out", str(tmp_path / "sheet.png")]
    result = CliRunner().invoke(app, [*arguments, "--count", "3", "--draws", "2", "--cache", str(tmp_path / "cache")])
    assert result.exit_code == 0, result.output
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet is not None
    assert sheet.shape == (2 * 224, 3 * 224, 3)
    assert (sheet == (0, 255, 0)).all(-1).any(), "no outline"
