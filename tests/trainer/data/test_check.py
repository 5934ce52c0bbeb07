"""`data check` finds what is wrong, and `preview` shows what is trained on."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from trainer.cli.app import app
from trainer.data.check import check_records, fingerprint
from trainer.data.ham10000 import read_ham10000, read_image


@pytest.fixture
def copy(drawn_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn_folder, tmp_path / "copy"))


def test_drawn_set_has_no_problem(drawn_folder: Path) -> None:
    records = read_ham10000(drawn_folder)
    found = check_records(records)
    assert found.problems == 0
    assert (found.pictures, found.lesions) == (len(records), 28)
    assert found.repeated_lesions == len(records) - 28  # a drawn lesion has one picture or two
    assert found.sizes == {"128x96": len(records)}
    assert sum(found.classes.values()) == sum(found.splits.values()) == len(records)


def test_every_kind_of_problem_is_found(copy: Path) -> None:
    records = read_ham10000(copy)
    gone, damaged, no_mask, empty = (record for record in records[:4])
    gone.image_path.unlink()
    damaged.image_path.write_bytes(b"no picture")
    no_mask.mask_path.unlink()
    assert cv2.imwrite(str(empty.mask_path), np.zeros((96, 128), np.uint8))
    twin = next(record for record in records[5:] if record.lesion_id != records[4].lesion_id)
    shutil.copy(records[4].image_path, twin.image_path)
    table = copy / "metadata.csv"
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows[-1]["lesion_id"] = rows[0]["lesion_id"]
    rows[-1]["split"] = "test" if rows[0]["split"] == "train" else "train"
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)

    found = check_records(read_ham10000(copy, strict=False))
    assert found.unreadable == [gone.image_id, damaged.image_id]
    assert found.missing_masks == [no_mask.image_id]
    assert found.empty_masks == [empty.image_id]
    assert rows[0]["lesion_id"] in found.leaking_lesions
    assert [records[4].image_id, twin.image_id] in found.same_picture


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
    assert f"without a readable mask: 1 ({victim.name.removesuffix('_segmentation.png')})" in bad.stdout


def test_preview_writes_a_contact_sheet(drawn_folder: Path, tmp_path: Path) -> None:
    arguments = ["preview", "mobile-segmenter", "--data", str(drawn_folder), "--out", str(tmp_path / "sheet.png")]
    result = CliRunner().invoke(app, [*arguments, "--count", "3", "--draws", "2", "--cache", str(tmp_path / "cache")])
    assert result.exit_code == 0, result.output
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet is not None
    assert sheet.shape == (2 * 224, 3 * 224, 3)
    assert (sheet == (0, 255, 0)).all(-1).any(), "no outline"
