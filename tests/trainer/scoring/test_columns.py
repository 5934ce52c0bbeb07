"""Files of predictions: typed, the same bytes for the same rows, written at once, and described where they lie."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edge_infer import files
from edge_infer.files import OutputError
from tests.conftest import REPOSITORY
from trainer.scoring.columns import Column, Kind, read_columns, write_columns
from trainer.scoring.predict import Quality
from trainer.scoring.predictions import Counts, Prediction, read_predictions, write_predictions
from trainer.scoring.trials import Trial, read_trials, write_trials

RESULTS = REPOSITORY / "trainer/results"
FORMAT = RESULTS / "FORMAT.md"
RESULTS_BYTES = 25_000_000
COLUMNS = [
    Column("name", Kind.TEXT, ["a", "", "a"]),
    Column("count", Kind.COUNT, [1, None, 3]),
    Column("number", Kind.NUMBER, [0.1, None, 1 / 3]),
    Column("flag", Kind.FLAG, [True, False, None]),
]


def prediction(number: int = 0, **changes: Any) -> Prediction:
    plain: dict[str, Any] = {
        "image_id": f"i{number}",
        "lesion_id": "l",
        "split": "test",
        "dx": "mel",
        "dx_type": "histo",
        "age": 40.0,
        "sex": "",
        "localization": "back",
        "roi": "predicted",
        "reason": "",
        "quality": Quality(1.5, 2.5, 0.1),
        "true_area": 0.1,
        "area": 0.2,
        "confidence": 0.9,
        "raw": Counts(1, 2, 3, 4),
        "clean": Counts(5, 6, 7, 8),
        "probabilities": {"other": 0.75, "mel": 0.25},
        "dermoscopy": 4.2,
    }
    return Prediction(**plain | changes)


def test_columns_come_back_with_their_types(tmp_path: Path) -> None:
    write_columns(tmp_path / "a.parquet", COLUMNS)
    found = read_columns(tmp_path / "a.parquet")
    assert found == {
        "name": ["a", "", "a"],
        "count": [1, None, 3],
        "number": [0.1, None, float(str(np.float32(1 / 3)))],
        "flag": [True, False, None],
    }
    schema = pq.read_schema(tmp_path / "a.parquet")
    assert schema.types == [pa.string(), pa.int32(), pa.float32(), pa.bool_()]
    group = pq.read_metadata(tmp_path / "a.parquet").row_group(0)
    assert {group.column(i).compression for i in range(4)} == {"ZSTD"}
    assert "RLE_DICTIONARY" in group.column(0).encodings


def test_the_same_rows_give_the_same_bytes_and_nothing_of_the_machine(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_columns(tmp_path / name / "x.parquet", COLUMNS)
    first, second = ((tmp_path / name / "x.parquet").read_bytes() for name in ("a", "b"))
    assert first == second
    footer = pq.read_metadata(tmp_path / "a/x.parquet")
    assert footer.created_by == f"parquet-cpp-arrow version {pa.__version__}" and footer.metadata is None


def test_a_file_whose_rows_are_the_same_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    other = pa.table(
        {
            column.name: pa.array(
                [v or None for v in column.values] if column.kind is Kind.TEXT else column.values, column.kind.arrow
            )
            for column in COLUMNS
        }
    )
    pq.write_table(other, path, compression="none", store_schema=False)
    before = path.read_bytes()
    write_columns(path, COLUMNS)
    assert path.read_bytes() == before, "another encoding of the same rows is as good"
    write_columns(path, COLUMNS[:-1])
    assert list(read_columns(path)) == ["name", "count", "number"]
    path.write_bytes(b"no table")
    write_columns(path, COLUMNS)
    assert list(read_columns(path)) == ["name", "count", "number", "flag"]


def test_a_file_is_written_at_once_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.parquet"
    write_columns(path, COLUMNS)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(files.Path, "replace", full)
    with pytest.raises(OutputError):
        write_columns(path, COLUMNS[:-1])
    assert path.read_bytes() == before and [item.name for item in tmp_path.iterdir()] == ["x.parquet"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"age": None, "dermoscopy": None, "reason": "no_lesion", "probabilities": {}},
        {"raw": None, "clean": None, "roi": "whole"},
    ],
)
def test_predictions_come_back_as_they_were(changes: dict[str, Any], tmp_path: Path) -> None:
    rows = [prediction(0), prediction(1, **changes)]
    write_predictions(tmp_path / "x.parquet", rows)
    assert read_predictions(tmp_path / "x.parquet") == rows


def test_predictions_without_any_class_come_back(tmp_path: Path) -> None:
    rows = [prediction(number, probabilities={}) for number in range(2)]
    write_predictions(tmp_path / "x.parquet", rows)
    assert read_predictions(tmp_path / "x.parquet") == rows


def test_every_column_is_described(tmp_path: Path) -> None:
    write_predictions(tmp_path / "predictions.parquet", [prediction()])
    write_trials(tmp_path / "trials.parquet", [Trial("a", "b", Quality(1, 1, 1))])
    first, second = FORMAT.read_text(encoding="utf-8").split("## Refusals")
    for name, text in (("predictions", first), ("trials", second)):
        told = set(
            re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in text.splitlines() if line[:3] == "| `"))
        )
        written = pq.read_schema(tmp_path / f"{name}.parquet").names
        assert {"p_CLASS" if column.startswith("p_") else column for column in written} <= told, name


def test_the_stored_files_are_as_this_code_writes_them(tmp_path: Path) -> None:
    for path in (RESULTS / "mobile/test.parquet", RESULTS / "mobile/refusals.parquet"):
        again = tmp_path / path.name
        if path.stem == "refusals":
            write_trials(again, read_trials(path))
        else:
            write_predictions(again, read_predictions(path))
        assert read_columns(again) == read_columns(path)


def test_the_results_stay_light() -> None:
    sizes = {path: path.stat().st_size for path in RESULTS.rglob("*") if path.is_file()}
    assert sum(sizes.values()) <= RESULTS_BYTES, sorted(sizes, key=sizes.__getitem__)[-5:]
    assert f"at most {RESULTS_BYTES // 1_000_000} MB" in FORMAT.read_text(encoding="utf-8")
    assert not [path for path in sizes if path.suffix == ".csv"], "predictions are Parquet files: see FORMAT.md"
