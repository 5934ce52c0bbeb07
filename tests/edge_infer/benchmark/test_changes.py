"""What a new bundle changes: counted by hand on made-up answers, and end to end with toy bundles."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edge_infer import Diagnosis
from edge_infer.benchmark.changes import FOUND, LOST, Changes, Pair, Side, tally, to_markdown
from edge_infer.bundle.store import read_manifest
from edge_infer.errors import ImageDecodeError
from edge_infer.reasons import Reason
from tests.conftest import REPOSITORY
from tests.support.toy_bundle import write_manifest, write_toy_bundle
from trainer.cli import bundle as bundle_commands
from trainer.cli.app import app
from trainer.data.drawn import draw_dataset
from trainer.errors import DataError, TrainerError
from trainer.scoring.ledger import LEDGER, decisions_hash, readings

SIDE = Side("toy", "1.0.0", "ab" * 32, "CPUExecutionProvider", "float32", "balanced", 0.4, 10.0)
runner = CliRunner()


def answer(p: float | None, reason: Reason | None = None, rows: int | None = 4) -> Diagnosis:
    mask = None
    if rows is not None:
        mask = np.zeros((8, 8), np.uint8)
        mask[:rows] = 1
    label = None if p is None or reason else ("melanoma" if p >= 0.4 else "not melanoma")
    status = "indeterminate" if reason else "ok"
    return Diagnosis(status, reason=reason, melanoma_probability=p, label=label, mask=mask)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def counted() -> Changes:
    pairs = [
        Pair("same", answer(0.1), answer(0.1), 10, 5),
        Pair("found", answer(0.3), answer(0.5), 10, 5),
        Pair("lost", answer(0.9), answer(0.3, rows=2), 12, 4),
        Pair("refused anew", answer(0.2), answer(None, Reason.BLURRED, rows=None), 10, 5),
        Pair("no longer", answer(None, Reason.NO_LESION, rows=None), answer(0.8), 10, 5),
        Pair("otherwise", answer(None, Reason.NO_LESION, None), answer(None, Reason.BLURRED, None), 10, 10),
        Pair("alike", answer(None, Reason.BLURRED, None), answer(None, Reason.BLURRED, None), 10, 10),
    ]
    return tally(pairs, SIDE, replace(SIDE, version="2.0.0"), ["gone.jpg"], {"lost": True, "found": False})


def test_every_difference_is_counted_once(counted: Changes) -> None:
    assert (counted.pictures, counted.decided, counted.unreadable) == (7, 3, ("gone.jpg",))
    assert counted.flips == {FOUND: 1, LOST: 1} and counted.flipped == ("found", "lost")
    assert counted.flips_of_melanoma == {FOUND: 0, LOST: 1}
    assert counted.refused_by == (3, 3)
    assert counted.appeared == {"blurred": 1} and counted.disappeared == {"no_lesion": 1}
    assert counted.reasons_changed == {"no_lesion -> blurred": 1}
    assert counted.shift is not None and counted.shift.pictures == 3
    assert counted.shift.mean == pytest.approx(0.8 / 3) and counted.shift.most == pytest.approx(0.6)
    assert counted.mean_shift == pytest.approx(-0.4 / 3)
    assert counted.outline is not None and counted.outline.pictures == 3
    assert counted.outline.least == pytest.approx(0.5) and counted.outline.median == 1
    assert (counted.outlines_gained, counted.outlines_lost) == (1, 1)
    assert counted.speed == 2


def test_the_tables_say_it(counted: Changes) -> None:
    text = to_markdown(counted)
    for line in (
        "# toy 1.0.0 to toy 2.0.0",
        "7 pictures, each diagnosed by both in turn. 1 more could not be read.",
        "| decided otherwise, of 3 that both decide | 2 (66.7%) |",
        f"| {LOST} | 1, 1 of them melanoma by label |",
        "| refused anew: blurred | 1 |",
        "| no longer refused: no_lesion | 1 |",
        "| refused for another reason: no_lesion -> blurred | 1 |",
        "| speed, old time over new time, median of pairs | 2.00 |",
        "- lost",
    ):
        assert line in text.splitlines(), text


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A toy bundle, and one that refuses nothing as blurred, crops wider, and finds melanoma more readily."""
    folder = tmp_path_factory.mktemp("bundles")
    old, new = (write_toy_bundle(folder / name / "toy") for name in ("old", "new"))
    manifest = read_manifest(new).manifest
    points = tuple(replace(point, threshold=0.001) for point in manifest.operating_points)
    quality = replace(manifest.quality, min_sharpness=0.0)
    write_manifest(new, replace(manifest, version="2.0.0", operating_points=points, quality=quality))
    return old, new


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    draw_dataset(folder, lesions=10, seed=3, height=120, width=160, split=(0.4, 0.2, 0.4))
    return folder


