"""The vectors that ship beside the default bundle: this runtime passes them, and they are the bundle's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edge_infer.bundle.store import DEFAULT_BUNDLE
from edge_infer.cli.app import app
from edge_infer.conformance.run import STEPS, check_bundle, compare, replay_vectors
from edge_infer.conformance.store import Index, Vector, VectorsError, read_folder
from edge_infer.conformance.write import make_index
from edge_infer.diagnoser import Diagnoser
from edge_infer.reasons import Reason
from tests.conftest import REPOSITORY

SHIPPED = REPOSITORY / "exported/conformance"
LARGEST = 3_000_000


@pytest.fixture(scope="module")
def diagnoser() -> Iterator[Diagnoser]:
    with Diagnoser.load(REPOSITORY / "exported" / DEFAULT_BUNDLE, providers=["cpu"], threads=1) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def index() -> Index:
    return read_folder(SHIPPED)


def test_they_are_of_the_shipped_bundle(index: Index, diagnoser: Diagnoser) -> None:
    assert index.bundle.sha256 == diagnoser.bundle.sha256, (
        "the bundle changed: run `edge-infer vectors mobile -o exported/conformance`"
    )


def test_this_runtime_passes_all(index: Index, diagnoser: Diagnoser) -> None:
    failed = {o.vector.name: o.failures for o in replay_vectors(index, diagnoser) if not o.passed}
    assert not failed


def test_every_reason_and_every_step_occurs(index: Index, diagnoser: Diagnoser) -> None:
    reasons = {vector.expect.get("reason") for vector in index.vectors if vector.step in ("path", "decide")}
    assert reasons == {*Reason, None}
    unused = {"appearance", "appearance_problem"} if diagnoser.manifest.dermoscopy is None else set()
    assert {vector.step for vector in index.vectors} == set(STEPS) - unused


def test_each_limit_has_a_picture_on_either_side(index: Index) -> None:
    ways = {
        vector.name.removeprefix("path/"): vector.expect["reason"] for vector in index.vectors if vector.step == "path"
    }
    for reason in set(Reason) - {Reason.UNCERTAIN}:
        assert ways[f"{reason}-beyond"] == reason
        assert ways[f"{reason}-before"] != reason


def test_they_are_small(index: Index) -> None:
    files = [path for path in SHIPPED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= LARGEST
    assert len({vector.name for vector in index.vectors}) == len(index.vectors)


def test_any_bundle_has_vectors(toy_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "vectors"
    written = CliRunner().invoke(app, ["vectors", str(toy_bundle), "-o", str(folder)])
    assert written.exit_code == 0, written.output
    checked = CliRunner().invoke(app, ["vectors", str(toy_bundle), "--check", str(folder)])
    assert checked.exit_code == 0, checked.output
    assert "FAILED" not in checked.output


def test_a_bundle_with_a_score_and_a_prior_has_vectors_of_both() -> None:
    with Diagnoser.load(REPOSITORY / "tests/fixtures/bundles/schema-3", providers=["cpu"], threads=1) as newest:
        made = make_index(newest)
        assert all(outcome.passed for outcome in replay_vectors(made, newest))
    found = {vector.name: vector for vector in made.vectors}
    assert found["path/not_dermoscopy-beyond"].expect["reason"] == Reason.NOT_DERMOSCOPY
    assert found["path/not_dermoscopy-before"].expect["reason"] is None
    assert found["path/order-unfamiliar-first"].expect["reason"] == Reason.NOT_DERMOSCOPY
    point = newest.manifest.default_operating_point
    for side, label in (("below", "not melanoma"), ("above", "melanoma")):
        rare = found[f"decide/{point}-prevalence-0.02-{side}"]
        assert rare.expect["label"] == label
        assert rare.expect["threshold"] < newest.manifest.operating_point(point).threshold
    assert found["decide/no-prevalence-0"].expect == {"error": "prevalence"}


def test_vectors_of_another_bundle_are_refused(index: Index, toy_bundle: Path) -> None:
    with Diagnoser.load(toy_bundle) as other, pytest.raises(VectorsError, match="made from bundle"):
        check_bundle(index, other.bundle)


def test_a_damaged_folder_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(VectorsError, match="cannot be read"):
        read_folder(tmp_path)
    (tmp_path / "index.json").write_text('{"format": 99}', encoding="utf-8")
    with pytest.raises(VectorsError, match="another format"):
        read_folder(tmp_path)


def test_a_folder_with_other_things_is_left_alone(toy_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear", encoding="utf-8")
    done = CliRunner().invoke(app, ["vectors", str(toy_bundle), "-o", str(tmp_path)])
    assert done.exit_code == 3 and "something other" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    ("bounds", "moved", "passes"),
    [
        ({"max_abs": 1.0}, 1, True),
        ({"max_abs": 1.0}, 2, False),
        ({"mean_abs": 0.05}, 1, False),
        ({"max_share": 0.1}, 9, False),
        ({"max_share": 0.3}, 9, True),
        ({"min_iou": 0.9}, 1, False),
        ({"max_relative": 0.4}, 1, False),
        ({}, 0, True),
    ],
)
def test_bounds(bounds: dict[str, float], moved: int, passes: bool) -> None:
    wanted = np.array([2, 1, 0, 2], np.uint8)
    found = wanted + np.array([0, moved, 0, 0], np.uint8)
    vector = Vector("resize/x", "resize", "", {}, {"image": wanted}, {"image": bounds} if bounds else {})
    assert compare(vector, {"image": found}).passed is passes


def test_missing_null_and_misshapen_results_fail() -> None:
    vector = Vector("a/b", "a", "", {}, {"box": [1, 2, 3, 4]}, {})
    assert not compare(vector, {}).passed
    assert not compare(vector, {"box": None}).passed
    assert compare(vector, {"box": [1, 2, 3, 4]}).passed
    loose = replace(vector, tolerance={"box": {"max_abs": 5.0}})
    assert not compare(loose, {"box": [1, 2, 3]}).passed
    assert not compare(loose, {"box": None}).passed
    assert not compare(vector, {"error": "image-decode"}).passed
