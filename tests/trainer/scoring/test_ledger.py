"""One line a reading, before it happens; the hash is of networks and rules alone."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from edge_infer.bundle.store import read_manifest
from edge_infer.files import OutputError
from edge_infer.rules import Metric
from tests.support.prediction_rows import row
from trainer.data.ham10000 import Record
from trainer.data.splits import standard_split
from trainer.errors import DataError
from trainer.scoring.ledger import Reading, among_stored, decisions_hash, enter, mark, of_test, origin_of, readings
from trainer.scoring.predictions import Prediction


def test_the_hash_follows_networks_and_rules_and_nothing_else(toy_bundle: Path) -> None:
    manifest = read_manifest(toy_bundle).manifest
    same = replace(
        manifest,
        name="other",
        version="9.9.9",
        description="Other words.",
        operating_points=tuple(
            replace(point, metrics={"sensitivity": Metric(0.1)}, meaning="Other.")
            for point in manifest.operating_points
        ),
        evaluations=(),
    )
    assert decisions_hash(same) == decisions_hash(manifest)
    first, *rest = manifest.operating_points
    file = manifest.classifier.files["onnx"]
    for changed in (
        replace(manifest, operating_points=(replace(first, threshold=0.123), *rest)),
        replace(manifest, quality=replace(manifest.quality, min_sharpness=0.123)),
        replace(manifest, calibration=replace(manifest.calibration, prior=0.2)),
        replace(manifest, files={**manifest.files, file: replace(manifest.files[file], sha256="0" * 64)}),
    ):
        assert decisions_hash(changed) != decisions_hash(manifest)


def test_a_reading_is_written_once_and_only_of_the_data_s_own_test(drawn_records: list[Record], tmp_path: Path) -> None:
    ledger = tmp_path / "results/ledger.ndjson"
    parts = standard_split(drawn_records)
    mixed = [*parts["train"], *parts["test"]]
    seen = of_test(drawn_records, mixed)
    assert {r.image_id for r in seen} == {r.image_id for r in parts["test"]}
    one = replace(parts["train"][0], lesion_id=parts["test"][0].lesion_id)
    assert of_test([*mixed[1:], one], mixed) == seen, "a column that leaks still marks its test"
    assert enter(ledger, "toy 1", "a", [], "c", "r") is None and not ledger.exists()
    line = enter(ledger, "toy 1", "a", seen, "python -m trainer bundle", "why")
    assert line is not None and line.pictures == {"ham10000": len(seen)}
    assert enter(ledger, "toy 1", "a", seen, "again", "why") is None
    assert enter(ledger, "toy 2", "b", seen, "c", "r") is not None
    assert enter(ledger, "toy 1", "a", seen[:1], "c", "other pictures") is not None
    assert [one.hash for one in readings(ledger)] == ["a", "b", "a"]
    ledger.write_text(ledger.read_text() + "{}\n")
    with pytest.raises(DataError, match="line 4"):
        readings(ledger)


def test_processes_that_look_at_once_write_one_line(
    drawn_records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, seen = tmp_path / "ledger.ndjson", standard_split(drawn_records)["test"]

    def slowly(path: Path) -> list[Reading]:
        found = readings(path)
        time.sleep(0.05)
        return found

    monkeypatch.setattr("trainer.scoring.ledger.readings", slowly)
    with ThreadPoolExecutor(4) as several:
        lines = list(several.map(lambda _: enter(ledger, "toy 1", "a", seen, "c", "r"), range(4)))
    assert len(readings(ledger)) == sum(line is not None for line in lines) == 1


def test_a_ledger_that_cannot_be_written_ends_a_reading_that_is_new(
    drawn_records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, seen = tmp_path / "ledger.ndjson", standard_split(drawn_records)["test"]
    assert enter(ledger, "toy 1", "a", seen, "c", "r") is not None

    def refused(*_: object) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr("fcntl.flock", refused)
    assert enter(ledger, "toy 1", "a", seen, "c", "r") is None, "nothing is to be written"
    with pytest.raises(OutputError, match="no locks here"):
        enter(ledger, "toy 2", "b", seen, "c", "r")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        enter(tmp_path / "file/ledger.ndjson", "toy 1", "a", seen, "c", "r")


def test_stored_answers_serve_the_same_networks_on_the_same_pictures(
    drawn_records: list[Record], tmp_path: Path
) -> None:
    test = standard_split(drawn_records)["test"]

    def answer(record: Record) -> Prediction:
        return replace(row(record.dx, {"mel": 0.1}), image_id=record.image_id)

    stored = [answer(record) for record in test]
    mark(tmp_path, origin_of("a", test))
    assert among_stored(tmp_path, "a", test[1:], stored) == stored[1:]
    assert among_stored(tmp_path, "b", test, stored) is None, "other networks or rules"
    assert among_stored(tmp_path, "a", test, stored[1:]) is None, "a picture was not asked for"