def test_the_command_writes_both_forms(bundles: tuple[Path, Path], pictures: Path, tmp_path: Path) -> None:
    (pictures / "images/broken.jpg").write_bytes(b"no picture")
    image = cv2.imread(str(next((pictures / "images").glob("*"))))
    cv2.imwrite(str(pictures / "images/soft.png"), cv2.GaussianBlur(image, (0, 0), 9))
    files = [tmp_path / "out/changes.md", tmp_path / "out/changes.json"]
    options = [part for file in files for part in ("-o", str(file))]
    arguments = ["compare-bundles", *map(str, bundles), "--pictures", str(pictures / "images"), *options]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert files[0].read_text(encoding="utf-8") == result.stdout
    found = json.loads(files[1].read_text(encoding="utf-8"))
    assert found["unreadable"] == [str(pictures / "images/broken.jpg")]
    assert found["old"]["version"] == "1.2.3" and found["new"]["version"] == "2.0.0"
    assert found["disappeared"] == {"blurred": 1} and found["appeared"] == {}
    assert found["flips"][FOUND] == len(found["flipped"]) > 0 and found["flips"][LOST] == 0
    assert found["flips_of_melanoma"] is None
    assert found["shift"]["most"] == 0 and found["outline"]["least"] == 1, "the networks are the same"
    assert found["speed"] > 0


def test_a_data_set_tells_which_changes_are_right(bundles: tuple[Path, Path], pictures: Path, tmp_path: Path) -> None:
    arguments = ["compare-bundles", *map(str, bundles), "--data", str(pictures), "--limit", "6"]
    result = runner.invoke(app, [*arguments, "-o", str(tmp_path / "c.json")])
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    assert 0 < found["pictures"] <= 6
    assert 0 <= found["flips_of_melanoma"][FOUND] <= found["flips"][FOUND]


def test_pictures_of_test_are_entered_for_both_bundles(
    bundles: tuple[Path, Path], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_commands, "RESULTS", tmp_path)
    arguments = ["compare-bundles", *map(str, bundles), "--data", str(pictures), "--limit", "3"]
    assert runner.invoke(app, arguments).exit_code == 0
    assert not readings(tmp_path / LEDGER), "val is no test"
    result = runner.invoke(app, [*arguments, "--split", "test", "--reason", "speed of a release"])
    assert result.exit_code == 0, result.output
    lines = readings(tmp_path / LEDGER)
    assert [line.what for line in lines] == ["toy 1.2.3", "toy 2.0.0"]
    assert [line.hash for line in lines] == [decisions_hash(read_manifest(path).manifest) for path in bundles]
    assert all(line.pictures == {"ham10000": 3} and line.reason == "speed of a release" for line in lines)


def test_what_cannot_be_compared_is_a_typed_error(bundles: tuple[Path, Path], pictures: Path, tmp_path: Path) -> None:
    def fails(*arguments: str) -> BaseException | None:
        return runner.invoke(app, ["compare-bundles", *map(str, bundles), *arguments]).exception

    for arguments in ((), ("--pictures", str(pictures), "--data", str(pictures))):
        assert isinstance(fails(*arguments), TrainerError)
    assert isinstance(fails("--pictures", str(pictures), "-o", "changes.txt"), TrainerError)
    assert isinstance(fails("--data", str(pictures), "--split", "holdout"), DataError)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    error = fails("--pictures", str(tmp_path))
    assert isinstance(error, ImageDecodeError) and "None of 1" in error.message


def test_it_needs_no_torch() -> None:
    code = "import sys, edge_infer.benchmark.changes; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
